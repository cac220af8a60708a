#!/bin/sh
# embed_lists.sh - lists of names, texts and rows: names that end in NUL, and the places of bad rows.
. tests/cli/check.inc
E=$BIN/clip-embed R=$BIN/clip-rank
cd "$dir" || exit 2
cp "$samples/castle.png" a.png
cp "$samples/pear.jpg" b.jpg

# NUL between names or texts without -0: refused, with the option
printf 'a.png\0b.jpg\0' >names0
nul='names that end in NUL need -0 (--null)'
run 2 "$E" -T names0
has "-T" err "names0: line 1 contains a NUL: $nul"
is "-T: no row" "$(lines out)" 0
"$E" <names0 >out 2>err
is "a list on standard input: status" $? 2
has "a list on standard input" err "$nul"
run 0 "$E" -0 -T names0
is "with -0" "$(cut -f1 out | tr '\n' ' ')" "a.png b.jpg "
yes 'a.png' | head -n 300000 | tr '\n' '\0' >long0
run 2 "$E" -T long0
has "more than a line may hold" err "$nul"
printf 'a.png\nb.jpg\0a.png\0' >mixed
run 2 "$E" -T mixed
has "after good names" err "line 2 contains a NUL"
printf 'one\0two\0' >texts0
run 1 "$E" --text texts0 --errors e.jsonl
has "texts" e.jsonl '{"item": "texts0:1", "stage": "list", "reason": "line 1 contains a NUL: texts that end in NUL'
run 0 "$E" --text -0 texts0
is "texts with -0" "$(lines out)" 2
run 2 "$R" --labels texts0 a.png
has "labels" err "texts0: line 1 contains a NUL"
run 2 "$R" --queries texts0 a.png
has "queries" err "texts0: line 1 contains a NUL"
run 2 "$R" --query x -T names0
has "clip-rank -T" err "$nul"
run 0 "$E" a.png b.jpg -o x.npy
cp names0 x.keys
run 2 "$R" --query x x.npy
has "X.keys" err "has 1 keys"

# bad rows: the line where each begins, whatever came before
printf 'image,caption\na.png,x\n"b.jpg",y\n\nno\na.png,"z\nz",z\n' >k.csv
run 1 "$E" --pairs k.csv --errors e.jsonl
is "csv" "$(sed 's/.*"item": "\([^"]*\)".*/\1/' e.jsonl | tr '\n' ' ')" "k.csv:5 k.csv:6 "
has "and in the sentence" e.jsonl "k.csv: line 6: "
printf '[{"image": 1}, {"image": "a.png", "caption": "x"}, 7]' >k.json
run 1 "$E" --pairs k.json --errors e.jsonl
is "json: its number" "$(sed 's/.*"item": "\([^"]*\)".*/\1/' e.jsonl | tr '\n' ' ')" "k.json:1 k.json:3 "
for i in 0 1 2; do "$E" --pairs --shard $i/3 k.csv --errors e.$i >out.$i 2>/dev/null; done
cat e.0 e.1 e.2 | sort >shards
run 1 "$E" --pairs k.csv --errors e.jsonl
sort e.jsonl >whole
same "three shards have each bad row once" shards whole
finish
