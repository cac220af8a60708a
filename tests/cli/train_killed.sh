#!/bin/sh
# train_killed.sh - a run that is killed by kill -9 several times ends in the bytes of one that was left alone; so does a
# run with other threads and other times of saving.
. tests/cli/check.inc
. tests/cli/train.inc
cd "$dir" || exit 2
opts="$base -b 3 --augment crop:4,flip --ema 0.9 --val $tiny/pairs.tar --val-steps 50 --seed 7 --steps 160"

# shellcheck disable=SC2086 # lists of words
{
    run 0 "$T" $opts --save-steps 20 --keep 100 -o whole
    is "best is a link" "$(readlink whole/best | cut -c1-5)" step-
    is "last is the end" "$(readlink whole/last)" step-000160
    is "each step once" "$(grep -c '"loss"' whole/metrics.jsonl)" 160
    is "validations" "$(grep -c '"val"' whole/metrics.jsonl)" 4

    # one thread, other times of saving
    run 0 "$T" $opts -j 1 --save-steps 80 --keep 9 -o other
    same_run "one thread" whole other step-000080 step-000160

    # kill -9, five times
    for n in 1 30 65 100 150; do
        "$T" $opts --save-steps 20 --keep 100 -o killed >killed.out 2>&1 &
        pid=$!
        begun killed $n
        kill -9 $pid 2>>killed.out
        wait $pid 2>>killed.out
    done
    run 0 "$T" $opts --save-steps 20 --keep 100 -o killed
    same_run "killed five times" whole killed step-000020 step-000080 step-000100 step-000160
    is "best is the same" "$(readlink killed/best)" "$(readlink whole/best)"
    is "no leftovers" "$(find killed -name '.*vlk*' | wc -l | tr -d ' ')" 0

    # a finished run does nothing
    noted whole/metrics.jsonl whole/last/*
    run 0 "$T" $opts --save-steps 20 --keep 100 -o whole
    run 0 "$T" --resume whole
    untouched "a finished run" whole/metrics.jsonl whole/last/*
}
finish
