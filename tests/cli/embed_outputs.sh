#!/bin/sh
# embed_outputs.sh - npy with keys and json, jsonl, tar to tar, parts and reruns. Kills: embed_killed.sh.
. tests/cli/check.inc
E=$BIN/clip-embed
cd "$dir" || exit 2
dim=$("$E" --info | sed -n 's/.*"embed_dim": \([0-9]*\).*/\1/p')
mkdir pics
cp "$samples"/bicycle-strawberry.jpg "$samples"/c*.png "$samples"/c*.jpg "$samples"/pear.jpg "$samples"/swan-tractor.jpg pics
n=$(find pics -type f | wc -l | tr -d ' ')
(cd pics && for f in *; do
    echo "about $f" >"${f%.*}.txt"
    tar rf ../in.tar --format=ustar --mtime=@0 --owner=0 --group=0 "$f" "${f%.*}.txt"
    rm "${f%.*}.txt"
done)

# npy
run 0 "$E" pics -o v.npy
is "npy: bytes" "$(wc -c <v.npy | tr -d ' ')" $((128 + n * dim * 4))
is "keys" "$(lines v.keys)" "$n"
has "json: rows" v.json "\"rows\": $n"
has "json: type" v.json '"dtype": "<f4"'
has "json: preprocessing" v.json '"preprocessing": "openai on-white shortest 96 bicubic crop-even 96x96 '
run 0 "$E" -m "$top/tests/data/clip/small/hf-f16" pics -o hf.npy
has "json: preprocessing of a Hugging Face folder" hf.json '"preprocessing": "hf on-white shortest 32'
gone "no temporaries" .v.npy.vlk-tmp .v.keys.vlk-tmp .v.json.vlk-tmp
cp v.npy one.npy
run 0 "$E" -j1 -b1 pics -o v.npy
same "same bytes again, -j1 -b1" v.npy one.npy
run 0 "$E" --half pics -o h.npy
is "half: bytes" "$(wc -c <h.npy | tr -d ' ')" $((128 + n * dim * 2))
run 0 "$E" --raw pics -o raw.npy
has "raw: json" raw.json '"normalized": false'
if cmp -s raw.npy v.npy; then fail "raw changes nothing"; else pass; fi
VLK_GEMM=openblas "$E" -j1 pics -o b1.npy
VLK_GEMM=openblas "$E" -j2 -b64 pics -o b2.npy
same "the other backend: same bits for any batch" b1.npy b2.npy
mkdir ro
chmod 555 ro
if [ ! -w ro ]; then
    run 2 "$E" pics -o ro/x.npy
fi
run 2 "$E" pics -o nowhere/x.npy

# what becomes of transparency is in the provenance, and changes the vector
for a in auto drop white black; do run 0 "$E" pics/castle.png --alpha $a -o a-$a.npy; done
has "alpha: json" a-black.json '"alpha": "black"'
has "alpha: json, drop" a-drop.json '"alpha": "drop"'
has "alpha: nothing to say of the default" a-auto.json '"arguments": {}'
run 2 "$E" pics/castle.png --alpha grey
# no room: a limit of 8 blocks for a file
(
    ulimit -f 8
    "$E" pics -o room.npy 2>err
)
is "no room: status" $? 2
is "no room: one line" "$(lines err)" 1
gone "no room: nothing stays" room.npy room.keys room.json .room.npy.vlk-tmp .room.keys.vlk-tmp
(
    ulimit -f 8
    "$E" pics >room.tsv 2>err
)
is "no room for standard output: status" $? 2

# jsonl
run 0 "$E" pics/castle.png
first=$(cut -f 2 out)
run 0 "$E" pics/castle.png --format jsonl
has "jsonl" out "{\"key\": \"pics/castle.png\", \"embedding\": [$first, "

# tar to tar: given members byte for byte, ours after them
run 0 "$E" in.tar -o out.tar
tar tf out.tar | head -n 4 | tr '\n' ' ' >one
is "order of members" "$(cat one)" "bicycle-strawberry.jpg bicycle-strawberry.txt bicycle-strawberry.clip.npy bicycle-strawberry.clip.json "
head -c 1024 in.tar >one
head -c 1024 out.tar >two
same "the first header, byte for byte" one two
mkdir a b
tar xf in.tar -C a
tar xf out.tar -C b
rm b/*.clip.*
if diff -r a b >/dev/null; then pass; else fail "given members changed"; fi
is "an end mark and full blocks" $(($(wc -c <out.tar) % 10240)) 0
cat in.tar | "$E" - --format tar >two.tar
same "from pipe to pipe" two.tar out.tar
run 1 "$E" out.tar -o three.tar
has "a member under our name is an error of the item" err "castle.clip.npy is there already"
tar tf three.tar >one
tar tf out.tar >two
same "and the sample passes on" one two
run 0 "$E" out.tar -o four.tar --replace
same "--replace" four.tar out.tar
run 2 "$E" pics -o five.tar
gone "tar only from tar" five.tar
run 0 "$E" --pairs in.tar -o six.tar
is "pairs: members" "$(tar tf six.tar | head -n 5 | tail -n 3 | tr '\n' ' ')" "bicycle-strawberry.clip.npy bicycle-strawberry.text.npy bicycle-strawberry.clip.json "
tar xOf six.tar castle.clip.json >one
has "pairs: cosine" one '{"cosine": 0.'

# a broken sample passes on without our members; a broken tar gets no end mark
mkdir s
cp pics/castle.png s/a.png
head -c 300 pics/castle.png >s/b.png
cp pics/pear.jpg s/c.jpg
mkdir s/d
(cd s && tar cf ../s.tar --format=ustar a.png b.png d c.jpg)
run 1 "$E" s.tar -o s-out.tar
is "samples and folders pass on" "$(tar tf s-out.tar | tr '\n' ' ')" "a.png a.clip.npy a.clip.json b.png d/ c.jpg c.clip.npy c.clip.json "
head -c 15000 in.tar >cut.tar
run 2 "$E" cut.tar -o cut-out.tar
gone "no name" cut-out.tar .cut-out.tar.vlk-tmp
"$E" cut.tar --format tar 2>/dev/null >cut-pipe.tar
is "no end mark in the pipe" $(($(wc -c <cut-pipe.tar) % 10240 == 0)) 0

# parts
run 0 "$E" in.tar pics -o parts/ --rows 4
is "parts" "$(cd parts && ls *.npy | tr '\n' ' ')" "in-00000.npy in-00001.npy in-00002.npy pics-00000.npy pics-00001.npy pics-00002.npy "
cat parts/pics-0000*.keys >one
same "keys of the parts in order" one v.keys
for f in parts/pics-0000*.npy; do tail -c +129 "$f"; done >one
tail -c +129 v.npy >two
same "rows of the parts in order" one two
cp -R parts before
ls -i parts >inodes
run 0 "$E" in.tar pics -o parts --rows 4
ls -i parts >again
same "finished parts are not made again" inodes again
rm parts/in-00001.npy
run 0 "$E" in.tar pics -o parts --rows 4
if diff -r parts before >/dev/null; then pass; else fail "a missing part is made again, the same"; fi
run 2 "$E" in.tar -o parts --rows 4 --raw
has "parts of another run are refused" err "in-00000.npy is not from this run"
run 0 "$E" in.tar -o parts --rows 4 --raw --force
has "--force makes them again" parts/in-00000.json '"normalized": false'
cp pics/castle.png pics/aaa.png
run 2 "$E" pics -o parts --rows 4
has "a new item within finished parts is seen" err "was made from other items: it has no pics/aaa.png at this place"
rm pics/aaa.png
cp pics/castle.png pics/zzz.png
run 2 "$E" pics -o parts --rows 4
has "more items than before are seen" err "was made when its source had fewer items"
rm pics/zzz.png
mv pics/pear.jpg .
run 2 "$E" pics -o parts --rows 4
has "a missing item is seen" err "was made from other items"
mv pear.jpg pics
mv pics/swan-tractor.jpg .
run 2 "$E" pics -o parts --rows 4
has "a missing item at the end is seen" err "has items that its source does not have"
mv swan-tractor.jpg pics

# the rerun of a run with bad items names them again
head -c 300 pics/castle.png >pics/b1.png
: >pics/zz.jpg
run 1 "$E" pics -o p2/ --rows 3 --errors e1
run 1 "$E" pics -o p2/ --rows 3 --errors e2
same "same errors" e1 e2
is "two" "$(lines e1)" 2
rm pics/b1.png pics/zz.jpg
run 2 "$E" pics a/../pics -o p3/
has "two inputs of one name" err "two inputs would be written to"

finish
