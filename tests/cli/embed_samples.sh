#!/bin/sh
# embed_samples.sh - what a sample has beyond its first image and caption: every member is a row or a named error.
. tests/cli/check.inc
. tests/cli/train.inc
E=$BIN/clip-embed
cd "$dir" || exit 2
names() { sed 's/.*"item": "\([^"]*\)".*"stage": "\([a-z]*\)".*/\1 \2/' e.jsonl | tr '\n' ' '; }

cp "$samples/castle.png" 22.05.png
cp "$samples/circus-tent.png" 22.06.png
cp "$samples/pear.jpg" IMG_1.jpg
cp 22.05.png IMG_1.png
cp 22.06.png IMG_1.dat
cp 22.05.png one.png
echo 'a castle' >one.txt
echo 'a tower' >two.txt
echo '{"label": "castle"}' >one.json
tar cf dots.tar --format=ustar 22.05.png 22.06.png IMG_1.dat IMG_1.jpg IMG_1.png one.png one.txt one.json
run 1 "$E" dots.tar --errors e.jsonl
is "a row for each sample" "$(cut -f1 out | tr '\n' ' ')" "22 IMG_1 one "
is "every other image is reported" "$(names)" "22.06.png image IMG_1.dat image IMG_1.png image "
has "with the one that is used" e.jsonl '"reason": "skipped: its sample already has the image IMG_1.jpg"'
has "items in = items out + errors" err "3 of 6 items done, 3 skipped"
cp e.jsonl e1
for i in 0 1 2; do "$E" --shard $i/3 dots.tar --errors e.$i >out.$i 2>/dev/null; done
sort e.0 e.1 e.2 >two
sort e1 >three
same "three shards name each once" two three
run 1 "$E" dots.tar -o with.tar --errors e.jsonl
is "a tar keeps all members" "$(tar tf with.tar | grep -vc clip)" 8
is "and adds one vector for each sample" "$(tar tf with.tar | grep -c 'clip.npy')" 3
run 1 "$E" dots.tar -o parts/ --rows 2 --errors e.jsonl
cp e.jsonl e1
run 1 "$E" dots.tar -o parts/ --rows 2 --errors e.jsonl
is "a rerun over finished parts" "$(lines parts/dots-00000.keys) $(lines parts/dots-00001.keys)" "2 1"
same "names the same" e.jsonl e1

# a name twice, also of a caption
tar cf twice.tar --format=ustar one.png one.txt
tar rf twice.tar --format=ustar --transform='s/22.06/one/;s/two/one/' 22.06.png two.txt
run 1 "$E" twice.tar --errors e.jsonl
is "an image twice" "$(names)" "one.png image "
has "says so" e.jsonl "a second member of this name"
run 1 "$E" --pairs twice.tar --errors e.jsonl
is "and a caption twice" "$(names)" "one.png image one.txt caption "
is "the first caption is used" "$(lines out)" 1
tar cf again.tar --format=ustar one.png one.json one.json
run 0 "$E" again.tar
printf '{"captions": ["a"]}' >one.json
tar cf again.tar --format=ustar one.png one.json one.json
run 1 "$E" --pairs --captions again.tar --errors e.jsonl
is "a list twice" "$(names)" "one.json caption "

# training
tar xf "$tiny/pairs.tar"
tar cf train.tar --format=ustar 000?.*
cp 0001.png 0003.b.png
tar cf train.tar --format=ustar 0001.* 0002.* 0003.png 0003.b.png 0003.txt 0004.* 0004.txt 0005.*
# shellcheck disable=SC2086
run 1 "$T" $base --train train.tar -b 2 --steps 12 --errors e.jsonl -o run
is "training" "$(sed 's/.*"item": "\([^"]*\)".*/\1/' e.jsonl | sort | tr '\n' ' ')" "0003.b.png 0004.txt "
finish
