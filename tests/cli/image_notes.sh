#!/bin/sh
# image_notes.sh - images that may say nothing to a model are counted in a note each: one colour, clipped, repaired.
. tests/cli/check.inc
cd "$dir" || exit 2
E=$BIN/clip-embed
n=$top/tests/data/pixels/notes

run 0 "$E" --alpha drop "$n/black-on-clear.png" "$n/transparent-level.png" "$n/colours-on-clear.png" "$n/good.jpg"
is "transparent: the note alone" "$(cat err)" "clip-embed: 2 images are one flat colour; transparent? --alpha white"
run 0 "$E" --alpha white "$n/black-on-clear.png" "$n/white-on-clear.png"
is "white on white" "$(cat err)" "clip-embed: 1 image is one flat colour; transparent? --alpha black"
run 0 "$E" "$n/black-on-clear.png"
is "the installed model composes on white" "$(cat err)" ""
run 0 "$E" --alpha drop "$n/flat.png" "$n/flat.jpg" "$n/black-on-clear.png"
is "others, too" "$(cat err)" "clip-embed: 3 images are one flat colour; 1 with transparency: --alpha white?"
run 0 "$E" "$n/flat.png"
is "without transparency" "$(cat err)" "clip-embed: 1 image is one flat colour"
run 0 "$E" -q "$n/flat.png" "$n/huffman.jpg"
is "quiet" "$(cat err)" ""
run 0 "$E" --pixels -o p.npy "$n/flat.png"
has "--pixels" err "1 image is one flat colour"

run 0 "$E" "$n/grey16-some.png" "$n/grey16-low.png" "$n/huffman.jpg" "$n/restart.jpg" "$n/good.jpg"
has "clipped" err "clip-embed: 1 image is 16-bit grey with levels above 255, which became white; --strict skips them"
has "repaired" err "clip-embed: 2 JPEG images have damaged data, which the decoder repaired; --strict skips them"
is "five rows" "$(lines out)" 5
run 1 "$E" --strict --errors e.jsonl "$n/grey16-some.png" "$n/grey16-low.png" "$n/huffman.jpg" "$n/good.jpg"
has "strict: clipped" err "grey16-some.png: 16-bit grey with levels above 255"
has "strict: repaired" err "huffman.jpg: JPEG: damaged data"
has "strict: no note" err "2 of 4 items done, 2 skipped"
is "strict: rows" "$(lines out)" 2
is "strict: errors" "$(lines e.jsonl)" 2

# a search that embeds images counts them, too; -j changes nothing
for j in 1 3; do
    run 0 "$BIN/clip-rank" -j $j --alpha drop --query 'a red apple' "$n/black-on-clear.png" "$n/good.jpg"
    has "clip-rank -j $j" err "clip-rank: 1 image is one flat colour; transparent? --alpha white"
done
run 0 "$BIN/clip-rank" --alpha drop --like "$n/black-on-clear.png" "$n/good.jpg"
has "--like" err "clip-rank: 1 image is one flat colour"

# and so does a training, each sample once
. "$top/tests/cli/train.inc"
mkdir set
for f in flat.png black-on-clear.png grey16-some.png huffman.jpg good.jpg good-restart.jpg; do
    cp "$n/$f" set
    echo "a text for $f" >"set/${f%.*}.txt"
done
run 0 "$T" -m "$tiny/model" --alpha drop --train set -b 3 --steps 5 --augment none -o run1
has "itc-train: flat" err "itc-train: 2 images are one flat colour; 1 with transparency: --alpha white?"
has "itc-train: clipped" err "itc-train: 1 image is 16-bit grey"
has "itc-train: repaired" err "itc-train: 1 JPEG image has damaged data"
run 1 "$T" -m "$tiny/model" --strict --train set -b 3 --steps 5 --augment none -o run2
has "itc-train --strict" err "huffman"
has "itc-train --strict" err "damaged data"
finish
