#!/bin/sh
# demo.sh - the main job on what comes with vlkit: embed the sample images, search them, label them.
# usage: B=build/release demo.sh        results go to build/demo
set -e
cd "$(dirname "$0")/.."
B=${B:-build/release}
out=build/demo
mkdir -p "$out"

"$B/clip-embed" share/samples -o "$out/samples.npy"

echo "Three queries, the best three images of $(wc -l <"$out/samples.keys") each (query, rank, score, image):"
echo
"$B/clip-rank" --query "a jack-o-lantern" --query "a giraffe" --query "a fox and an ambulance" -k 3 \
    --sheet "$out/sheet.png" "$out/samples.npy"
echo
echo "Zero-shot labels, the first eight images (image, label, probability); a small model, so not all are right:"
echo
"$B/clip-rank" --labels share/samples/labels.txt --templates share/samples/templates.txt "$out/samples.npy" |
    tee "$out/labels.tsv" | head -n 8
echo "..."
echo
echo "embeddings      $out/samples.npy  (keys beside it in samples.keys, what made them in samples.json)"
echo "contact sheet   $out/sheet.png"
echo "all labels      $out/labels.tsv"
echo "programs        $B/clip-embed, $B/clip-rank"
