#!/bin/sh
# embed_folders.sh - folders and files that people have: downloads of tars, files of macOS, captions in capitals; pipes
# where files should be.
. tests/cli/check.inc
. tests/cli/train.inc
E=$BIN/clip-embed R=$BIN/clip-rank
cd "$dir" || exit 2
keys() { cut -f1 out | tr '\n' ' '; }

# a download in tars, with what img2dataset leaves beside them
mkdir laion laion/sub
for n in 0 1 2; do
    cp "$samples/castle.png" ${n}a.png
    cp "$samples/pear.jpg" ${n}b.jpg
    echo "a castle" >${n}a.txt
    echo "a pear" >${n}b.txt
    tar cf laion/0000$n.tar --format=ustar ${n}a.* ${n}b.*
    echo '{"count": 2}' >laion/0000${n}_stats.json
    printf 'PAR1data' >laion/0000$n.parquet
done
mv laion/00001.tar laion/sub/
run 0 "$E" laion
is "tars in the order of their names" "$(keys)" "0a 0b 2a 2b 1a 1b "
mv out whole
run 0 "$E" laion/00000.tar laion/00002.tar laion/sub/00001.tar
same "as if they were given" out whole
run 0 "$E" --pairs laion
is "pairs" "$(lines out)" 6
run 0 "$E" laion -o all.tar
is "tar to tar" "$(tar tf all.tar | grep -c clip.npy)" 6
run 0 "$E" laion -o parts/
is "an output for each tar" "$(cd parts && echo *.npy)" "00000.npy 00001.npy 00002.npy"
run 0 "$R" --query 'a pear' -k 1 laion
echo 'not a tar' >laion/00003.tar
run 2 "$E" laion
has "a broken one is reported" err "laion/00003.tar"
is "the others are finished" "$(lines out)" 6
rm laion/00003.tar
cp 0a.png laion/x.png
run 0 "$E" laion
is "images of the folder first" "$(keys)" "laion/x.png 0a 0b 2a 2b 1a 1b "
: >laion/bad.jpg
run 1 "$E" laion
has "all that tools leave is counted" err "6 other files"

# macOS, capitals
mkdir mac
cp 0a.png mac/a.png
printf '\0\5\26\7\0\2\0\0Mac OS X' >mac/._a.png
cp 1b.jpg mac/._real.jpg
printf 'junk' >mac/._junk.jpg
run 1 "$E" mac
is "AppleDouble is not an item" "$(keys)" "mac/._real.jpg mac/a.png "
has "but counted" err "1 other file (not images)"
has "what only has such a name is one" err "mac/._junk.jpg: "
rm mac/._junk.jpg
echo 'a castle' >mac/a.TXT
echo 'a pear' >mac/._real.Txt
run 0 "$E" --pairs mac
is "captions in capitals" "$(keys)" "mac/._real.jpg mac/a.png "
# shellcheck disable=SC2086
run 0 "$T" $base --train mac -b 2 --steps 6 --errors e.jsonl -o run
is "in training, too" "$(lines e.jsonl)" 0
run 0 "$E" --pairs mac
mv mac/._real.Txt mac/._real.txT
run 1 "$E" --pairs mac
has "not in any mixture" err "no caption"

# a pipe that nobody writes is refused where a file is expected, and waited for where a stream is
mkfifo p.jpg
cp 0a.png ok.png
printf 'ok.png\tx\np.jpg\ty\nok.png\tz\n' >l.tsv
run 1 timeout -k 1 60 "$E" l.tsv
has "a row of a list" err "p.jpg: is a named pipe, expected a file"
is "the others are read" "$(lines out)" 2
printf 'ok.png\np.jpg\n/dev/zero\n' >names
run 1 timeout -k 1 60 "$E" -T names
has "a name in a list" err "p.jpg: is neither a file nor a folder"
has "a device" err "/dev/zero: is neither"
mkfifo ok.txt
run 1 timeout -k 1 60 "$E" --pairs ok.png
has "a text" err "ok.txt: is a named pipe"
mkfifo m.json
run 2 timeout -k 1 60 "$E" -m "$tiny/model/model.safetensors" --arch m.json ok.png
has "a config" err "m.json: "
run 2 timeout -k 1 60 "$E" -m p.jpg ok.png
# shellcheck disable=SC2086
run 1 timeout -k 1 100 "$T" $base --train l.tsv --train "$tiny/pairs.tar" -b 2 --steps 12 --errors e.jsonl -o run2
has "training" err "p.jpg"
mkfifo t.fifo
cat laion/00000.tar >t.fifo &
run 0 timeout -k 1 60 "$E" t.fifo
is "a tar through a named pipe" "$(keys)" "0a 0b "
cat 1b.jpg >p.jpg &
run 0 timeout -k 1 60 "$E" p.jpg
is "an image through one" "$(keys)" "p.jpg "
printf 'ok.png\n' >t.fifo &
run 0 timeout -k 1 60 "$E" -T t.fifo
is "names through one" "$(keys)" "ok.png "
wait

# SIGTERM while they wait for one
mkfifo wait.fifo
stopped() { # WHAT STATUS COMMAND...: ends by the first SIGTERM
    what=$1 want=$2
    shift 2
    "$@" >out 2>err &
    pid=$!
    sleep 1
    kill -TERM $pid
    (sleep 60 && kill -KILL $pid) 2>kill.err &
    guard=$!
    wait $pid
    is "$what" $? "$want"
    kill $guard 2>kill.err
}
for j in 1 2; do
    stopped "clip-embed -j$j" 143 "$E" -j$j wait.fifo
    stopped "clip-embed -T -j$j" 143 "$E" -j$j -T wait.fifo
done
stopped "clip-embed --text" 143 "$E" --text wait.fifo
stopped "clip-rank --labels" 143 "$R" --labels wait.fifo ok.png
stopped "clip-rank --queries" 143 "$R" --queries wait.fifo ok.png
# shellcheck disable=SC2086
stopped "itc-train" 75 "$T" $base --train wait.fifo -b 2 --steps 4 -o run3
finish
