#!/bin/sh
# lint.sh - what must hold of the source, checked. Status 1 if anything is wrong; each finding is a line.
# usage: B=build/release lint.sh [CHECK...]      all checks without arguments
cd "$(dirname "$0")/.." || exit 2
B=${B:-build/release}
bad=$B/lint.bad
mkdir -p "$B"
: >"$bad"
say() { echo "$*" | tee -a "$bad"; }
sources() { find lib tools tests -name '*.[ch]' -not -path 'tests/data/*' | sort; }

# Whose headers a folder of lib may include (its own always).
may() {
    case $1 in
    base) ;;
    stream) echo base ;;
    prep) echo base stream ;;
    feed) echo base stream prep ;;
    kernel) echo base ;;
    ops) echo base kernel ;;
    tower) echo base kernel ops ;;
    model) echo base stream prep ops tower ;;
    head) echo base ops tower model ;;
    train) echo base stream feed kernel ops ;;
    task) echo base stream prep feed kernel ops tower model head train ;;
    esac
}

check_layers() {
    for f in lib/*/*.[ch]; do
        room=$(basename "$(dirname "$f")")
        for inc in $(sed -n 's/^ *# *include *"\([^"]*\)".*/\1/p' "$f"); do
            case $inc in
            ../*)
                other=${inc#../}
                other=${other%%/*}
                case " $(may "$room") " in
                *" $other "*) ;;
                *) say "$f: $room may not include $other" ;;
                esac
                case $inc in
                "../$other/$other.h") ;;
                *) say "$f: includes $inc; another room is entered by its face, $other/$other.h" ;;
                esac
                ;;
            esac
        done
    done
    # A program's folder includes cli, common and its own files; common includes cli; a main its program's folder.
    up='../'
    for f in tools/*.c tools/*/*.[ch]; do
        room=$(basename "$(dirname "$f")")
        sed -n 's/^ *# *include *"\([^"]*\)".*/\1/p' "$f" | while read -r inc; do
            case $inc in
            "$up"lib/*/*.h | "$up$up"lib/*/*.h)
                door=$(basename "$(dirname "$inc")")
                [ "$(basename "$inc")" = "$door.h" ] || say "$f: includes $inc; a room is entered by its face"
                ;;
            "$up"cli/*) ;;
            "$up"common/*) [ "$room" = cli ] && say "$f: cli may not include $inc" ;;
            ../*) say "$f: $room may not include $inc" ;;
            esac
        done
    done
}

check_third_party() { # HEADER FILE...
    while read -r header owner; do
        grep -lE "^ *# *include *[<\"]$header" $(sources) | grep -vE "^($owner)$" | grep -v '^tests/' | while read -r f; do
            say "$f: includes $header, which only $owner may"
        done
    done <<'TABLE'
png.h lib/prep/png.c
jpeglib.h lib/prep/jpeg.c
webp/ lib/prep/webp.c
utf8proc.h lib/prep/unicode.c
zlib.h lib/stream/inflate.c
zstd.h lib/stream/inflate.c
jansson.h lib/stream/json.c
cblas.h lib/kernel/gemm_blas.c
dnnl lib/kernel/gemm_dnnl.c
omp.h lib/kernel/gemm_dnnl.c
mpi.h lib/train/dist.c
getopt.h tools/cli/parse.c
TABLE
}

check_format() {
    sources | xargs clang-format --dry-run 2>&1 | grep 'warning:' | sed 's/: warning.*/: clang-format would change it/' |
        sort -u -t: -k1,1 | while read -r l; do say "$l"; done
}

check_lengths() {
    for f in $(sources); do
        awk -v f="$f" '
            /^[a-zA-Z_].*[^;]$/ && /\(/ { name = $0 }
            /^{/ { start = NR }
            /^}/ { if (start) { n = NR - start; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name)
                   most = (name == "main" && f ~ /^tools/) ? 60 : 100
                   if (n > most) printf "%s:%d: %s has %d lines, %d at most\n", f, start, name, n, most; start = 0 } }
            END { if (NR > 600) printf "%s: %d lines, 600 at most\n", f, NR }' "$f"
    done | while read -r l; do say "$l"; done
}

check_banned() {
    grep -nE '\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|atof|strtok|popen|system|alloca)\(' $(sources) |
        while read -r l; do say "$l: banned function"; done
    grep -nE '\b(exit|abort|printf|puts|perror|fprintf)\(' lib/*/*.c | while read -r l; do
        say "$l: the library neither prints nor exits"
    done
    # Absolute paths of a home or a folder of work, and paths beside the checkout, hold on one machine only.
    for l in $(find . -type f -not -path './build/*' -not -path './.git*' -not -path './tests/*' | sed 's|^\./||' |
        grep -vE '\.(npy|png|jpg|gz|safetensors)$' |
        xargs grep -HE '/(home|root|work|tmp)/[a-z]|(^|[^A-Za-z/])\.\./[a-z]+/' 2>/dev/null |
        grep -vE ':[[:space:]]*# *include' | cut -d: -f1 | sort -u); do
        say "$l: names a path of somebody's machine"
    done
}

check_warnings() {
    for cc in gcc clang; do
        command -v $cc >/dev/null || { say "$cc is not installed (make deps)"; continue; }
        make -s -j"$(nproc)" V= B="build/lint-$cc" CC=$cc CFLAGS='-O2 -g -Werror' objects >"$B/lint-$cc.log" 2>&1 ||
            { say "$cc has warnings:"; grep -E 'error|warning' "$B/lint-$cc.log" | head -20 | while read -r l; do say "  $l"; done; }
    done
}

check_cppcheck() {
    cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --suppress=missingIncludeSystem \
        --suppress=normalCheckLevelMaxBranches -D_POSIX_C_SOURCE=200809L -DVLK_HAVE_DNNL=1 -DVLK_HAVE_WEBP=1 -DVLK_HAVE_MPI=1 -j "$(nproc)" \
        --cppcheck-build-dir="$B/cppcheck" --template='{file}:{line}: {id}: {message}' lib tools 2>&1 |
        while read -r l; do say "$l"; done
}

# The option table (--print-options) against --help and the manual page: each names every option of the other. Every row
# has a role (option.h), and --help fits 80 columns.
check_options() {
    for p in "$B"/clip-* "$B"/itc-*; do
        [ -x "$p" ] && [ -f "$p" ] || continue
        name=$(basename "$p")
        page=man/$name.1
        "$p" --print-options | cut -f2 | sort >"$B/lint.table"
        "$p" --print-options | awk -F'\t' '$5 !~ /^(value|score|free|length|place|now)$/ { print $2 }' |
            while read -r o; do say "$name: --$o has no role"; done
        "$p" --help | awk 'length($0) > 80' | while read -r l; do say "$name --help: more than 80 columns: $l"; done
        "$p" --help | grep -oE '(^|[ ,])--[a-z0-9][a-z0-9-]*' | sed 's/.*--//' | sort -u >"$B/lint.help"
        comm -23 "$B/lint.table" "$B/lint.help" | while read -r o; do say "$name: --$o is missing in --help"; done
        comm -13 "$B/lint.table" "$B/lint.help" | while read -r o; do say "$name: --help names --$o, which does not exist"; done
        [ -f "$page" ] || { say "$name: no manual page"; continue; }
        grep -E '^\.It ' "$page" | grep -oE 'Fl -[a-z0-9][a-z0-9-]*' | sed 's/Fl -//' | sort -u >"$B/lint.page"
        comm -23 "$B/lint.table" "$B/lint.page" | while read -r o; do say "$page: --$o is missing"; done
        comm -13 "$B/lint.table" "$B/lint.page" | while read -r o; do say "$page: names --$o, which does not exist"; done
    done
    for m in man/*.[157]; do
        mandoc -Tlint -Wwarning "$m" 2>&1 | while read -r l; do say "$l"; done
    done
}

mkdir -p "$B/cppcheck"
for c in ${*:-layers third_party format lengths banned warnings cppcheck options}; do
    "check_$c"
done
n=$(wc -l <"$bad")
[ "$n" -eq 0 ] && echo "lint: clean" || echo "lint: $n findings"
[ "$n" -eq 0 ]
