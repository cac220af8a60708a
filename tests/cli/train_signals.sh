#!/bin/sh
# train_signals.sh - SIGTERM, SIGUSR1 and SIGINT stop a run after the current step, with a checkpoint; the run goes on to
# the bytes of one that was left alone.
. tests/cli/check.inc
. tests/cli/train.inc
cd "$dir" || exit 2
opts="$base -b 3 --augment crop:4,flip --ema 0.9 --val $tiny/pairs.tar --val-steps 50 --seed 7 --steps 160"

# shellcheck disable=SC2086 # lists of words
{
    run 0 "$T" $opts --save-steps 20 --keep 100 -o whole

    struck term 5 'kill -TERM $pid' "$T" ${opts#-q } --progress never --save-steps 1000 -o term
    is "SIGTERM" $status 75
    has "SIGTERM: what is there, and how to go on" err "itc-train: stopped by SIGTERM after "
    has "SIGTERM: the step" err " of 160 is saved: the same command continues"
    [ -f term/last/state.safetensors ] && pass || fail "SIGTERM: nothing was saved"
    run 0 "$T" --resume term -q
    same_run "stopped by SIGTERM" whole term step-000160

    struck usr1 5 'kill -USR1 $pid' "$T" $opts -o usr1
    is "SIGUSR1" $status 75
    [ -f usr1/last/state.safetensors ] && pass || fail "SIGUSR1: nothing was saved"
    run 0 "$T" $opts -o usr1
    same_run "stopped by SIGUSR1" whole usr1 step-000160

    # in the foreground, and with the signal's own action: a shell has its background jobs ignore SIGINT, the tests too
    (begun int 5 && kill -INT "$(cat int.pid)") &
    env --default-signal=INT sh -c 'echo $$ >int.pid; exec "$@"' sh "$T" $base -b 8 --steps 1000000000 \
        --schedule constant --save-minutes 0 -o int 2>err
    is "SIGINT" $? 130
    wait
    [ -f int/last/state.safetensors ] && pass || fail "SIGINT: nothing was saved"
}
finish
