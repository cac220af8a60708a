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

# The folder of a program's own files in tools.
own_folder() {
    case $1 in
    qformer-project) echo qformer ;;
    *) echo "${1##*-}" ;; # clip-embed: embed; capfilt: capfilt
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
    # A program's folder includes cli, common and its own files; common includes cli; a main these and its own folder.
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
            cli/* | common/*) ;;
            */*) [ "${inc%%/*}" = "$(own_folder "$(basename "$f" .c)")" ] || say "$f: a main may not include $inc" ;;
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
        [ $cc = gcc ] && o=-O2 || o=-O0 # clang warns the same at both
        make -s -j"$(nproc)" V= B="build/lint-$cc" CC=$cc CFLAGS="$o -Werror" objects >"$B/lint-$cc.log" 2>&1 ||
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
    for f in tools/*.c; do
        name=$(basename "$f" .c)
        p=$B/$name
        [ -x "$p" ] || { say "$p is not built"; continue; }
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
}

# The manual: no warnings of mandoc and groff, and no line that is wider than a terminal of 80 columns.
check_manual() {
    for m in man/*.[157]; do
        mandoc -Tlint -Wwarning "$m" 2>&1 | while read -r l; do say "$l"; done
        mandoc -Tascii -O width=80 "$m" | col -bx >"$B/lint.page"
        awk -v m="$m" 'length > 80 { print m ": mandoc makes a line of " length " columns: " $0 }' "$B/lint.page" |
            while read -r l; do say "$l"; done
        command -v groff >/dev/null || { say "groff is not installed (make deps)"; continue; }
        groff -mdoc -Tutf8 -ww "$m" 2>&1 >/dev/null | while read -r l; do say "$m: groff: $l"; done
        groff -mdoc -Tascii -rLL=80n -P-c "$m" 2>/dev/null | col -bx |
            awk -v m="$m" 'length > 80 { print m ": groff makes a line of " length " columns: " $0 }' |
            while read -r l; do say "$l"; done
    done
}

# What is external, but used by no other object of lib and tools: it should be static, or gone. Exceptions, with reasons:
unused_may() {
    while read -r name reason; do
        [ -n "$reason" ] && echo "$name"
    done <<'TABLE'
vlk_max                   models to come: the best of several query features
vlk_cross_entropy         tasks to come: language modelling
vlk_dropout               models to come
vlk_detach                tasks to come: momentum targets
vlk_leaf                  tasks to come: states that take a gradient
vlk_softmax               tasks to come: soft targets
vlk_matmul_nt             tasks to come: similarities on the tape
vlk_check_resnet          families to come check their configs by it
vlk_model_add_source      families to come: towers in folders of their own
vlk_family_of             face of the families, which tests extend
vlk_tokenizer_decode      models to come: captions from ids
vlk_kv_keys               models to come: decoding with a cache
vlk_rate_of               tasks to come: a learning rate by part
vlk_kv_init               models to come: decoding with a cache
vlk_kv_clear              models to come: decoding with a cache
vlk_backward              face of the tape, for one scalar loss; training starts from features
vlk_backward_from         face of the tape, for one value; training starts from features
vlk_in_memory             face of the readers: tests and fuzzers have their bytes in memory
vlk_list_open             face of the readers: by name; programs read from streams that they opened
vlk_npy_parse             face of the readers: tests and fuzzers have their bytes in memory
vlk_image_decode          face of the decoder; feed decodes through a slot
vlk_image_resize          face of the decoder; feed decodes through a slot
sink_member               programs to come: several members per sample
vlk_model_param           tests look at each parameter: what is packed, what takes a gradient
vlk_tar_next              face of the tar layer: member by member; programs read samples
vlk_augment_box           the drawn box, checked alone by the tests
vlk_random_u64            one number of the stream that the tests compare with the paper's
vlk_kernel_backends       tests run with each backend that there is
vlk_model_text_states     models to come: states of texts that others attend to
TABLE
}
check_unused() {
    list=
    for f in lib/*/*.c tools/*.c tools/*/*.c; do
        list="$list $B/${f%.c}.o"
    done
    unused_may | sort >"$B/lint.may"
    # shellcheck disable=SC2086 # a list of files
    nm -A $list | awk '
        { split($1, at, ":"); name = $NF; type = NF == 3 ? $2 : $(NF - 1) }
        type ~ /^[TDBRV]$/ { where[name] = at[1] }
        type == "U" { used[name] = 1 }
        END { for (name in where) if (!used[name] && name != "main") print name, where[name] }' | sort >"$B/lint.unused"
    join -v 1 "$B/lint.unused" "$B/lint.may" | while read -r name object; do
        f=${object#"$B"/}
        say "${f%.o}.c: $name is external, and no other file of lib and tools uses it"
    done
    join -v 2 "$B/lint.unused" "$B/lint.may" | while read -r name; do
        say "scripts/lint.sh: $name is used, or gone: it is no exception any more"
    done
}

# Functions of the same body, within lib and tools or within tests: one definition should do.
check_twice() {
    # shellcheck disable=SC2046 # a list of files
    awk '
        /^[a-zA-Z_].*\(/ && !/;$/ { head = $0 }
        /^{/ { inside = 1; body = ""; n = 0; start = FNR; name = head; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name); next }
        /^}/ {
            if (inside && n >= 3) {
                body = (FILENAME ~ /^tests/) body
                if (body in first) print FILENAME ":" start ": " name " has the body of " first[body]
                else first[body] = name " in " FILENAME
            }
            inside = 0
        }
        inside { line = $0; gsub(/\/\*.*\*\//, "", line); gsub(/[ \t]+/, "", line); if (line != "") { body = body line; n++ } }
        ' $(sources) | while read -r l; do say "$l"; done
}

# Words of a dialect that this project once had, as in the tables of docs/STYLE.md: a Perl expression per line, case ignored.
odd_words() {
    thing='(line|row|key|text|thread|step|sample|item|image|rank|file|member|vector|batch|part)'
    cat <<TABLE
(?<!--)(?<!ALIAS\(")\bpictures?\b(?!\.png)
(?<!share/)\brecipes?\b(?!/)
\btold\b
\b(is|are|was|were) named(?= (once|again|alike|with)\b|["':;.,)]|\$)
\bthe way (back|there)\b
\bbehind\b
\bso (many|much)\b
\banew\b
\bstands?\b(?! for\b| in for\b|-| alone\b)
\bapart by\b
\b(a|an|one|each) $thing an? $thing\b
\b(is|are|was|were) asked\b(?! (for|to)\b)
\b(?<!there )(is|are|was|were) no (UTF-8|JSON|error|numbers?|range|part of|texts?|tar|${thing}s?)\b
\bwhole or not at all\b
\bgo(es|ing)? on with(out)?\b
\bbeg[iau]ns? with a run\b
\blooked at by name\b
\bit is for the same sources\b
TABLE
}
# What people read: sources, scripts, pages; not this list and the page that explains it.
prose() {
    sources
    find man scripts docs tests share -type f \( -name '*.[157]' -o -name '*.sh' -o -name '*.inc' -o -name '*.md' \) |
        grep -vE '^(scripts/lint.sh|docs/STYLE.md)$'
    ls README.md Makefile quickstart .ci/run tests/run
}
check_words() {
    prose | xargs grep -nHiP "$(odd_words | paste -s -d '|')" | while read -r l; do say "$l: not plain English (docs/STYLE.md)"; done
}

# Pointers and functions that return 0 or -1 are conditions themselves (docs/STYLE.md).
check_conditions() {
    # shellcheck disable=SC2046 # a list of files
    grep -nE '== NULL\b|!= NULL (&&|\|\|)|(if|while) \(.* != NULL\)|CHECK\([^(),]+ != NULL,|\berr\) != 0 (&&|\|\|)|if \(.*\berr\) != 0\)( \{)?$' $(sources) |
        while read -r l; do say "$l: say !p or p, f() or f() == 0"; done
}

mkdir -p "$B/cppcheck"
for c in ${*:-layers third_party format lengths banned warnings cppcheck options manual unused twice words conditions}; do
    "check_$c"
done
n=$(wc -l <"$bad")
[ "$n" -eq 0 ] && echo "lint: clean" || echo "lint: $n findings"
[ "$n" -eq 0 ]
