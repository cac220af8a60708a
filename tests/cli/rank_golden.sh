#!/bin/sh
# rank_golden.sh - probabilities of labels against the reference implementations' numbers: CLIP's softmax (zero-shot
# probabilities of three classes), SigLIP's sigmoid.
. tests/cli/rank.inc
clip=$top/tests/data/clip

# floats FILE: the numbers of a small .npy, one a line
floats() { od -An -v -j 128 -t f4 -w4 "$1" | tr -d ' '; }

# table MODEL LABELS IMAGES COUNT: probabilities image by image, label by label
table() {
    "$rank" -m "$1" --labels "$2" -k "$4" "$3" | sort -t "$tab" -k1,1n -k2,2n | cut -f 3
}

# near WHAT FILE FILE: as many numbers, each within 1e-5
near() {
    paste "$2" "$3" | awk -F '\t' '{ n++; d = $1 - $2; if (d < 0) d = -d; if ($1 == "" || $2 == "" || d > 1e-5) bad++ }
        END { exit !(n > 0 && !bad) }' && pass || fail "$1: $(paste "$2" "$3" | head -n 3 | tr '\n\t' ' /')"
}

table "$clip/small/hf-sharded" "$clip/small/zero_shot_classifier.npy" "$clip/small/image_embeds.npy" 3 >"$dir/got"
floats "$clip/small/zero_shot_probs.npy" >"$dir/want"
is "six images, three classes" "$(lines "$dir/want")" 18
near "softmax" "$dir/got" "$dir/want"

table "$clip/siglip/hf" "$clip/siglip/text_embeds.npy" "$clip/siglip/image_embeds.npy" 8 >"$dir/got"
floats "$clip/siglip/probs.npy" >"$dir/want"
is "six images, eight texts" "$(lines "$dir/want")" 48
near "sigmoid" "$dir/got" "$dir/want"
run 2 "$rank" -m "$clip/siglip/hf" --query x "$clip/siglip/image_embeds.npy"
has "texts of SigLIP" "$dir/err" "SentencePiece"
finish
