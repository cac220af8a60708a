#!/bin/sh
# image_processors.sh - which file of a Hugging Face folder describes its images, by which processor, and that
# checkpoints of a training carry it.
. tests/cli/check.inc
. tests/cli/train.inc
cd "$dir" || exit 2
E=$BIN/clip-embed
image=$samples/pear.jpg
preprocessing() { "$E" -m "$1" --info | sed -n 's/^  "preprocessing": "\(.*\)"$/\1/p'; }

cp -r "$tiny/model" alone
cp -r "$tiny/model" nested
cp -r "$tiny/model" both
chmod -R u+w alone nested both
nest() { { # FROM TO: as version 5 of transformers saves it
    printf '{"image_processor": '
    cat "$1"
    printf ', "processor_class": "CLIPProcessor"}\n'
} >"$2"; }
nest alone/preprocessor_config.json nested/processor_config.json
rm nested/preprocessor_config.json
run 0 "$E" -m alone "$image"
cp out want
run 0 "$E" -m nested "$image"
same "processor_config.json alone" want out

# both: the nested one wins; a processor_config.json that does not speak of images changes nothing
sed 's/"resample": 3/"resample": 2/' alone/preprocessor_config.json >other.json
grep -q '"resample": 2' other.json && pass || fail "the other file is the same"
nest other.json both/processor_config.json
is "both files" "$(preprocessing both)" "$(preprocessing nested | sed s/bicubic/bilinear/)"
for j in '{"processor_class": "CLIPProcessor"}' '{"image_processor": null}'; do
    echo "$j" >both/processor_config.json
    is "$j" "$(preprocessing both)" "$(preprocessing alone)"
done
rm both/preprocessor_config.json
run 2 "$E" -m both "$image"
has "neither" err 'neither preprocessor_config.json nor processor_config.json with "image_processor"'
echo '{"image_processor": 7}' >both/processor_config.json
run 2 "$E" -m both "$image"
has "no object" err 'processor_config.json: image_processor: expected an object'
echo '{' >both/processor_config.json
run 2 "$E" -m both "$image"
has "no JSON" err 'both/processor_config.json'

# a processor by its own rules, or refused by its name
cat >alone/preprocessor_config.json <<'J'
{"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 32}, "crop_pct": 0.875, "resample": 3}
J
is "ConvNext" "$(preprocessing alone)" \
    "hf on-white shortest 36 bicubic crop 32x32 mean 0.5,0.5,0.5 std 0.5,0.5,0.5"
run 2 "$T" -q -m alone --train "$tiny/pairs.tar" -b 8 --steps 1 --image-size 64 -o sized
has "its rule for sizes" err "another image size is not supported"
echo '{"image_processor_type": "OwlViTImageProcessor"}' >alone/preprocessor_config.json
run 2 "$E" -m alone "$image"
has "another processor" err '"OwlViTImageProcessor" is not supported'
run 0 "$E" -m alone --text "$tiny/model/merges.txt"
run 2 "$T" -q -m alone --train "$tiny/pairs.tar" -b 8 --steps 1 -o refused
has "in training, too" err '"OwlViTImageProcessor" is not supported'

# checkpoints have the file that was read; with its size, if images have another
run 0 "$T" -q -m nested --train "$tiny/pairs.tar" -b 8 --steps 1 -o run
run 0 "$E" -m run/last "$image"
is "the checkpoint's preprocessing" "$(preprocessing run/last)" "$(preprocessing nested)"
gone "not the other file" run/last/preprocessor_config.json
run 0 "$T" -q -m nested --train "$tiny/pairs.tar" -b 8 --steps 1 --image-size 64 -o large
is "images of another size" "$(preprocessing large/last)" "$(preprocessing nested | sed 's/32/64/g; s/0.64/0.32/')"
run 0 "$T" --export run/last -o shipped
same "exported" run/last/processor_config.json shipped/processor_config.json

finish
