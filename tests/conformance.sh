#!/bin/sh
# conformance.sh - the golden programs over the larger sets of reference numbers, which are not part of the source:
# VLK_GOLDEN names their folder; the default is a neighbour of the checkout. Without one it says so and passes nothing.
# Images and captions for recall are in VLK_DATA (by default data beside the golden sets).
# Ends with "N passed, N failed".
cd "$(dirname "$0")/.." || exit 2
golden=${VLK_GOLDEN:-../shared/golden}
mode=${MODE:-release}
if [ ! -d "$golden" ]; then
    echo "no golden sets at $golden: skipped"
    echo "0 passed, 0 failed"
    exit 0
fi
passed=0 failed=0
for backend in dnnl openblas; do
    for t in build/"$mode"/tests/golden/* build/"$mode"/tests/grad/*; do
        [ -f "$t" ] && [ -x "$t" ] || continue
        last=$(VLK_GEMM=$backend VLK_GOLDEN=$(realpath "$golden") "$t" 2>&1 | tee build/"$mode"/conformance.log | tail -n 1)
        case $last in
        *' passed, '*' failed') ;;
        *) last='0 passed, 1 failed' ;;
        esac
        p=${last%% passed*} f=${last##*, }
        f=${f%% failed*}
        echo "$(basename "$t") ($backend): $last"
        [ "$f" -eq 0 ] || grep 'not ok' build/"$mode"/conformance.log | head -20
        passed=$((passed + p)) failed=$((failed + f))
    done
done

# The recall figures of the shipped model's card, to the last digit given: its table has text to image at 1, 5, 10,
# then image to text, then false captions.
data=${VLK_DATA:-$golden/../data}
card=share/clip-emoji-6m/README.md
for set in iid cell style scene; do
    tar=$data/emoji-dev-$set.tar
    [ -f "$tar" ] || continue
    want=$(awk -F ' *[|] *' -v n="$set:" 'index($2, n) == 1 { print $7, $8, $9, $4, $5, $6 ($10 ? " " $10 + 0 : ""); exit }' "$card")
    for backend in dnnl openblas; do
        got=$(VLK_GEMM=$backend build/"$mode"/clip-rank --recall --format jsonl "$tar" |
            awk -F '[:}]' '{ printf "%s%.1f", (NR > 1 ? " " : ""), 100 * $3 }')
        if [ -n "$want" ] && [ "$got" = "$want" ]; then
            passed=$((passed + $(echo "$want" | wc -w)))
            echo "recall of emoji-dev-$set ($backend): $got"
        else
            failed=$((failed + 1))
            echo "not ok - recall of emoji-dev-$set ($backend): $got, the card says $want"
        fi
    done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
