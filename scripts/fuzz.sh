#!/bin/sh
# fuzz.sh - runs each fuzzer for FUZZ_SECONDS, two at a time, from the seeds of tests/data and what earlier runs found.
# usage: FUZZ_SECONDS=600 fuzz.sh FUZZER...      status 1 if one found something
seconds=${FUZZ_SECONDS:-600}
jobs=${FUZZ_JOBS:-$(nproc)}
run() {
    name=$(basename "$1")
    corpus=build/fuzz/corpus-$name
    mkdir -p "$corpus" "build/fuzz/found-$name"
    seeds=
    for d in tests/data/*; do
        [ -d "$d" ] && seeds="$seeds $d"
    done
    # shellcheck disable=SC2086 # a list of folders
    if "$1" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -max_len=300000 -verbosity=0 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/found-$name/" "$corpus" $seeds >"build/fuzz/$name.log" 2>&1; then
        echo "ok   $name: $(sed -n 's/stat::number_of_executed_units: */runs /p' "build/fuzz/$name.log")"
    else
        echo "FAIL $name: see build/fuzz/$name.log and build/fuzz/found-$name"
        : >build/fuzz/failed
    fi
}
rm -f build/fuzz/failed
n=0
for f in "$@"; do
    run "$f" &
    n=$((n + 1))
    [ $((n % jobs)) -eq 0 ] && wait
done
wait
[ ! -e build/fuzz/failed ]
