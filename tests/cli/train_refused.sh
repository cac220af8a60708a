#!/bin/sh
# train_refused.sh - what may not differ from the run's beginning when it goes on: settings, data, the model it began
# with. A refused run is not touched. And what no run may do: chunks of a batch norm that is trained.
. tests/cli/check.inc
. tests/cli/train.inc
cd "$dir" || exit 2
files='run/run.json run/metrics.jsonl run/last/*'

# shellcheck disable=SC2086 # lists of words
{
    run 0 "$T" $base -b 3 --augment crop:4,flip --ema 0.9 --val "$tiny/pairs.tar" --val-steps 50 --seed 7 --steps 12 -o run
    noted $files

    # settings
    for o in "--lr 1e-3" "-b 4" "--seed 8" "--augment none" "--dtype bf16" "--chunk 2" "--ema 0.5" \
        "--lock image" "--captions" "--val-steps 3"; do
        run 2 "$T" --resume run $o
        has "it says what: $o" err "when the run began"
    done
    run 2 "$T" --resume run --steps 200
    has "longer, with a cosine" err "length of the run"

    # data: other ones are refused, moved ones are the same; threads and times of saving may differ
    cp "$tiny/pairs.tar" more.tar
    cp "$tiny/model/config.json" x.json
    printf 'x' >x.txt
    tar rf more.tar x.json x.txt 2>tar.err
    run 2 "$T" --resume run --train more.tar --train "$tiny/pairs.tar"
    has "other data" err "training data"
    untouched "a refused run" $files
    cp "$tiny/pairs.tar" moved.tar
    run 0 "$T" --resume run --train moved.tar -j 1 --save-steps 3 --keep 1

    # the model it began with: another one is refused, in a finished run too; one that is gone is not needed any more
    rm -r run
    cp -r "$tiny/model" start
    begin="-q --train $tiny/pairs.tar -b 8 --steps 4 -o run"
    run 0 "$T" $begin -m start
    noted $files
    run 2 "$T" $begin -m "$top/tests/data/clip/gelu/open_clip"
    has "another model" err "is not what the run began with"
    run 2 "$T" --resume run -m nowhere
    run 2 "$T" $begin --config start/config.json
    sed 's/"hidden_act": "quick_gelu"/"hidden_act": "gelu"/' "$tiny/model/config.json" >start/config.json
    run 2 "$T" $begin -m start
    has "another config" err "start is not what the run began with"
    run 0 "$T" --resume run -q
    mv start moved
    run 0 "$T" $begin -m start
    cp "$tiny/model/config.json" moved
    run 0 "$T" --resume run -m moved
    untouched "a finished run" $files
    drawn="-q --train $tiny/pairs.tar -b 8 --steps 2 -o drawn"
    run 0 "$T" $drawn --config moved/config.json
    sed 's/"hidden_act": "quick_gelu"/"hidden_act": "gelu"/' moved/config.json >moved/gelu.json
    run 2 "$T" $drawn --config moved/gelu.json
    has "another shape" err "is not what the run began with"

    # chunks where a batch norm is trained: --lock image:2 leaves layer4's open
    rn="-q -m $top/tests/data/clip/rn/openai/jit-f16.pt --train $tiny/pairs.tar -b 8 --chunk 4 --steps 1 --max-loss 99"
    for o in "" "--lock text" "--lock image:2"; do
        run 2 "$T" $rn $o -o chunks
        has "chunks of a ResNet: $o" err "--chunk: this model has batch norm"
    done
    for o in image image:1; do
        run 0 "$T" $rn --lock $o -o "chunks-$o"
    done
}
finish
