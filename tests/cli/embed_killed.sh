#!/bin/sh
# embed_killed.sh - kill -9 at ten moments of a run, for one file and for parts: the rerun gives the same bytes, does not
# make finished parts again, and leaves no temporary file behind.
. tests/cli/check.inc
E=$BIN/clip-embed
cd "$dir" || exit 2
mkdir big
i=0
while [ $i -lt 350 ]; do
    ln -s "$samples/castle.png" "big/$i.png"
    i=$((i + 1))
done
find big -name '*.png' | sort | head -n 150 >names

# part_of T: so many thousandths of the time that one file takes, as seconds
start=$(date +%s%N)
run 0 "$E" -T names -o whole.npy
took=$((($(date +%s%N) - start) / 1000000))
part_of() { awk -v t="$1" -v ms=$took 'BEGIN { printf "%.3f", t * ms / 1e6 }'; }

# --foreground: timeout kills the program alone, and waits for it. A machine that became faster since then has done all before its time is up: the next try comes earlier.
killed=0
for t in 50 130 220 310 400 490 580 670 760 850; do
    for _ in 1 2 3 4 5 6 7 8; do
        timeout --foreground -s KILL "$(part_of $t)" "$E" -T names -o k.npy >log 2>&1
        status=$?
        for f in k.npy k.keys k.json; do # the matrix comes last
            [ ! -e k.npy ] || cmp -s $f whole.${f#k.} || fail "after $t thousandths: k.npy is there without its $f"
        done
        rm -f k.npy k.keys k.json
        [ $status -eq 137 ] && killed=$((killed + 1)) && break
        took=$((took * 3 / 4))
    done
done
[ $killed -ge 8 ] && pass || fail "only $killed of 10 runs were killed in their course"
run 0 "$E" -T names -o k.npy
for f in npy keys json; do same "one file" k.$f whole.$f; done

# Parts: in their first one, then shortly after one more was finished. Its inode, as it was first seen, is to stay.
run 0 "$E" big -o k0/ --rows 100
is "parts" "$(find k0 -name '*.npy' | wc -l | tr -d ' ')" 4
: >seen
note() { (cd k1 2>/dev/null && ls -i -- *.npy) 2>/dev/null | sort -u - seen >now && mv now seen; }
# kill_after PARTS SECONDS
kill_after() {
    "$E" big -o k1/ --rows 100 >log 2>&1 &
    pid=$!
    n=0
    while [ "$(find k1 -name '*.npy' 2>/dev/null | wc -l)" -lt "$1" ] && [ $n -lt 3000 ]; do
        sleep 0.01
        n=$((n + 1))
    done
    sleep "$2"
    kill -9 $pid 2>log
    wait $pid 2>log
    [ $? -eq 137 ] && killed=$((killed + 1))
    note
}
killed=0
for t in 20 100 200 300; do kill_after 0 "$(part_of $t)"; done
for t in 0 100 300; do kill_after 1 "$(part_of $t)"; done
for t in 0 100 300; do kill_after 2 "$(part_of $t)"; done
[ $killed -ge 5 ] && pass || fail "only $killed of 10 runs were killed in their course"
[ "$(lines seen)" -ge 2 ] && pass || fail "no part was finished by a run that was killed"
run 0 "$E" big -o k1/ --rows 100
if diff -r k0 k1 >diffs; then pass; else fail "parts: $(head -n 3 diffs)"; fi
note
is "each part was made once" "$(lines seen)" 4
is "no temporary file" "$(find . -name '.*vlk*' | wc -l | tr -d ' ')" 0
finish
