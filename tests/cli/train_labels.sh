#!/bin/sh
# train_labels.sh - itc-train --val-labels: zero-shot accuracy on the sets of --val, as clip-rank --labels counts it.
. tests/cli/check.inc
. tests/cli/train.inc
cd "$dir" || exit 2
mkdir pairs
tar xf "$tiny/pairs.tar" -C pairs
for f in pairs/*.txt; do
    cat "$f"
    echo
done >labels.txt
printf '{}\nnow: {}\n' >templates.txt

# figure STEP NAME: of the last line of a validation in run/metrics.jsonl
figure() { grep "\"step\": $1, \"val\"" run/metrics.jsonl | tail -n 1 | sed -n "s/.*\"$2\": \([^,}]*\).*/\1/p"; }
# accuracy K MODEL [--templates FILE]: the share of images whose own text is among the K best labels
accuracy() {
    k=$1 m=$2
    shift 2
    "$BIN/clip-rank" -m "$m" --labels labels.txt "$@" -k "$k" "$dir/pairs" >ranked
    for f in pairs/*.txt; do
        p=$(ls "${f%.txt}".*g)
        printf '%s\t%s\n' "$dir/$p" "$(cat "$f")"
    done | awk -F '\t' 'NR == FNR { true[$1] = $2; n++; next } true[$1] == $2 { hit++ } END { print hit / n }' - ranked
}

# the class is the caption, where that is a label
# shellcheck disable=SC2086
run 0 "$T" $base -b 8 --steps 6 --val "$tiny/pairs.tar" --val-steps 2 --val-labels labels.txt \
    --val-templates templates.txt --keep 9 --save-steps 2 -o run
for s in 2 6; do
    is "top 1 at step $s" "$(figure $s zs_top1)" "$(accuracy 1 "run/step-00000$s" --templates templates.txt)"
    is "top 5 at step $s" "$(figure $s zs_top5)" "$(accuracy 5 "run/step-00000$s" --templates templates.txt)"
done
is "all have one" "$(figure 6 labelled)" 8
has "recall is there, too" run/metrics.jsonl '"i2t_R@1"'
is "a step has no such figure" "$(grep '"loss"' run/metrics.jsonl | grep -c zs_)" 0
run 0 "$T" --plot run -o run.svg

# going on: the labels are those of the beginning
cp labels.txt moved.txt
run 0 "$T" --resume run --val-labels moved.txt
sed 1d labels.txt >fewer.txt
cksum run/metrics.jsonl run/run.json >sums
run 2 "$T" --resume run --val-labels fewer.txt
has "it says what" err "when the run began"
cksum run/metrics.jsonl run/run.json | cmp -s - sums && pass || fail "a refused run was touched"

# KEY.cls: a number or a name; without captions there is no recall, and zs_top1 makes the best
mkdir classes
n=0
for f in pairs/*.txt; do
    k=classes/$(basename "$f" .txt)
    cp pairs/"$(basename "$k")".*g classes
    if [ $((n % 2)) -eq 0 ]; then echo "$n" >"$k.cls"; else cp "$f" "$k.cls"; fi
    n=$((n + 1))
done
rm -r run
# shellcheck disable=SC2086
run 0 "$T" $base -b 8 --steps 4 --val classes --val-steps 2 --val-labels labels.txt -o run
is "of names and numbers" "$(figure 4 zs_top1)" "$(accuracy 1 run/last)"
is "no recall" "$(grep -c 'i2t_R' run/metrics.jsonl)" 0
[ -L run/best ] && pass || fail "there is a best"
(cd classes && tar cf ../classes.tar --format=ustar -- *)
rm -r run
# shellcheck disable=SC2086
run 0 "$T" $base -b 8 --steps 4 --val classes.tar --val-steps 4 --val-labels labels.txt -o run
is "in a tar" "$(figure 4 zs_top1)" "$(accuracy 1 run/last)"
rm classes/*.cls
n=0
for f in pairs/*.txt; do
    k=classes/$(basename "$f" .txt)
    if [ $((n % 2)) -eq 0 ]; then printf '{"label": %d}' "$n"; else printf '{"label": "%s"}' "$(cat "$f")"; fi >"$k.json"
    n=$((n + 1))
done
rm classes/0003.json
rm -r run
# shellcheck disable=SC2086
run 0 "$T" $base --progress never -b 8 --steps 4 --val classes --val-labels labels.txt -o run
is "KEY.json, but for one" "$(figure 4 labelled)" 7

# what does not fit
# shellcheck disable=SC2086
{
    printf '{"label": 8}' >classes/0003.json
    run 2 "$T" $base -b 8 --steps 4 --val classes --val-labels labels.txt -o no
    has "which sample, which class" err "classes/0003.png: class 8, but --val-labels has 8 (0 to 7)"
    printf '{"label": "unheard of"}' >classes/0003.json
    run 2 "$T" $base -b 8 --steps 4 --val classes --val-labels labels.txt -o no
    has "which name" err '"unheard of"'
    echo none >one.txt
    run 2 "$T" $base -b 8 --steps 4 --val "$tiny/pairs.tar" --val-labels one.txt -o no
    has "no sample has a class" err "no sample of --val has a class"
    run 2 "$T" $base -b 8 --steps 4 --val "$tiny/pairs.tar" --val-labels nowhere.txt -o no
    run 2 "$T" $base -b 8 --steps 4 --val "$tiny/pairs.tar" --val-labels labels.txt --val-templates one.txt -o no
    has "a template without a hole" err "one.txt"
    run 2 "$T" $base -b 8 --steps 4 --val-labels labels.txt -o no
    has "no set" err "goes with --val"
    run 2 "$T" $base -b 8 --steps 4 --val "$tiny/pairs.tar" --val-templates templates.txt -o no
    has "no labels" err "goes with --val-labels"
    : >classes/0003.cls
    run 0 "$T" -m "$tiny/model" --train "$tiny/pairs.tar" -b 8 --steps 1 --val classes --val-labels labels.txt -o bad
    has "an empty class" err "KEY.cls: expected a class"
}
gone "nothing was begun" no
finish
