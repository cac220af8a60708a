#!/bin/sh
# map_shrinks.sh - a mapped file is truncated while a program runs: status 2, a message that names it, no temporaries.
#
# No step depends on the speed of the machine: programs wait for input from a pipe that this script holds open, and are
# known to have mapped the file from /proc.
. tests/cli/check.inc
E=$BIN/clip-embed
R=$BIN/clip-rank
cd "$dir" || exit 2
if [ ! -r /proc/self/maps ]; then
    echo "skipped: no /proc"
    finish
fi
mkfifo feed
cp -R "$top/share/clip-emoji-6m" model
chmod -R u+w model

# start FILE COMMAND...: in the background, reading names from the pipe "feed"; waits until FILE is mapped and the pipe
# is open at the other end
start() {
    file=$1
    shift
    exec 9<>feed
    "$@" 9>&- >out 2>err &
    pid=$!
    wait_until "$file is mapped" grep -q "/$file\$" /proc/$pid/maps
    wait_until "the pipe is open" reads_feed
}
reads_feed() { ls -l /proc/$pid/fd 2>>log | grep -q "/feed\$"; }
# ended STATUS: the pipe is closed and the program waited for
ended() {
    exec 9>&-
    wait $pid
    is "status" $? "$1"
}

start model.safetensors "$E" -m model -T feed -o out.npy
wait_until "the output is begun" [ -e .out.npy.vlk-tmp ]
truncate -s 100000 model/model.safetensors
echo "$samples/pear.jpg" >&9
ended 2
has "weights" err "clip-embed: $(pwd -P)/model/model.safetensors: became shorter while it was read"
is "one line" "$(lines err)" 1
gone "weights" out.npy .out.npy.vlk-tmp out.keys .out.keys.vlk-tmp out.json .out.json.vlk-tmp

# the parts of a folder: those that are finished stay
cp "$top/share/clip-emoji-6m/model.safetensors" model/model.safetensors
cp "$samples/pear.jpg" 'a
b.jpg'
start model.safetensors "$E" -m model -T feed -b 1 --rows 1 -o parts/
echo "$samples/pear.jpg" >&9
echo "$samples/castle.png" >&9
wait_until "a part is finished" sh -c 'ls parts/*.json >/dev/null 2>&1'
truncate -s 100000 model/model.safetensors
echo "$samples/pear.jpg" >&9
ended 2
has "parts" err "model.safetensors: became shorter while it was read"
is "no temporaries of parts" "$(find parts -name '.*.vlk-tmp')" ""

# a matrix, whose name is not printed as it is
run 0 "$E" "$samples" -o vectors.npy
mkdir 'a
b'
mv vectors.* 'a
b'
start vectors.keys "$R" --queries feed 'a
b/vectors.npy' -o ranks.tsv
truncate -s 100 'a
b/vectors.npy'
echo "a pear" >&9
ended 2
has "a matrix" err 'b/vectors.npy: became shorter while it was read'
is "one line" "$(lines err)" 1
gone "a matrix" ranks.tsv .ranks.tsv.vlk-tmp

# a signal that somebody sent is none of this
start model.safetensors "$E" -m "$top/share/clip-emoji-6m" -T feed -o out.npy
kill -BUS $pid
ended 135
finish
