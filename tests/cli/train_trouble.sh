#!/bin/sh
# train_trouble.sh - bad samples, a loss that runs away, a full disk, data that go away, misuse.
. tests/cli/check.inc
. tests/cli/train.inc
cd "$dir" || exit 2

# a bad sample: replaced, named once, status 1; the same after a stop
mkdir bad
tar xf "$tiny/pairs.tar" -C bad
head -c 300 bad/0003.png >cut && mv cut bad/0003.png
rm bad/0005.txt
(cd bad && tar cf ../bad.tar --format=ustar -- *)
rm -r bad
# shellcheck disable=SC2086
{
    run 1 "$T" $base --train bad.tar -b 3 --steps 30 -o bad
    is "all steps were made" "$(grep -c '"loss"' bad/metrics.jsonl)" 30
    is "named once" "$(grep -c 0003 err)" 1
    run 1 "$T" $base --train bad.tar -b 3 --steps 30 --schedule constant -o badc
    run 1 "$T" $base --train bad.tar -b 3 --steps 11 --schedule constant -o badp
    run 1 "$T" --resume badp --steps 30 -q
    is "named once a run" "$(grep -c 0003 err)" 0
    same_run "bad samples, in two parts" badc badp step-000030

    # kinds of bad samples, each named; of a folder whose images go away as well
    mkdir kinds
    tar xf "$tiny/pairs.tar" -C kinds
    rm -f kinds/*.json
    cp kinds/0001.png kinds/cut.png && head -c 200 kinds/0001.png >kinds/cut.png
    : >kinds/empty.png
    echo '<!DOCTYPE html>' >kinds/html.jpg
    printf 'GIF89a                ' >kinds/gif.png
    for k in cut empty html gif; do echo "a text" >kinds/$k.txt; done
    cp kinds/0001.png kinds/latin1.png && printf 'caf\351' >kinds/latin1.txt
    cp kinds/0001.png kinds/blank.png && : >kinds/blank.txt
    cp kinds/0001.png kinds/silent.png
    run 1 "$T" $base --train kinds -b 3 --steps 20 --errors errors.jsonl -o kinds1
    for k in cut empty html gif latin1 blank silent; do has "$k is reported" err "kinds/$k."; done
    is "each once" "$(lines errors.jsonl)" 7
    is "all steps were made" "$(grep -c '"loss"' kinds1/metrics.jsonl)" 20
    "$T" $base --train kinds --progress never -b 3 --cache-mb 0 --steps 100000 --schedule constant -o kinds2 >out 2>err &
    pid=$!
    begun kinds2 3
    mv kinds/0002.png elsewhere.png
    n=$(lines kinds2/metrics.jsonl)
    begun kinds2 $((n + 20))
    kill -TERM $pid
    wait $pid
    is "an image that went away is a bad sample" $? 75
    has "it is reported" err "kinds/0002.png"
    mv elsewhere.png kinds/0002.png

    # a broken source ends it before it begins
    dd if="$tiny/pairs.tar" of=cut.tar bs=512 count=9 2>/dev/null
    run 2 "$T" $base --train cut.tar -b 3 --steps 5 -o no
    has "a cut tar" err cut.tar
    gzip -c "$tiny/pairs.tar" | head -c 3000 >cut.tar.gz
    run 2 "$T" $base --train cut.tar.gz -b 3 --steps 5 -o no
    has "a cut gzip" err cut.tar.gz
    gone "nothing was begun" no

    # a loss that is too large: the weights of before are kept
    run 2 "$T" $base -b 8 --steps 10 --max-loss 1 -o much
    has "the step" err "step 1: the loss is"
    has "the batch" err "0003"
    is "what was before" "$(readlink much/last)" step-000000
    has "what switches it off" err "(0: no limit)"
    run 0 "$T" --resume much --max-loss 0 -q
    run 2 "$T" $base -b 8 --steps 50 --lr 1000 --wd 1000 --warmup 0 --max-loss 0 -o inf
    has "not finite" err "not finite"

    # no room at a checkpoint: the one before is whole, and the run goes on from it
    run 0 "$T" $base -b 3 --steps 30 --save-steps 10 -o whole
    (
        ulimit -f 1800
        "$T" $base -b 3 --steps 30 --save-steps 10 -o full >out 2>err
        echo $? >status
    )
    is "no room" "$(cat status)" 2
    is "nothing half-done" "$(find full -name '.*' ! -name . | wc -l | tr -d ' ')" 0
    run 0 "$T" --resume full -q
    same_run "room again" whole full step-000030

    # a shard that is deleted while it runs: it is open; it is missed by the run that goes on, until it is back
    cp "$tiny/pairs.tar" shard.tar
    "$T" $base --train shard.tar --train "$tiny/pairs.tar" -b 3 --cache-mb 0 --max-loss 0 --steps 100000 --schedule constant -o shard >out 2>err &
    pid=$!
    begun shard 3
    rm shard.tar
    n=$(lines shard/metrics.jsonl)
    begun shard $((n + 20))
    kill -TERM $pid
    wait $pid
    is "a deleted shard is still read" $? 75
    cksum shard/run.json shard/metrics.jsonl shard/last/* >sums
    run 2 "$T" --resume shard -q
    has "the missing shard" err shard.tar
    cksum shard/run.json shard/metrics.jsonl shard/last/* | cmp -s - sums && pass || fail "without its shard: touched"
    cp "$tiny/pairs.tar" shard.tar
    last=$(lines shard/metrics.jsonl)
    "$T" --resume shard -q &
    pid=$!
    begun shard $((last + 5))
    kill -TERM $pid
    wait $pid
    is "the shard is back" $? 75

    # data that are cut off while it runs
    cp "$tiny/pairs.tar" gone.tar
    "$T" $base --train gone.tar -b 3 --cache-mb 0 --steps 100000 --schedule constant -o gone >out 2>err &
    pid=$!
    begun gone 3
    : >gone.tar
    wait $pid
    is "data that went away" $? 2
    has "are reported" err gone.tar
    [ -f gone/last/state.safetensors ] && pass || fail "data that went away: nothing was saved"
    last=$(lines gone/metrics.jsonl)
    cp "$tiny/pairs.tar" gone.tar
    "$T" --resume gone -q &
    pid=$!
    begun gone $((last + 5))
    kill -TERM $pid
    wait $pid
    is "data that came back" $? 75
}

# a start that is far worse than chance: at step 1 the loss is 10.5, and ln 8 is 2.08
run 0 "$T" -q -m "$top/tests/data/clip/rn/openai/jit-f16.pt" --train "$tiny/pairs.tar" -b 8 --steps 2 -o far

# batches that teach little
head -n 1 "$samples/captions.tsv" | sed "s|^|$samples/|" >one.tsv
run 0 "$T" -m "$tiny/model" --train one.tsv -b 8 --steps 2 -o copies
has "copies of a pair" err "a batch has a pair up to 8 times"
has "their loss" err "stays at ln 8 = 2.0794"
has "it does" copies/metrics.jsonl '"loss": 2.0794'
run 0 "$T" -m "$tiny/model" --train "$tiny/pairs.tar" -b 1 --steps 2 -o alone
has "a batch of one" err "the loss is always 0 and nothing is learned"
run 0 "$T" -m "$tiny/model" --train "$tiny/pairs.tar" -b 20 --steps 1 -o larger
has "more than the data" err "is more than the 8 samples of the data: a batch has a pair up to 3 times"
cat one.tsv one.tsv >same.tsv
sed -i "2s|[^\t]*|$samples/castle.png|" same.tsv
run 0 "$T" -m "$tiny/model" --train same.tsv -b 2 --steps 3 -o same
is "equal captions are reported once" "$(grep -c '2 of 2 captions are equal' err)" 1
run 0 "$T" -m "$tiny/model" --train "$tiny/pairs.tar" -b 8 --steps 2 -o different
is "nothing of that" "$(grep -c 'batch' err)" 0

# a damaged checkpoint, a damaged run.json
run 0 "$T" -q -m "$tiny/model" --train "$tiny/pairs.tar" -b 8 --steps 5 --schedule constant -o dam
head -c 2000 dam/last/state.safetensors >cut
cp cut dam/last/state.safetensors
run 2 "$T" --resume dam --steps 9
has "a cut state" err state.safetensors
echo '{}' >dam/run.json
run 2 "$T" --resume dam
has "no run" err run.json

# misuse
run 2 "$T" --train "$tiny/pairs.tar" -o r
has "no length" err "how long"
run 2 "$T" --steps 3 -o r
has "no data" err "--train"
run 2 "$T" --train "$tiny/pairs.tar" --steps 3
has "no folder" err "-o RUN"
run 2 "$T" stray --train "$tiny/pairs.tar" --steps 3 -o r
has "a stray word" err stray
run 2 "$T" --train nowhere.tar --steps 3 -o r
has "no such data" err nowhere.tar
run 2 "$T" -m nowhere --train "$tiny/pairs.tar" --steps 3 -o r
run 2 "$T" -m "$tiny/model" --train "$tiny/pairs.tar" --steps 3 --hard-negatives 2 -o r
has "no negatives" err negatives
run 2 "$T" --resume nowhere
gone "nothing was begun" r
finish
