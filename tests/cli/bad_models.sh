#!/bin/sh
# bad_models.sh - every case of tests/data/clip-bad through the whole program: a damaged model is refused with status 2,
# nothing on standard output and one line on standard error; a good one gives the reference's embeddings.
# The form of edits.txt is described in tests/bad/clip_bad.h.
: "${BIN:?the folder of the programs}"
data=tests/data/clip-bad
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
passed=0 failed=0

bad() {
    echo "not ok - $1"
    failed=$((failed + 1))
}

# make_case NAME: the folder $dir/m
make_case() {
    rm -rf "$dir/m"
    mkdir "$dir/m"
    cp "$data"/base/*.json "$data/base/merges.txt" "$data/base/model.safetensors" "$dir/m"
    awk -v name="$1" '$1 == "case" { on = $2 == name; next } on' "$data/edits.txt" | while read -r op a b c; do
        case $op in
        delete) rm "$dir/m/$a" ;;
        file)
            out=$dir/m/$a
            : >"$out"
            ;;
        copy) tail -c "+$((b + 1))" "$data/base/$a" | head -c "$c" >>"$out" ;;
        text) printf %b "$a" >>"$out" ;;
        repeat)
            case $b in \\0*) b=\\${b#??} ;; esac
            head -c "$a" /dev/zero | tr '\000' "$b" >>"$out"
            ;;
        esac
    done
}

# embed KIND: KIND is image or text; leaves $dir/out, $dir/err and $status
embed() {
    if [ "$1" = image ]; then
        "$BIN/clip-embed" -m "$dir/m" "$data/picture.png" >"$dir/out" 2>"$dir/err"
    else
        echo 'an ant' | "$BIN/clip-embed" -m "$dir/m" --text >"$dir/out" 2>"$dir/err"
    fi
    status=$?
}

# near KIND: is the row of $dir/out that of ok.tsv, within 1e-5?
near() {
    awk -F '\t' -v kind="$1" '
        NR == FNR { if ($1 == kind) for (n = 2; n <= NF; n++) want[n] = $n + 0; next }
        { rows++; if (NF != 6) wrong = 1; for (i = 2; i <= NF; i++) { d = $i - want[i]; if (d > 1e-5 || d < -1e-5) wrong = 1 } }
        END { exit rows != 1 || wrong }' "$data/ok.tsv" "$dir/out"
}

# check NAME VERDICT KIND
check() {
    embed "$3"
    if [ -e vlkit-pickle-executed ]; then
        bad "$1: a pickle was executed"
        rm -f vlkit-pickle-executed
    elif [ "$status" -eq 0 ] && [ "$2" != refuse ] && near "$3" && [ ! -s "$dir/err" ]; then
        passed=$((passed + 1))
    elif [ "$status" -eq 2 ] && [ "$2" != accept ] && [ ! -s "$dir/out" ] && [ "$(wc -l <"$dir/err")" -eq 1 ]; then
        passed=$((passed + 1))
    else
        bad "$1, $3: verdict $2, status $status, $(wc -c <"$dir/out") bytes out: $(head -n 3 "$dir/err")"
    fi
}

# What shows only when an image is read, or only when a text is read, is expected of that alone.
while IFS='	' read -r name verdict what; do
    [ "$name" = case ] && continue
    make_case "$name"
    case $name in
    inf | pre-*) check "$name" "$verdict" image ;;
    nan | merges-* | vocab-hole | vocab-duplicate | vocab-not-json) check "$name" "$verdict" text ;;
    *)
        check "$name" "$verdict" image
        check "$name" "$verdict" text
        ;;
    esac
done <"$data/cases.tsv"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
