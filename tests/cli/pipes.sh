#!/bin/sh
# pipes.sh - what every program does with descriptors that are closed or full, a reader that goes away, no input, one
# item at a time, and a tar on standard input that is cut. More of clip-embed: embed_manners.sh.
. tests/cli/check.inc
. tests/cli/train.inc
E=$BIN/clip-embed R=$BIN/clip-rank
cd "$dir" || exit 2
mkdir samples # eight are enough, and all are read often
grep -E '^(castle|cherries|cookie|dolphin|giraffe|pear|shark|sloth)\.' "$samples/captions.tsv" >samples/captions.tsv
cp "$samples/labels.txt" samples
cut -f 1 samples/captions.tsv | while read -r f; do cp "$samples/$f" samples; done
tar cf in.tar --format=ustar -C samples castle.png pear.jpg shark.jpg giraffe.png
head -c $(($(wc -c <in.tar) * 2 / 3)) in.tar >cut.tar
mkdir empty many
i=0
while [ $i -lt 60 ]; do
    ln -s ../samples/castle.png many/$i.png
    i=$((i + 1))
done

# a reader that goes away: SIGPIPE, no message
# first STATUS COMMAND...: into head -n 1
first() {
    want=$1
    shift
    {
        "$@" 2>err
        echo $? >status
    } | head -n 1 >out
    is "a closed pipe, status: $*" "$(cat status)" "$want"
    is "a closed pipe, its line: $*" "$(lines out)" 1
    is "a closed pipe, no message: $*" "$(lines err)" 0
}
# (more than a pipe holds, so that none can end before its reader is gone)
yes 'a castle' | head -n 20000 >texts
i=0
while [ $i -lt 100 ]; do
    echo "a castle with $i towers"
    i=$((i + 1))
done >many-labels
first 141 "$E" --text texts
first 141 "$E" --tokens texts
first 141 "$R" -b 1 --labels many-labels -k 100 many
first 141 "$R" --queries texts -k 60 many
first 0 "$R" --recall samples/captions.tsv
first 0 "$T" --info

# standard output that is full or closed: status 2 and one line; closed ones that are not needed do not matter
for c in "$E samples/pear.jpg" "$E --text samples/labels.txt" "$E in.tar --format tar" "$E --info" "$R --query x samples" \
    "$R --labels samples/labels.txt samples" "$R --recall samples/captions.tsv" "$R --info" "$T --info" "$T --help" \
    "$T $base -b 4 --steps 2 --explain"; do
    # shellcheck disable=SC2086
    if [ -w /dev/full ]; then
        $c >/dev/full 2>err
        is "full: ${c#"$BIN"/}" "$? $(lines err)" "2 1"
    fi
    # shellcheck disable=SC2086
    $c >&- 2>err
    is "closed: ${c#"$BIN"/}" "$? $(lines err)" "2 1"
done
# shellcheck disable=SC2086
for c in "$E samples/pear.jpg -o o.npy" "$R --query x samples -o o.tsv" "$T $base -b 4 --steps 2 -o r1"; do
    rm -rf r1
    $c <&- >&- 2>&-
    is "all closed: ${c#"$BIN"/}" $? 0
done
"$E" <&- >out 2>err
is "closed input: clip-embed" "$? $(cat out)" "2 "
"$R" --query x <&- >out 2>err
is "closed input: clip-rank" "$? $(cat out)" "2 "
has "it is reported" err "standard input"

# no input
for c in "$E" "$E --text" "$E --pairs" "$R --query x" "$R --labels samples/labels.txt" "$R --recall"; do
    note= # a search says that it was in vain
    case $c in
    *--recall) note="clip-rank: nothing was measured: there is no pair" ;;
    "$R"*) note="clip-rank: nothing was searched: the corpus has no row" ;;
    esac
    # shellcheck disable=SC2086
    $c </dev/null >out 2>err
    is "empty input: ${c#"$BIN"/}" "$? $(cat out err)" "0 $note"
    [ "$c" = "$E --text" ] && continue
    # shellcheck disable=SC2086
    run 0 $c empty
    is "an empty folder: ${c#"$BIN"/}" "$(cat out err)" "$note"
done
# shellcheck disable=SC2086
run 2 "$T" -q -m "$tiny/model" --train empty -b 1 --steps 1 -o e
has "nothing to learn from" err "--train empty: holds no samples"
# shellcheck disable=SC2086
run 2 "$T" $base --val empty -b 1 --steps 1 -o e
has "nothing to measure on" err "--val empty: holds no samples"
gone "no run was begun" e

# one item at a time
for c in "$E samples" "$E --pairs samples/captions.tsv" "$R --query pear samples" "$R --labels samples/labels.txt samples" \
    "$R --recall samples/captions.tsv"; do
    # shellcheck disable=SC2086
    run 0 $c -b 7
    mv out seven
    # shellcheck disable=SC2086
    run 0 $c -b 1
    same "one at a time: ${c#"$BIN"/}" out seven
done
# shellcheck disable=SC2086
run 0 "$T" $base -b 1 --steps 3 -o one
is "a batch of one has nothing to tell apart" "$(grep -c '"loss": 0, .*"grad_norm": 0,' one/metrics.jsonl)" 3

# a tar that is cut, from a pipe: named once, what came before it is done, status 2
for c in "$E" "$E --format tar" "$R --query pear" "$R --labels samples/labels.txt"; do
    # shellcheck disable=SC2086
    cat cut.tar | $c >out 2>err
    is "cut: ${c#"$BIN"/}" "$? $(grep -c 'tar is truncated' err)" "2 1"
    has "cut: before it: ${c#"$BIN"/}" out castle
done
for c in "$E --pairs" "$R --recall"; do
    # shellcheck disable=SC2086
    head -c 6000 "$tiny/pairs.tar" | $c >out 2>err
    is "cut: ${c#"$BIN"/}" "$? $(grep -c 'tar is truncated' err)" "2 1"
done
head -c 6000 "$tiny/pairs.tar" >pairs.tar
# shellcheck disable=SC2086
{
    run 2 "$T" -q -m "$tiny/model" --train pairs.tar -b 1 --steps 1 -o e
    has "cut: itc-train" err "pairs.tar: tar is truncated"
    run 2 "$T" $base --val pairs.tar -b 1 --steps 1 -o e
    has "cut: --val" err "pairs.tar: tar is truncated"
    "$T" -q -m "$tiny/model" --train - -b 1 --steps 1 -o e <pairs.tar >out 2>err
    is "training data are read again and again" "$? $(grep -c 'cannot come from standard input' err)" "2 1"
}
gone "no run was begun from a cut tar" e
finish
