#!/bin/sh
# demo.sh - what the programs do, on the sample images: embed them, search them, label them.
# usage: B=build/release demo.sh        results go to build/demo
set -e
cd "$(dirname "$0")/.."
B=${B:-build/release}
out=build/demo
mkdir -p "$out"

"$B/clip-embed" -q share/samples -o "$out/samples.npy"

echo "Three queries and their three best images of $(wc -l <"$out/samples.keys") (query, rank, score, image):"
echo
"$B/clip-rank" -q --query "a jack-o-lantern" --query "a giraffe" --query "a fox and an ambulance" -k 3 \
    --sheet "$out/sheet.png" "$out/samples.npy"
echo
echo "Labels, of the first eight images (image, label, probability); the model is small, so not all are right:"
echo
"$B/clip-rank" -q --labels share/samples/labels.txt --templates share/samples/templates.txt "$out/samples.npy" \
    >"$out/labels.tsv"
head -n 8 "$out/labels.tsv"
echo "..."
echo
echo "embeddings      $out/samples.npy  (keys in samples.keys, how they were made in samples.json)"
echo "contact sheet   $out/sheet.png"
echo "all labels      $out/labels.tsv"
