#!/bin/sh
# train_mpi.sh - training with several ranks: the same figures and the same order as with one process, one set of
# messages, one common end.
. tests/cli/check.inc
. tests/cli/train.inc
cd "$dir" || exit 2
unset OMPI_COMM_WORLD_SIZE PMI_SIZE PMIX_RANK
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# This machine only, more ranks than cores (Open MPI 4 and 5 have different switches), no wait after a rank has failed.
OMPI_MCA_plm=isolated OMPI_MCA_btl=self,vader OMPI_MCA_pml=ob1
OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_odls_base_sigkill_timeout=0
PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe PRTE_MCA_hwloc_default_binding_policy=none
HWLOC_HIDE_ERRORS=2 # hwloc complains on standard error where there is no /sys
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 # MPI's own
export OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM ASAN_OPTIONS
export HWLOC_HIDE_ERRORS PRTE_MCA_rmaps_default_mapping_policy PRTE_MCA_hwloc_default_binding_policy
export OMPI_MCA_plm OMPI_MCA_btl OMPI_MCA_pml
export OMPI_MCA_rmaps_base_oversubscribe OMPI_MCA_hwloc_base_binding_policy OMPI_MCA_odls_base_sigkill_timeout

# two ranks are announced but MPI does not start: no process may train alone
env OMPI_COMM_WORLD_SIZE=2 "$T" $base -b 8 --steps 2 -o alone >out 2>err
is "half of two" $? 2
gone "half of two" alone
if grep -q 'built without MPI' err; then
    echo "skipped: this build is without MPI (libopenmpi-dev)"
    finish
fi
if ! command -v mpirun >/dev/null 2>&1; then
    echo "skipped: mpirun is not installed (openmpi-bin)"
    finish
fi

# Eight pairs with further captions and false ones; bad.tar has two broken images.
mkdir src
tar xf "$tiny/pairs.tar" -C src
for f in src/*.txt; do
    k=${f%.txt}
    t=$(cat "$f")
    n=${k#src/000}
    printf '{"captions": ["%s again", "once more"], "negatives": ["no %s", "never", "not so"]}' "$t" "$t" >"$k.json"
    [ "$n" = 6 ] && rm "$k.json"
done
(cd src && tar cf ../good.tar --format=ustar -- *)
head -c 300 src/0003.png >cut && mv cut src/0003.png
head -c 300 src/0004.png >cut && mv cut src/0004.png
(cd src && tar cf ../bad.tar --format=ustar -- *)
rm -r src

# each rank writes its process id to pid.RANK and replaces the argument "@" with its own RANK.tar
cat >each <<'EOF'
echo $$ >"pid.$OMPI_COMM_WORLD_RANK"
n=$#
while [ "$n" -gt 0 ]; do
    a=$1
    shift
    [ "$a" = @ ] && a=$OMPI_COMM_WORLD_RANK.tar
    set -- "$@" "$a"
    n=$((n - 1))
done
exec "$@"
EOF
mpi() { # N OPTION...
    n=$1
    shift
    mpirun -n "$n" sh ./each "$T" -j 1 -q "$@"
}
two="mpirun -n 2 sh ./each $T -j 1 -q" # in the background: $! is mpirun
# near WHAT A B N: the same losses at each of N steps, to 1e-5 of max(1, loss); the same steps and rates
near() {
    figures "$2" | tr -d '",:{}' >fa
    figures "$3" | tr -d '",:{}' >fb
    paste -d ' ' fa fb | awk -v n="$4" '{ d = $4 - $14; if (d < 0) d = -d; m = $4 > 1 ? $4 : 1; k++
        if (d > 1e-5 * m || $2 != $12 || $2 != k || $6 != $16) { print "step " $2 ": " $4 " and " $14; bad = 1 } }
        END { exit bad || k != n }' >why && pass || fail "$1: $(head -n 2 why)"
}
all="-m $tiny/model --train good.tar --lr 1e-3 --wd 0.1 --warmup 2 --clip-grad 0.5 --schedule constant --seed 7 --augment crop:4,flip
    --patch-dropout 0.3 --captions --hard-negatives 2 --ema 0.9"

# shellcheck disable=SC2086
{
    # one, two and three ranks; two runs with the same bytes; chunks that do not divide the batch
    run 0 "$T" -q $all -b 7 --chunk 3 --steps 12 -o one
    run 0 mpi 2 $all -b 7 --chunk 3 --steps 12 -o two
    is "one rank speaks" "$(cat err)" ""
    run 0 mpi 2 $all -b 7 --chunk 3 --steps 12 -o again
    run 0 mpi 3 $all -b 7 --steps 12 --val good.tar --val-steps 5 -o three
    near "two ranks" one two 12
    grep '"loss"' three/metrics.jsonl >kept && mv kept three/metrics.jsonl
    near "three ranks, no chunks" one three 12
    is "best is set" "$(readlink three/best | cut -c1-5)" step-
    same_run "two ranks, twice" two again step-000012

    # bad samples: the same order, each named once, by one rank; resumed with another number of ranks
    bad="$base --train bad.tar -b 3 --schedule constant --save-steps 10 --steps"
    run 1 "$T" $bad 20 -o bad1
    grep itc-train: err >err1
    run 1 mpi 2 $bad 20 -o bad2
    grep itc-train: err >err2
    near "bad samples" bad1 bad2 20
    same "bad samples are reported alike" err1 err2
    is "two of them" "$(wc -l <err2 | tr -d ' ')" 2
    run 1 mpi 2 --resume bad1 --steps 30
    run 1 "$T" -q --resume bad2 --steps 30
    near "resumed with another number of ranks" bad1 bad2 30

    # a loss above --max-loss: one message, the last checkpoint is kept
    run 2 mpi 2 $base -b 8 --steps 3 --max-loss 1 -o much
    is "one message" "$(grep -c 'step 1: the loss is' err)" 1
    has "the whole batch is reported" err 0003
    is "the last checkpoint" "$(readlink much/last)" step-000000

    # rank 1 has other data; rank 1 loses its data; rank 0 cannot write a checkpoint
    cp good.tar 0.tar
    cp bad.tar 1.tar
    run 2 mpi 2 $base --train @ -b 4 --steps 3 -o none
    has "other data on rank 1" err "rank 1: its training data are not those of rank 0"
    gone "other data on rank 1" none
    cp good.tar 1.tar
    $two $base --train @ -b 3 --cache-mb 0 --steps 100000 --schedule constant -o gone >out 2>err &
    pid=$!
    begun gone 3
    : >1.tar
    wait $pid
    is "data lost on rank 1" $? 2
    has "it says where" err "rank 1: 1.tar"
    [ -f gone/last/state.safetensors ] && pass || fail "data lost on rank 1: nothing was saved"
    run 0 mpi 2 $base -b 4 --steps 2 --schedule constant --save-steps 4 -o full
    : >full/step-000004
    run 2 mpi 2 --resume full --steps 100000
    has "no room for a checkpoint" err "step-000004"

    # signals: SIGUSR1 to mpirun, which passes it to the ranks; SIGTERM to one rank, which tells the others
    $two $base -b 4 --steps 100000 --schedule constant -o usr1 >out 2>err &
    pid=$!
    begun usr1 3
    kill -USR1 $pid
    wait $pid
    is "SIGUSR1" $? 75
    is "saved at the step" "$(readlink usr1/last)" "$(printf 'step-%06d' "$(lines usr1/metrics.jsonl)")"
    $two $base -b 4 --steps 100000 --schedule constant -o term >out 2>err &
    pid=$!
    begun term 3
    kill -TERM "$(cat pid.1)"
    wait $pid
    is "SIGTERM to one rank" $? 75
    is "saved at the step" "$(readlink term/last)" "$(printf 'step-%06d' "$(lines term/metrics.jsonl)")"

    # a killed rank: the last checkpoint is complete, and one process resumes from it
    run 0 "$T" $base -b 4 --steps 150 --lr 1e-6 -o whole
    struck dead 12 'kill -KILL "$(cat pid.1)"' $two $base -b 4 --steps 150 --lr 1e-6 --save-steps 5 -o dead
    [ $status -ne 0 ] && pass || fail "a killed rank: status 0"
    at=$(readlink dead/last)
    at=${at#step-}
    [ "$at" -ge 5 ] 2>/dev/null && pass || fail "a killed rank: no checkpoint"
    run 0 "$T" -q --resume dead
    near "killed and resumed" whole dead 150

    # refusals
    run 2 mpi 2 -m "$top/tests/data/clip/rn/openai/jit-f16.pt" --train good.tar -b 4 --steps 1 -o rn
    has "a ResNet" err "2 ranks: this model has batch norm"
    run 2 mpi 3 $base -b 2 --steps 1 -o few
    has "more ranks than pairs" err "3 ranks"
    gone "nothing was written" few rn
    run 0 mpi 2 $base -b 7 --steps 3 --explain
    has "--explain" out "ranks         2, of 3 to 4 pairs a step: 0 on "
    is "printed once" "$(grep -c '^ranks' out)" 1
}
finish
