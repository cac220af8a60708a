#!/bin/sh
# embed_inputs.sh - every form of input gives the same rows; odd names; broken images; pairs, texts, tokens, pixels.
. tests/cli/check.inc
E=$BIN/clip-embed
cd "$dir" || exit 2
mkdir pics
cp "$samples"/c*.png "$samples"/c*.jpg "$samples"/pear.jpg pics
grep -E '^(c|pear)' "$samples/captions.tsv" >pics/captions.tsv
find pics -name '*.png' -o -name '*.jpg' | sort >names
n=$(lines names)

run 0 "$E" pics
mv out folder.tsv
is "a row each" "$(lines folder.tsv)" "$n"
cut -f1 folder.tsv >keys
same "sorted by bytes" keys names

# the same rows: threads, batches, names from a list, from a pipe, NUL
for o in "-j1" "-j2" "-j5 -b3" "-b1" "-b64" "-j1 -b64"; do
    # shellcheck disable=SC2086
    run 0 "$E" $o pics
    same "same bytes: $o" out folder.tsv
done
run 0 "$E" -T names
same "-T" out folder.tsv
"$E" <names >out
same "names on standard input" out folder.tsv
tr '\n' '\0' <names | "$E" -0 - >out
same "names with NUL" out folder.tsv
"$E" pics/castle.png - <names >out
is "operands in order" "$(head -n 1 out | cut -f1)" pics/castle.png
is "and the list after it" "$(lines out)" $((n + 1))
"$E" - <pics/castle.png >out
is "one image on standard input" "$(cut -f1 out)" "-"
cut -f2- out >one
grep '^pics/castle.png' folder.tsv | cut -f2- >two
same "and its vector" one two

# a list: keys as written, paths relative to the list
run 0 "$E" pics/captions.tsv
is "a list: a row each" "$(lines out)" "$n"
is "a list: keys as written" "$(sed -n '2p' out | cut -f1)" castle.png
cut -f2- out | sort >one
cut -f2- folder.tsv | sort >two
same "a list: same vectors" one two
printf '{"image": "castle.png", "caption": ["a", "b"]}\n{"image": "pear.jpg", "caption": "c"}\n' >pics/l.jsonl
run 0 "$E" pics/l.jsonl
is "jsonl" "$(cut -f1 out | tr '\n' ' ')" "castle.png pear.jpg "
rm pics/l.jsonl

# tar, plain, gz, from standard input
(cd pics && tar cf ../t.tar --format=ustar -- *.png *.jpg)
run 0 "$E" t.tar
is "tar: keys" "$(head -n 1 out | cut -f1)" castle
cut -f2- out | sort >one
same "tar: same vectors" one two
mv out tar.tsv
gzip -k t.tar
run 0 "$E" t.tar.gz
same "tar.gz" out tar.tsv
cp t.tar.gz t.tgz
"$E" <t.tgz >out
same "tar.gz from a pipe" out tar.tsv
cat t.tar | "$E" - >out
same "tar from a pipe" out tar.tsv
cp t.tar without-suffix
run 0 "$E" without-suffix
same "tar by its bytes" out tar.tsv

# a tar that is cut is broken: its rows so far, then 2
head -c 9000 t.tar >cut.tar
run 2 "$E" cut.tar pics/castle.png
has "it is reported" err "cut.tar"
is "the others are finished" "$(tail -n 1 out | cut -f1)" pics/castle.png
size=$(wc -c <t.tar)
head -c $((size / 10240 * 10240 - 10240)) t.tar >noend.tar
run 2 "$E" noend.tar

# shards: every item in exactly one
for i in 0 1 2; do "$E" --shard $i/3 pics; done | sort >one
sort folder.tsv >two
same "three shards are the whole" one two

# broken images: skipped, counted, named; items = rows + errors
mkdir bad
cp pics/castle.png pics/pear.jpg bad
head -c 700 pics/castle.png >bad/cut.png
head -c 900 pics/pear.jpg >bad/cut.jpg
: >bad/empty.png
echo '<html>' >bad/page.jpg
ln -s nowhere bad/dangling.png
printf 'GIF89a\1\0\1\0' >bad/anim.gif
cp pics/castle.png bad/UPPER.PNG
cp pics/castle.png bad/noextension
echo 'notes' >bad/notes.txt
run 1 "$E" bad --errors e.jsonl
is "rows" "$(cut -f1 out | tr '\n' ' ')" "bad/UPPER.PNG bad/castle.png bad/noextension bad/pear.jpg "
is "errors" "$(lines e.jsonl)" 6
has "item, stage, reason" e.jsonl '{"item": "bad/cut.png", "stage": "decode", "reason": "'
has "a link that leads nowhere" e.jsonl '{"item": "bad/dangling.png", "stage": "open"'
has "other files are counted" err "1 other file"
mv out one
mv e.jsonl e1
run 1 "$E" -j1 -b1 bad --errors e.jsonl
same "same rows with -j1 -b1" out one
same "same errors with -j1 -b1" e.jsonl e1
run 0 "$E" pics/castle.png --errors e.jsonl
is "--errors is written again by each run" "$(lines e.jsonl)" 0
run 1 "$E" --max-pixels 100 pics/castle.png --errors e.jsonl
has "a limit is a stage of its own" e.jsonl '"stage": "size"'

# odd names
mkdir odd
cp pics/castle.png "$(printf 'odd/new\nline.png')"
cp pics/castle.png "$(printf 'odd/tab\there.png')"
cp pics/castle.png 'odd/back\slash.png'
cp pics/castle.png 'odd/$(echo hi);`id`.png'
cp pics/castle.png "$(printf 'odd/latin\351.png')" 2>/dev/null
run 0 "$E" odd
has "newline" out 'odd/new\nline.png'
has "tab" out 'odd/tab\there.png'
has "backslash" out 'odd/back\\slash.png'
has "shell" out 'odd/$(echo hi);`id`.png'
is "a row each" "$(lines out)" "$(find odd -name '*.png' -print0 | tr -dc '\0' | wc -c | tr -d ' ')"
find odd -name '*.png' -print0 | sort -z | "$E" -0 >one
same "by NUL names" out one
run 0 "$E" odd --format jsonl
has "json escapes" out '"odd/new\nline.png"'
printf 'odd/tab\033[31m.png\n' | "$E" 2>err
is "no raw escape on a terminal" "$(tr -dc '\033' <err | wc -c | tr -d ' ')" 0

# texts: a row for every line, an empty one too
printf 'a castle\n\nover \377 bytes\na pear' >t.txt
run 1 "$E" --text t.txt --errors e.jsonl
is "texts" "$(cut -f1 out | tr '\n' '|')" "a castle||a pear|"
has "not UTF-8" e.jsonl '"stage": "tokens"'
printf 'a castle\r\na pear\r\n' | "$E" --text | cut -f1 >one
printf 'a castle\na pear\n' >two
same "CRLF" one two
yes castle | head -n 100 | tr '\n' ' ' >long
run 0 "$E" --text long
has "a long text is counted" err "1 text cut"
run 1 "$E" --text --long-text error long
is "or refused" "$(lines out)" 0
printf 'a castle\n' | "$E" --tokens >out
is "tokens: one line" "$(lines out)" 1
is "tokens: begin and end" "$(cut -d' ' -f1 out),$(awk '{print $NF}' out)" "4094,4095"
run 0 "$E" --tokens long
is "tokens: cut to the context" "$(wc -w <out | tr -d ' ')" 32

# pairs: the caption beside the image, in the list, in the tar
run 0 "$E" --pairs pics/captions.tsv
mv out pairs.tsv
is "pairs: two fields" "$(awk -F'\t' 'NF != 2' pairs.tsv | wc -l | tr -d ' ')" 0
mkdir side
while IFS="$(printf '\t')" read -r p t; do
    cp "pics/$p" side
    printf '%s\n' "$t" >"side/${p%.*}.txt"
done <pics/captions.tsv
run 0 "$E" --pairs side
sed 's|^side/||' out >one
sort pairs.tsv >two
same "pairs: files" one two
(cd side && tar cf ../pairs.tar --format=ustar -- *)
run 0 "$E" --pairs pairs.tar
cut -f2 out >one
cut -f2 two >three
same "pairs: tar" one three
rm side/castle.txt
run 1 "$E" --pairs side --errors e.jsonl
has "no caption" e.jsonl '{"item": "side/castle.png", "stage": "caption"'
printf 'castle.png\ta castle\ncastle.png\ta tower\npear.jpg\ta pear\n' >pics/two.tsv
run 0 "$E" --pairs pics/two.tsv
is "neighbours with one path are captions of one image" "$(cut -f1 out | tr '\n' ' ')" "castle.png castle.png pear.jpg "
run 0 "$E" pics/two.tsv
is "and one row" "$(cut -f1 out | tr '\n' ' ')" "castle.png pear.jpg "

# pixels
side=$("$E" --info | sed -n 's/.*"image_size": \[\([0-9]*\),.*/\1/p')
run 0 "$E" --pixels pics -o px.npy
is "pixels: bytes" "$(wc -c <px.npy | tr -d ' ')" $((128 + n * side * side * 3))
has "pixels: json" px.json '"dtype": "|u1"'
finish
