#!/bin/sh
# train_folder.sh - what else may be in the folder of a run: halves of checkpoints, links, damage, other programs' files.
. tests/cli/check.inc
. tests/cli/train.inc
cd "$dir" || exit 2
A="-m $tiny/model --train $tiny/pairs.tar -b 4 --save-steps 2 --keep 3 --seed 1"

# shellcheck disable=SC2086 # lists of words
{
    run 0 "$T" -q $A --steps 8 -o whole
    run 0 "$T" -q $A --steps 4 --schedule constant -o short
    (cd whole/last && sha256sum -c --quiet checksums) >sums.out 2>&1 && pass || fail "sha256sum: $(cat sums.out)"
    is "every other file is in it" "$(lines whole/last/checksums)" "$(($(ls whole/last | wc -l) - 1))"

    # an empty folder with the name of a later step does not end the run; half of one is replaced by a whole one
    cp -a whole r1
    rm -r r1/step-000006 r1/step-000008/state.safetensors
    mkdir r1/step-000006 r1/step-000040
    run 0 "$T" $A --steps 8 -o r1
    has "it is reported" err "step-000040/model.safetensors: No such file or directory: not a complete checkpoint: ignored"
    has "the file that is missing" err "step-000008/state.safetensors: No such file or directory"
    rmdir r1/step-000040
    same_run "halves" whole r1 step-000004 step-000006 step-000008
    rm r1/step-*/state.safetensors
    noted r1/run.json r1/metrics.jsonl r1/last/model.safetensors
    run 2 "$T" -q --resume r1
    has "no whole one" err "there is no other"
    untouched "halves alone" r1/run.json r1/metrics.jsonl r1/last/model.safetensors

    # a step folder that was moved and is a link now
    cp -a whole r4
    mv r4/step-000008 moved
    ln -s ../moved r4/step-000008
    run 0 "$T" $A --steps 8 --explain -o r4
    has "a link" err "step-000008: is not a folder"

    # no run.json: nothing is begun over the steps of another run, or its metrics
    cp -a whole r2
    rm r2/run.json
    noted r2/metrics.jsonl
    run 2 "$T" -q $A --steps 10 --lr 1e-5 -o r2
    has "what is missing" err "r2: has checkpoints or metrics of a run, but no run.json"
    rm -r r2/step-* r2/last
    run 2 "$T" -q $A --steps 10 --lr 1e-5 -o r2
    untouched "metrics without run.json" r2/metrics.jsonl

    # links that would be written through
    printf 'precious data without newline' >victim
    for f in metrics.jsonl run.json; do
        cp -a short r3
        mv r3/$f kept
        ln -s ../$([ $f = run.json ] && echo kept || echo victim) r3/$f
        noted victim kept
        run 2 "$T" -q --resume r3 --steps 9
        has "$f is a link" err "r3/$f: "
        untouched "$f" victim kept
        rm -r r3
    done

    # a flipped bit, on resume and on export
    for f in model.safetensors state.safetensors config.json; do
        cp -a short bit
        size=$(wc -c <bit/last/$f)
        printf '\001' | dd of=bit/last/$f bs=1 seek=$((size - 1)) conv=notrunc 2>dd.err
        run 2 "$T" -q --resume bit --steps 6
        has "resume: $f" err "$f: is damaged: its SHA-256 is"
        case $f in
        state*) run 0 "$T" --export bit/last -o export ;;
        *)
            run 2 "$T" --export bit/last -o export
            has "export: $f" err "$f: is damaged"
            gone "no export" export
            ;;
        esac
        rm -rf bit export
    done
    # from before there were checksums
    cp -a short old
    rm old/step-*/checksums
    run 0 "$T" -q --resume old --steps 6
    run 0 "$T" -q --resume short --steps 6
    same_run "without checksums" short old step-000006

    # the temporary of another program in that folder
    mkdir shared
    mkfifo names
    "$BIN/clip-embed" -m "$tiny/model" -T names -o shared/x.npy 2>embed.err &
    pid=$!
    exec 3>names
    wait_until "clip-embed writes" test -e shared/.x.npy.vlk-tmp
    : >shared/.y.npy.vlk-tmp
    run 0 "$T" -q $A --steps 2 -o shared
    [ -e shared/.y.npy.vlk-tmp ] && pass || fail "another program's leftover was removed"
    echo "$samples/pear.jpg" >&3
    exec 3>&-
    wait $pid
    is "clip-embed's output" "$? $([ -s shared/x.npy ] && echo there)" "0 there"
}
finish
