#!/bin/sh
# embed_killed.sh - clip-embed is ended by kill -9, for one file and for parts: the same command again gives the same
# bytes, does not make finished parts again and leaves no temporary file.
#
# No step depends on the speed of the machine: input comes through a named pipe that this script holds open, so that a
# run cannot end before it is killed, and what is waited for is a file, not a time.
. tests/cli/check.inc
E=$BIN/clip-embed
cd "$dir" || exit 2
i=0
mkdir big
while [ $i -lt 140 ]; do
    cp "$samples/castle.png" "big/$(printf '%03d' $i).png"
    i=$((i + 1))
done
find big -name '*.png' | sort | head -n 60 >names
(cd big && tar cf ../big.tar --format=ustar -- *)
mkfifo feed
pid=

# start PIPE COMMAND...: in the background, without our end of the pipe, which is descriptor 9
start() {
    exec 9<>"$1"
    shift
    "$@" 9>&- >log 2>&1 &
    pid=$!
}
# end_by_kill: status 137, since the run cannot have ended by itself
end_by_kill() {
    kill -9 $pid
    wait $pid 2>>log
    is "killed in its course" $? 137
    exec 9>&-
}

# One file. The files of a run that was killed: none, or all three and whole.
run 0 "$E" -T names -o whole.npy
none_or_whole() { # WHAT
    [ -e k.npy ] || return 0 # the matrix comes last
    for f in npy keys json; do same "$1: k.$f" k.$f whole.$f; done
}
for n in 1 8 16 24 32 40 50 60; do
    start feed "$E" -T feed -o k.npy
    head -n $n names >&9
    wait_until "a file is begun" [ -e .k.npy.vlk-tmp ]
    sleep 0.0$((n % 7))
    end_by_kill
    gone "killed after $n of 60 names" k.npy
done
# The last moments, when files get their names: it may have ended by then.
for t in 0 0.005 0.01 0.02 0.04 0.08 0.16; do
    start feed "$E" -T feed -o k.npy
    cat names >&9
    wait_until "a file is begun" [ -e .k.npy.vlk-tmp ]
    exec 9>&-
    sleep $t
    kill -9 $pid 2>>log
    wait $pid 2>>log
    none_or_whole "killed $t s after the last name"
    rm -f k.npy k.keys k.json
done
run 0 "$E" -T names -o k.npy
for f in npy keys json; do same "one file" k.$f whole.$f; done

# Parts of a tar that comes through the pipe, killed in each of them. Inodes of finished parts are noted: they are to stay.
run 0 "$E" -b 4 big.tar -o k0/ --rows 40
is "parts" "$(find k0 -name '*.npy' | wc -l | tr -d ' ')" 4
mkdir fed
mkfifo fed/big.tar
: >seen
note() { (cd k1 2>/dev/null && ls -i -- *.npy) 2>/dev/null | sort -u - seen >now && mv now seen; }
size=$(wc -c <big.tar)
sample=$((size / 140))
finished() { [ "$(find k1 -name '*.npy' ! -name '.*' | wc -l)" -ge "$1" ]; }
for n in 36 39 60 72 100 128; do # samples that are given
    start fed/big.tar "$E" -b 4 fed/big.tar -o k1/ --rows 40
    timeout 120 head -c $((n * sample)) big.tar >&9 # more than a pipe holds: a run that does not read is an error
    wait_until "part $((n / 40)) is begun" [ -e "k1/.big-0000$((n / 40)).npy.vlk-tmp" ]
    wait_until "$((n / 40)) parts are finished" finished $((n / 40))
    sleep 0.0$((n % 7))
    end_by_kill
    note
done
is "parts that were finished by runs that were killed" "$(lines seen)" 3
rm fed/big.tar
run 0 "$E" -b 4 big.tar -o k1/ --rows 40
sed -i 's/"sources_sha256": "[0-9a-f]*", //' k0/*.json k1/*.json # a pipe has no size to be known by
if diff -r k0 k1 >diffs; then pass; else fail "parts: $(head -n 3 diffs)"; fi
note
is "each part was made once" "$(lines seen)" 4
is "no temporary file" "$(find . -name '.*vlk*' | wc -l | tr -d ' ')" 0
finish
