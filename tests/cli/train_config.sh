#!/bin/sh
# train_config.sh - RUN/run.json: its bytes are those of version 0.1.0, runs that it began continue, and options that may not
# change are reported. tests/data/run-json was written by 0.1.0 (by this script with MAKE_RUN_JSON=1); in it, TOP is this
# tree and DIR is the folder of the test.
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
cp "$tiny/pairs.tar" a.tar
cp a.tar b.tar
cp -r "$tiny/model" model

# written NAME ARGUMENTS...: a run with them writes tests/data/run-json/NAME.json
written() {
    name=$1
    shift
    run 0 "$T" -q "$@" -o "$name"
    sed "s|\"$top/|\"TOP/|; s|\"$dir/|\"DIR/|g; s|::$dir/|::DIR/|g; s|\"vlkit\": \"[^\"]*\"|\"vlkit\": \"VERSION\"|" \
        "$name/run.json" >"$name.json"
    if [ -n "$MAKE_RUN_JSON" ]; then cp "$name.json" "$top/tests/data/run-json/"; fi
    same "the bytes of run.json: $name" "$name.json" "$top/tests/data/run-json/$name.json"
}
# by_earlier NAME RUN: the folder of a run that 0.1.0 began, and that was killed before its first checkpoint
by_earlier() {
    mkdir "$2"
    sed "s|\"TOP/|\"$top/|; s|\"DIR/|\"$dir/|g; s|::DIR/|::$dir/|g; s|VERSION|0.1.0|" "$top/tests/data/run-json/$1.json" \
        >"$2/run.json"
}

# the defaults; nearly every option; new weights; two sources; a length in time
written plain -m "$tiny/model" --train a.tar -b 4 --steps 2
written full -m "$tiny/model" --train a.tar b.tar --val a.tar --val b.tar --val-steps 1 --val-labels labels.txt \
    --val-templates templates.txt --seed 7 --image-size 32 --augment crop:4,flip --window 3 -b 4 --chunk 2 --steps 2 \
    --lr 0.1234567 --lr-image 1e-4 --lr-text 0 --warmup 1 --schedule constant --betas 0.8,0.95 --eps 1e-7 --wd 0.01 \
    --clip-grad 1.5 --ema 0.9 --lock text:1 --patch-dropout 0.1 --dtype bf16 --max-loss 99 --save-steps 1 \
    --save-minutes 3.5 --keep 3 --cache-mb 7 --checkpoint-blocks --no-exif --alpha white --max-pixels 100000
written drawn --config model/config.json --tokenizer model --init openai --train a.tar -b 8 --epochs 2 --loss siglip
written mixed -m "$tiny/model" --train a.tar::b.tar --train-weights 1::2 --epoch-samples 8 --captions -b 4 --steps 1 \
    --lock image
run 0 "$T" -q -m "$tiny/model" --train a.tar -b 8 --minutes 0.001 -o timed
has "a length in time" timed/run.json '"minutes": 0.001'

# what 0.1.0 began ends in the same bytes: with --resume, and with the same command
for name in plain full drawn mixed; do
    by_earlier $name "$name-on"
    run 0 "$T" -q --resume "$name-on"
    for s in "$name"/step-*; do
        diff -r "$s" "$name-on/${s#*/}" >diffs && pass || fail "$name: $(head -n 3 diffs)"
    done
    same "$name: run.json is rewritten as it was" "$name/run.json" "$name-on/run.json"
done
by_earlier plain same
run 0 "$T" -q -m "$tiny/model" --train a.tar -b 4 --steps 2 -o same
same "the same command" plain/last/model.safetensors same/last/model.safetensors

# a run.json from before some options were recorded: they have their defaults, and are recorded from then on
by_earlier plain older
sed -i -E '/"(hard-negatives|lr-image|betas|max-loss|augment|lock-text|val|val-templates|captions|init|alpha|max-pixels|strict)":/d' \
    older/run.json
is "members that are missing" "$(($(lines plain/run.json) - $(lines older/run.json)))" 13
run 0 "$T" -q --resume older
for s in plain/step-*; do
    diff -r "$s" "older/${s#*/}" >diffs && pass || fail "an older run.json: $(head -n 3 diffs)"
done
same "an older run.json is completed" plain/run.json older/run.json

# unreadable SED TEXT: with run.json changed by this line of sed, --resume is refused with this text
unreadable() {
    rm -rf odd
    by_earlier plain odd
    sed -i "$1" odd/run.json
    run 2 "$T" -q --resume odd
    has "$1" err "odd/run.json: $2"
    gone "nothing was begun" odd/last odd/metrics.jsonl
}
unreadable 's/"chunk":/"chunks":/' '"chunks" is no option of a run of this version'
unreadable 's/"chunk": .*,/"chunk": "0",/' 'chunk: expected an integer'
unreadable 's/"chunk": .*,/"chunk": null,/' 'chunk: expected an integer'
unreadable 's/"lr": .*,/"lr": true,/' 'lr: expected a number'
unreadable 's/"captions": .*,/"captions": 0,/' 'captions: expected true or false'
unreadable 's/"loss": .*,/"loss": 1,/' '"loss": what it holds is not one of the known words'
unreadable 's/"augment": .*,/"augment": 1,/' '"augment": expected a string'
unreadable 's/"augment": .*,/"augment": "x",/' '"augment": '
unreadable 's/"betas": .*,/"betas": 0.9,/' 'betas: expected a number, found nothing'
unreadable 's/"lock-text": .*,/"lock-text": "x",/' 'lock-text: expected an integer'
unreadable 's/"arch": .*,/"arch": 7,/' '"arch": expected a string or null'
unreadable 's/"val": .*,/"val": "a.tar",/' '"val": expected a list of strings'
unreadable '/"index":/d' '"index" or "model_id" is missing'

# refused OPTION WAS IS ARGUMENTS...: the option, and both values
refused() {
    name=$1 was=$2 is=$3
    shift 3
    run 2 "$T" --resume full "$@"
    has "--$name" err "itc-train: full: --$name was $was when the run began, and is $is now"
}
noted full/run.json full/metrics.jsonl full/last/*
refused seed 7 8 --seed 8
refused lr 0.1234567 0.5 --lr 0.5
refused betas "[0.8, 0.95]" "[0, 0.5]" --betas 0,0.5
refused augment '"crop:4,flip"' '"none"' --augment none
refused loss '"clip"' '"siglip"' --loss siglip
refused lock-image null 1 --lock image:1
refused lock-text 1 2 --lock text:2
refused dtype '"bf16"' '"f32"' --dtype f32
refused captions false true --captions
refused alpha '"white"' '"black"' --alpha black
refused alpha '"white"' '"auto"' --alpha auto
refused max-pixels 100000 5 --max-pixels 5
refused val-steps 1 2 --val-steps 2
untouched "a refused run" full/run.json full/metrics.jsonl full/last/*

# what may change; several words after --train, then several after --val
run 0 "$T" -q --resume full --max-loss 98 --save-steps 2 --save-minutes 0 --keep 9 --cache-mb 8 -j 1
run 0 "$T" -q --resume full --steps 3 --train "$tiny/pairs.tar" "$dir/b.tar" --val a.tar b.tar
has "longer" full/run.json '"steps": 3'
has "from other places" full/run.json "\"train\": [\"$tiny/pairs.tar\", \"$dir/b.tar\"]"

# --ema has a number in training and none with --export
run 2 "$T" -q -m "$tiny/model" --train a.tar -b 4 --steps 1 -o none --ema
has "no number" err "--ema needs a decay"
run 0 "$T" --export full/last --ema -o mean
run 0 "$T" --ema --export full/last -o mean2
same "the mean" mean/model.safetensors full/last/ema.safetensors
same "in another order" mean/model.safetensors mean2/model.safetensors
run 2 "$T" -q -m "$tiny/model" --train a.tar -b 4 --steps 1 -o none --dtype f16
has "f16 is for --export" err "--dtype f16 goes with --export"
gone "nothing was begun" none

finish
