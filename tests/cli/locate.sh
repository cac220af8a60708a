#!/bin/sh
# locate.sh - what -m may name: folders with two configs, a Hugging Face cache with revisions, variables that nobody has
# expanded, prefixes, names that are not on disk.
. tests/cli/check.inc
hf=$top/tests/data/clip/eos2/hf
clip=$top/tests/data/clip/gelu/open_clip
cd "$dir" || exit 2
embed=$BIN/clip-embed
unset HF_HUB_CACHE HUGGINGFACE_HUB_CACHE HF_HOME XDG_CACHE_HOME || :

# vector OPTION...: the first number of the vector of an image
vector() {
    run 0 "$embed" "$@" "$samples/pear.jpg" --format tsv
    cut -f 2 out
}
first=$("$embed" -m "$hf" "$samples/pear.jpg" | cut -f 2)
second=$("$embed" -m "$clip" "$samples/pear.jpg" | cut -f 2)

# timm's config.json and weights beside open_clip's
mkdir both
cp "$clip"/* both
echo '{"architecture": "vit_tiny", "num_classes": 40}' >both/config.json
cp "$hf/model.safetensors" both
is "open_clip's weights belong to open_clip's config" "$(vector -m both)" "$second"
# both layouts: Hugging Face's config and weights, as before
cp "$hf"/* both
is "Hugging Face's weights belong to Hugging Face's config" "$(vector -m both)" "$first"

# the cache
hash=0123456789abcdef0123456789abcdef01234567
repo=home/.cache/huggingface/hub/models--acme--tiny
mkdir -p "$repo/snapshots/$hash" "$repo/refs/refs/pr" "$repo/refs/fix"
cp "$hf"/* "$repo/snapshots/$hash"
for ref in main refs/pr/1 fix/a@b; do printf '%s' $hash >"$repo/refs/$ref"; done
HOME=$dir/home
export HOME
for name in acme/tiny acme/tiny@main acme/tiny@refs/pr/1 acme/tiny@fix/a@b acme/tiny@$hash hf-hub:acme/tiny \
    hf-hub:acme/tiny@refs/pr/1 "local-dir:$hf"; do
    is "$name" "$(vector -m "$name")" "$first"
done

# places HOME VALUE...: the cache is found with these variables
found() {
    is "$*" "$(export "$@" && vector -m acme/tiny)" "$first"
}
mv home/.cache away
found HF_HOME="$dir/away/huggingface"
found HF_HUB_CACHE="$dir/away/huggingface/hub" HUGGINGFACE_HUB_CACHE=/nowhere HF_HOME=/nowhere
found HUGGINGFACE_HUB_CACHE="$dir/away/huggingface/hub" HF_HOME=/nowhere
found XDG_CACHE_HOME="$dir/away"
# shellcheck disable=SC2088
found HF_HOME='~/../away/huggingface'
# shellcheck disable=SC2016
found HF_HUB_CACHE='$PLACE/huggingface/hub' PLACE="$dir/away"
# shellcheck disable=SC2016
found HUGGINGFACE_HUB_CACHE='${PLACE}/huggingface/${SUB}' PLACE="$dir/away" SUB=hub
# shellcheck disable=SC2016
mkdir 'x$y' && mv away 'x$y'
# shellcheck disable=SC2016
found HF_HOME="$dir"'/x$y/away/huggingface'

# what is not there
# missing WHAT NAME TEXT
missing() {
    run 2 "$embed" -m "$2" "$samples/pear.jpg"
    has "$1" err "$3"
}
missing "another model" acme/huge \
    'acme/huge: no such file or folder, nor in the cache ('
has "how to fetch it" err '); to fetch it: hf download acme/huge --local-dir huge, then -m huge'
missing "another revision" acme/tiny@v2 'hf download acme/tiny --revision v2 --local-dir tiny'
missing "a prefix" hf-hub:acme/huge 'to fetch it: hf download acme/huge --local-dir huge'
missing "no folder" local-dir:nowhere 'nowhere: no such folder'
missing "a path" ./acme/huge './acme/huge: no such file or folder'
missing "a way out" acme/tiny@../../x 'the revision "../../x" is not a name'
missing "a longer path" a/b/c 'a/b/c: no such file or folder'
mkdir -p run1/last
missing "the folder of a run" run1 'it has a checkpoint of a training run: -m run1/last'

# every plain model of open_clip has its name, and its size is not that of these weights
for name in ViT-S-16 ViT-S-32-alt ViT-M-32-quickgelu ViT-B-16-plus ViT-B-32-plus-256 ViT-L-14-280 ViT-L-16-320 \
    ViT-H-16 ViT-e-14; do
    run 2 "$embed" -m "$clip/open_clip_model.safetensors" --arch $name "$samples/pear.jpg"
    has "$name" err 'expected shape'
done

# one tower by itself, with the vectors of transformers, to four places; SigLIP's as version 5 names its tensors
towers=$top/tests/data/clip/towers
places() { cut -f 2-5 out | tr '\t' '\n' | awk '{printf "%s%.4f", (NR > 1 ? " " : ""), $1}'; }
run 0 "$embed" -m "$towers/clip-vision" "$samples/pear.jpg"
is "clip_vision_model" "$(places)" "0.1544 -0.0594 -0.0690 0.6123"
run 0 "$embed" -m "$towers/siglip-vision" "$samples/pear.jpg"
is "siglip_vision_model" "$(places)" "0.6530 -0.1744 0.0563 -0.2120"
echo 'a cat' >cat
run 0 "$embed" -m "$towers/clip-text" --text cat --format tsv
is "clip_text_model" "$(places)" "0.1155 0.1109 -0.1903 0.6564"
run 0 "$embed" -m "$towers/clip-text" --info
missing "no images" "$towers/clip-text" 'this model cannot embed images: it is a clip_text_model model'
run 2 "$BIN/clip-rank" -m "$towers/clip-vision" --query 'a cat' "$samples/pear.jpg"
has "no texts" err 'this model cannot embed texts'
run 2 "$BIN/itc-train" -m "$towers/clip-vision" --train "$samples/captions.tsv" -b 8 --steps 1 -o run
has "no training" err 'this model cannot embed texts'
finish
