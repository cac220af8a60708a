#!/bin/sh
# embed_manners.sh - clip-embed as a citizen of the shell: help, misuse, statuses, closed and full outputs, signals, silence.
. tests/cli/check.inc
E=$BIN/clip-embed
cd "$dir" || exit 2
cp "$samples"/castle.png "$samples"/pear.jpg "$samples"/shark.jpg .

# help, version, misuse
run 0 "$E" --help
has "help on standard output" out "Usage: clip-embed"
is "help says nothing on standard error" "$(lines err)" 0
run 0 "$E" --version
has "version names the program" out "clip-embed"
for wrong in "--bogus" "-b 0" "-j 0" "-j x" "--dtype f16" "--shard 2/2" "--shard 1" "--max-bad 101%" "--format xml" "--text --pairs" "--max-bad x"; do
    # shellcheck disable=SC2086
    run 2 "$E" $wrong castle.png
    is "misuse prints two lines: $wrong" "$(lines err)" 2
    has "misuse points to --help: $wrong" err "Try 'clip-embed --help'"
    is "misuse writes no data: $wrong" "$(lines out)" 0
done
run 2 "$E" castle.png -o x.bin
run 2 "$E" castle.png -o x.npy --format tsv
run 2 "$E" castle.png --format npy
run 2 "$E" castle.png -o x.npy --rows 5
run 2 "$E" castle.png --half
gone "misuse leaves no output" x.bin x.npy x.keys x.json

# options before and after operands, --
run 0 "$E" castle.png -b 1 pear.jpg -q
is "options after operands" "$(cut -f1 out | tr '\n' ' ')" "castle.png pear.jpg "
cp castle.png ./-rf.png
run 0 "$E" -- -rf.png
is "a name with a leading dash" "$(cut -f1 out)" "-rf.png"

# --explain says where OpenBLAS does not know the CPU
if grep -q avx2 /proc/cpuinfo 2>/dev/null; then
    run 0 env VLK_GEMM=openblas OPENBLAS_CORETYPE=Prescott "$E" --explain
    has "old kernels of OpenBLAS" out "note          OpenBLAS does not know this CPU"
fi

# silence on success, one line a bad item, a summary
run 0 "$E" castle.png pear.jpg
is "silent on success" "$(lines err)" 0
head -c 300 castle.png >cut.png
run 1 "$E" castle.png cut.png
is "two lines" "$(lines err)" 2
has "the bad item is reported" err "cut.png: PNG: "
has "the summary" err "1 of 2 items done, 1 skipped"
run 1 "$E" -q castle.png cut.png
is "-q leaves the summary out" "$(lines err)" 1

# a text is a name, too: whole in --errors, not on the screen
{ head -c 100000 /dev/zero | tr '\0' x && printf '\377\n'; } >long.txt
run 1 "$E" --text --errors long.jsonl long.txt
is "a long name is cut" "$(($(wc -c <err) < 2000))" 1
is "but not in the list of errors" "$(($(wc -c <long.jsonl) > 100000))" 1

# no input, empty input
run 0 "$E" </dev/null
is "empty standard input: no rows" "$(lines out)" 0
mkdir empty
run 0 "$E" empty
is "an empty folder: no rows" "$(lines out)" 0
run 0 "$E" empty -o empty.npy
is "an empty folder: no keys" "$(lines empty.keys)" 0
has "an empty folder: rows" empty.json '"rows": 0'
echo notes >empty/notes.md
run 0 "$E" empty
has "a folder of other things is not passed over in silence" err "no image among 1 files"
rm empty/notes.md
if [ "$(id -u)" -ne 0 ]; then
    chmod 000 empty
    run 2 "$E" empty
    has "a folder that cannot be read is reported once" err "clip-embed: empty: cannot read the folder: Permission denied"
    chmod 700 empty
fi
ln -s . empty/again
run 1 "$E" empty
has "a folder that leads back is reported once" err "clip-embed: empty/again: is a loop: it leads back to a folder"
rm empty/again
run 0 "$E" --text </dev/null
is "no text: no rows" "$(lines out)" 0

# missing and broken sources: the others are finished, then 2
run 2 "$E" nothing.png castle.png nothing/ pear.jpg
has "an image that does not exist" err "nothing.png: No such file or directory"
has "a folder that does not exist" err "nothing/: No such file or directory"
is "the others are finished" "$(cut -f1 out | tr '\n' ' ')" "castle.png pear.jpg "
run 2 "$E" castle.png nothing -o n.npy
gone "no output without all operands" n.npy
printf 'castle.png\nnothing.png\n' >listed
run 1 "$E" -T listed --errors e.jsonl
has "in a list it is an item" e.jsonl '{"item": "nothing.png", "stage": "open"'
run 2 "$E" castle.png nothing.tar pear.jpg
is "the others are finished" "$(lines out)" 2
has "the source is reported" err "nothing.tar: No such file or directory"
run 2 "$E" nothing.tsv castle.png
run 2 "$E" -T nothing.txt
run 2 "$E" --text nothing.txt
run 2 "$E" castle.png nothing.tar -o r.npy
gone "no name for what is not whole" r.npy r.keys r.json .r.npy.vlk-tmp .r.keys.vlk-tmp

# --max-bad
run 2 "$E" --max-bad 0 castle.png cut.png
run 1 "$E" --max-bad 1 castle.png cut.png
run 1 "$E" --max-bad 50% castle.png cut.png
run 2 "$E" --max-bad 49.9% castle.png cut.png -o b.npy
gone "too many bad: no name" b.npy

# standard output: full, closed, a closed pipe
if [ -w /dev/full ]; then
    "$E" castle.png >/dev/full 2>err
    is "a full disk: status" $? 2
    is "a full disk: one line" "$(lines err)" 1
    "$E" --help >/dev/full 2>err
    is "help to a full disk" $? 2
fi
"$E" castle.png >&- 2>err
is "closed standard output: status" $? 2
"$E" castle.png <&- >out 2>err
is "closed standard input does not matter" $? 0
"$E" castle.png 2>&- >out
is "closed standard error does not matter" $? 0
mkdir many
i=0
while [ $i -lt 60 ]; do
    cp castle.png many/$i.png
    i=$((i + 1))
done
{
    "$E" -b1 many 2>err
    echo $? >status
} | head -n 1 >out
is "a closed pipe: SIGPIPE" "$(cat status)" 141
is "a closed pipe: no message" "$(lines err)" 0

# a signal: the batch is finished, 128 + signal, no name for the output
mkfifo names
exec 9<>names
"$E" -T names -o s.npy 9>&- 2>err &
pid=$!
echo castle.png >&9
wait_until "SIGTERM: the output is begun" [ -e .s.npy.vlk-tmp ]
kill -TERM $pid
wait $pid
is "SIGTERM: status" $? 143
exec 9>&-
has "SIGTERM: it says so, and what is left" err "clip-embed: stopped by SIGTERM after "
has "SIGTERM: what is left" err "; s.npy was not written"
gone "SIGTERM: no name" s.npy s.keys s.json .s.npy.vlk-tmp .s.keys.vlk-tmp

# what trickles in is answered while the input is still open
rm -f out
exec 9<>names
"$E" -T names 9>&- >out 2>err &
pid=$!
echo castle.png >&9
wait_until "a row is written" [ -s out ]
is "a row before the end of the input" "$(lines out)" 1
exec 9>&-
wait $pid
is "and a clean end" $? 0
head -c 300 castle.png >broken.png
run 2 "$E" castle.png broken.png --max-bad 0 -o bad.npy
has "no item is done where nothing was written" err "clip-embed: failed after 1 of 2 items, 1 skipped; bad.npy was not written"
run 2 "$E" castle.png -m
has "a missing argument" err "option '-m' needs an argument"
run 2 "$E" castle.png -m ''
has "an empty argument" err "--model: the MODEL is empty"
run 2 "$E" castle.png ''
has "an empty name" err 'clip-embed: "": '
finish
