#!/bin/sh
# fuzz_cc.sh - prints a clang that can link fuzzers: $CLANG (clang), or another one that is installed with its runtime.
# Without one: says which package is missing; status 1.
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
echo 'int LLVMFuzzerTestOneInput(const unsigned char *p, unsigned long n) { return n > 99 && p[0] > 255; }' >"$tmp/try.c"

links() { # CLANG
    LC_ALL=C "$1" -fsanitize=fuzzer,address,undefined -o "$tmp/try" "$tmp/try.c" >"$tmp/log" 2>&1
}

first=${CLANG:-clang}
if links "$first"; then
    echo "$first"
    exit 0
fi
mv "$tmp/log" "$tmp/first"
for c in clang $(for d in $(echo "$PATH" | tr : ' '); do ls "$d"; done 2>/dev/null | grep -E '^clang-[0-9]+$' | sort -t- -k2 -rn -u); do
    if [ "$c" != "$first" ] && links "$c"; then
        echo "make fuzz: $first cannot link fuzzers, $c can: it is used" >&2
        echo "$c"
        exit 0
    fi
done
if ! command -v "$first" >/dev/null 2>&1; then
    echo "make fuzz: $first is not installed: the packages clang and libclang-rt-dev (make deps)" >&2
elif grep -q 'clang_rt' "$tmp/first"; then
    echo "make fuzz: $first has no runtime: the package libclang-rt-$("$first" -dumpversion | cut -d. -f1)-dev" >&2
elif grep -qE 'stdc\+\+|libgcc' "$tmp/first"; then
    gcc=$("$first" -v 2>&1 | sed -n 's|^Selected GCC installation: .*/||p')
    echo "make fuzz: $first finds no C++ library for its runtime: the package libstdc++-${gcc:-N}-dev" >&2
else
    echo "make fuzz: $first cannot link fuzzers:" >&2
    tail -n 3 "$tmp/first" >&2
fi
exit 1
