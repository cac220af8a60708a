#!/bin/sh
# train_resume.sh - a run that is killed, stopped or begun twice ends with the bytes of one that was left alone.
. tests/cli/check.inc
. tests/cli/train.inc
cd "$dir" || exit 2
opts="$base -b 3 --augment crop:4,flip --ema 0.9 --val $tiny/pairs.tar --val-steps 50 --seed 7"

# shellcheck disable=SC2086
{
    run 0 "$T" $opts --steps 160 --save-steps 20 --keep 100 -o whole
    is "best is a link" "$(readlink whole/best | cut -c1-5)" step-
    is "last is the end" "$(readlink whole/last)" step-000160
    is "each step once" "$(grep -c '"loss"' whole/metrics.jsonl)" 160
    is "validations" "$(grep -c '"val"' whole/metrics.jsonl)" 4

    # threads, and when it is saved, change nothing
    run 0 "$T" $opts -j 1 --steps 160 --save-steps 80 --keep 9 -o other
    same_run "one thread" whole other step-000080 step-000160

    # kill -9, five times
    for n in 1 30 65 100 150; do
        "$T" $opts --steps 160 --save-steps 20 --keep 100 -o killed >killed.out 2>&1 &
        pid=$!
        begun killed "$n"
        kill -9 $pid
        wait $pid 2>killed.out
    done
    run 0 "$T" $opts --steps 160 --save-steps 20 --keep 100 -o killed
    same_run "killed five times" whole killed step-000020 step-000080 step-000100 step-000160
    is "best is the same" "$(readlink killed/best)" "$(readlink whole/best)"
    is "no leftovers" "$(find killed -name '.*vlk*' | wc -l | tr -d ' ')" 0

    # a finished run does nothing
    cksum whole/metrics.jsonl whole/last/* >sums
    run 0 "$T" $opts --steps 160 --save-steps 20 --keep 100 -o whole
    run 0 "$T" --resume whole
    cksum whole/metrics.jsonl whole/last/* | cmp -s - sums && pass || fail "a finished run was touched"

    # SIGTERM: saved, 75; the same again with --resume; SIGINT: saved, 130
    "$T" $opts --steps 160 --save-steps 1000 -o term 2>err &
    pid=$!
    begun term 5
    kill -TERM $pid
    wait $pid
    is "SIGTERM" $? 75
    [ -f term/last/state.safetensors ] && pass || fail "SIGTERM: nothing was saved"
    run 0 "$T" --resume term -q
    same_run "stopped by SIGTERM" whole term step-000160
    "$T" $opts --steps 160 -o usr1 2>err &
    pid=$!
    begun usr1 5
    kill -USR1 $pid
    wait $pid
    is "SIGUSR1" $? 75
    [ -f usr1/last/state.safetensors ] && pass || fail "SIGUSR1: nothing was saved"
    run 0 "$T" $opts --steps 160 -o usr1
    same_run "stopped by SIGUSR1" whole usr1 step-000160
    # in the foreground, and with the signal's own action: a shell has its background jobs ignore SIGINT, the tests too
    (begun int 5; kill -INT "$(cat int.pid)") &
    env --default-signal=INT sh -c 'echo $$ >int.pid; exec "$@"' sh "$T" $base -b 8 --steps 1000000000 --schedule constant --save-minutes 0 -o int 2>err
    is "SIGINT" $? 130
    wait
    [ -f int/last/state.safetensors ] && pass || fail "SIGINT: nothing was saved"

    # what may not change, and that nothing is touched then
    cksum term/run.json term/metrics.jsonl term/last/* >sums
    for o in "--lr 1e-3" "-b 4" "--seed 8" "--augment none" "--dtype bf16" "--chunk 2" "--ema 0.5" \
        "--lock image" "--captions" "--val-steps 3"; do
        run 2 "$T" --resume term $o
        has "it says what: $o" err "when the run began"
    done
    run 2 "$T" --resume term --steps 200
    has "longer, with a cosine" err "length of the run"
    cp "$tiny/pairs.tar" more.tar
    (cd "$tiny/model" && cp config.json "$dir/x.json")
    printf 'x' >x.txt
    tar rf more.tar x.json x.txt 2>tar.err
    run 2 "$T" --resume term --train more.tar --train "$tiny/pairs.tar"
    has "other data" err "training data"
    cksum term/run.json term/metrics.jsonl term/last/* | cmp -s - sums && pass || fail "a refused run was touched"
    # moved data are the same data; threads and saving may change
    cp "$tiny/pairs.tar" moved.tar
    run 0 "$T" --resume term --train moved.tar -j 1 --save-steps 3 --keep 1

    # another start is refused, in a finished run too; one that is gone is not needed any more
    cp -r "$tiny/model" start
    run 0 "$T" -q -m start --train "$tiny/pairs.tar" -b 8 --steps 4 -o begun
    cksum begun/run.json begun/metrics.jsonl begun/last/* >sums
    run 2 "$T" -q -m "$top/tests/data/clip/gelu/open_clip" --train "$tiny/pairs.tar" -b 8 --steps 4 -o begun
    has "another model" err "is not what the run began with"
    run 2 "$T" --resume begun -m nowhere
    run 2 "$T" -q --config start/config.json --train "$tiny/pairs.tar" -b 8 --steps 4 -o begun
    sed 's/"hidden_act": "quick_gelu"/"hidden_act": "gelu"/' "$tiny/model/config.json" >start/config.json
    run 2 "$T" -q -m start --train "$tiny/pairs.tar" -b 8 --steps 4 -o begun
    has "another config" err "start is not what the run began with"
    run 0 "$T" --resume begun -q
    mv start moved
    run 0 "$T" -q -m start --train "$tiny/pairs.tar" -b 8 --steps 4 -o begun
    cp "$tiny/model/config.json" moved
    run 0 "$T" --resume begun -m moved
    cksum begun/run.json begun/metrics.jsonl begun/last/* | cmp -s - sums && pass || fail "a finished run was touched"
    run 0 "$T" -q --config moved/config.json --train "$tiny/pairs.tar" -b 8 --steps 2 -o drawn
    sed 's/"hidden_act": "quick_gelu"/"hidden_act": "gelu"/' moved/config.json >moved/gelu.json
    run 2 "$T" -q --config moved/gelu.json --train "$tiny/pairs.tar" -b 8 --steps 2 -o drawn
    has "another shape" err "is not what the run began with"

    # a constant schedule can be made longer
    run 0 "$T" $base -b 3 --schedule constant --steps 40 -o long
    run 0 "$T" $base -b 3 --schedule constant --steps 90 -o direct
    run 0 "$T" --resume long --steps 90 -q
    same_run "made longer" long direct step-000090
    run 2 "$T" --resume long --steps 50

    # a logit bias: saved in open_clip's layout, which Hugging Face's has no place for; read back as it was
    run 0 "$T" $base -b 8 --loss siglip --schedule constant --steps 6 -o sig
    run 0 "$T" $base -b 8 --loss siglip --schedule constant --steps 3 -o sigp
    run 0 "$T" --resume sigp --steps 6 -q
    same_run "siglip in two parts" sig sigp step-000006
    run 0 "$BIN/clip-embed" -m sig/last --info
    has "its bias" out '"logit_bias": -9.9'

    # the gradient cache: the same to rounding
    run 0 "$T" $base -b 8 --steps 10 -o c0
    run 0 "$T" $base -b 8 --chunk 3 --steps 10 -o c3
    paste -d ' ' c0/metrics.jsonl c3/metrics.jsonl | awk '{ gsub(/,/, ""); d = $4 - $18; if (d < 0) d = -d; if (d > 1e-4) bad = 1; n++ }
        END { exit bad || n != 10 }' && pass || fail "chunks: $(paste -d ' ' c0/metrics.jsonl c3/metrics.jsonl | tail -n 1)"
}
finish
