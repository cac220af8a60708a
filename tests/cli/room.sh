#!/bin/sh
# room.sh - a disk that is full: a file system of 64 kB where we may mount one, else a limit on the size of files. The
# program says so in one line, ends with status 2 and leaves nothing half-done; with room again the same command ends in
# the bytes of a run that always had room. The first line of the output says which of the two ran.
. tests/cli/check.inc
. tests/cli/train.inc
E=$BIN/clip-embed R=$BIN/clip-rank
cd "$dir" || exit 2
mkdir disk pics
trap 'umount "$dir/disk" 2>/dev/null; rm -rf "$dir"' EXIT
if [ "$(id -u)" -eq 0 ] && mount -t tmpfs -o size=64k vlkit-test disk 2>/dev/null; then
    kind=disk
    echo "# a file system of 64 kB"
    little() { "$@"; }
    again() { mount -o remount,size=64m disk; }
    never() { rm -rf disk/* && mount -o remount,size=64k disk; }
else
    kind=limit
    echo "# no file system can be mounted here: files of 16 kB at the most"
    little() (
        ulimit -f 32
        "$@"
    )
    again() { :; }
    never() { rm -rf disk/*; }
fi
i=0
while [ $i -lt 100 ]; do
    cp "$samples/castle.png" pics/$i.png
    echo "pics/$i.png is not here" | tr ' ' _ >>names
    i=$((i + 1))
done
for _ in 1 2 3 4 5 6 7 8 9 10; do cat names; done >many
ls -A disk >nothing

# full STATUS WHAT COMMAND...: no room; one line that says so, nothing stays
full() {
    want=$1 what=$2
    shift 2
    little "$@" >out 2>err
    is "$what: status" $? "$want"
    if grep -qE 'No space left on device|File too large' err; then pass; else fail "$what: $(head -n 3 err)"; fi
    is "$what: nothing stays" "$(ls -A disk)" "$(cat nothing)"
}

for form in npy tsv jsonl; do full 2 "clip-embed $form" "$E" pics -o disk/x.$form; done
is "one line" "$(lines err)" 1
full 2 "texts" "$E" --text many -o disk/t.npy
(cd pics && tar cf ../in.tar --format=ustar -- *)
full 2 "tar" "$E" in.tar -o disk/out.tar
full 2 "clip-rank" "$R" --queries many -k 100000 pics -o disk/r.tsv
full 2 "a contact sheet" "$R" --query castle -k 40 pics --sheet disk/sheet.png
full 2 "the list of errors" "$E" -T many --errors disk/e.jsonl

# an old file stays
run 0 "$E" pics/0.png -o disk/old.npy
cp disk/old.npy disk/old.keys disk/old.json .
little "$E" pics -o disk/old.npy >out 2>err
is "over an old file: status" $? 2
for f in old.npy old.keys old.json; do same "the old file" disk/$f $f; done
rm disk/old.*

# parts: finished ones are whole, and are not made again
rows=50
[ $kind = disk ] || rows=100
run 0 "$E" pics -o parts/ --rows $rows
little "$E" pics -o disk/parts/ --rows $rows >out 2>err
is "parts: status" $? 2
is "parts: no temporary file" "$(find disk -name '.*vlk*' | wc -l | tr -d ' ')" 0
for f in disk/parts/*.npy; do
    [ -e "$f" ] || continue
    same "a finished part is whole" "$f" "parts/${f##*/}"
done
ls -i disk/parts/*.npy >before 2>/dev/null
[ $kind = limit ] || [ -s before ] && pass || fail "parts: none was finished"
again
run 0 "$E" pics -o disk/parts/ --rows $rows
if diff -r parts disk/parts >diffs; then pass; else fail "parts: $(head -n 3 diffs)"; fi
ls -i disk/parts/*.npy >after
is "parts: made once" "$(sort before after | uniq -d | wc -l | tr -d ' ')" "$(lines before)"
never

# training: no room for the first checkpoint; it goes on when there is
# shellcheck disable=SC2086
{
    run 0 "$T" $base -b 3 --steps 12 -o whole
    little "$T" $base -b 3 --steps 12 -o disk/run >out 2>err
    is "itc-train: status" $? 2
    is "itc-train: nothing half-done" "$(find disk/run -name '.*' | wc -l | tr -d ' ')" 0
    again
    run 0 "$T" $base -b 3 --steps 12 -o disk/run
    same_run "itc-train: room again" whole disk/run step-000012
}
never
run 0 "$T" --plot whole -o whole.svg
little "$T" --export whole/last -o disk/model >out 2>err
is "--export: status" $? 2
gone "--export: no weights" disk/model/model.safetensors
finish
