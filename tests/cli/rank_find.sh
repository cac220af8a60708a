#!/bin/sh
# rank_find.sh - clip-rank --query, --queries, --like over files of vectors and over images.
. tests/cli/rank.inc

# Order, ties, several files, rows of any length: the query is (1,0).
npy "$dir/q.npy" 1 2 "$one$zero"
npy "$dir/a.npy" 4 2 "$zero$one$three$four$one$zero$three$four"
npy "$dir/b.npy" 2 2 "$half$zero$minus$zero"
printf 'north\nlong\\tone\neast\nlong\n' >"$dir/a.keys"
run 0 "$rank" --queries "$dir/q.npy" "$dir/a.npy" "$dir/b.npy"
is "ranks over two files, ties by place, scaled rows" "$(cat "$dir/out")" "0${tab}1${tab}1${tab}east
0${tab}2${tab}1${tab}$dir/b.npy:0
0${tab}3${tab}0.600000024${tab}long\\tone
0${tab}4${tab}0.600000024${tab}long
0${tab}5${tab}0${tab}north
0${tab}6${tab}-1${tab}$dir/b.npy:1"
run 0 "$rank" --queries "$dir/q.npy" "$dir/b.npy" "$dir/a.npy" -k 1
is "the first of equals is that of the first file" "$(cut -f 4 "$dir/out")" "$dir/b.npy:0"
run 0 "$rank" --queries "$dir/q.npy" "$dir/a.npy" -k 2 --format jsonl
is "jsonl" "$(sed -n 2p "$dir/out")" '{"query": "0", "rank": 2, "score": 0.600000024, "key": "long\tone"}'

# --min is a filter with grep's status.
run 0 "$rank" --queries "$dir/q.npy" --min 0.6 "$dir/a.npy"
is "three rows reach 0.6" "$(lines "$dir/out")" 3
run 1 "$rank" --queries "$dir/q.npy" --min 1.5 "$dir/a.npy"
is "none reaches 1.5" "$(cat "$dir/out" "$dir/err")" ""
run 0 "$rank" --queries "$dir/q.npy" --min -0.5 "$dir/a.npy" "$dir/b.npy"
is "a negative --min" "$(lines "$dir/out")" 5

# Nothing to rank: no row, status 0, and a word about it.
nothing="clip-rank: nothing was searched: the corpus has no row"
npy "$dir/none.npy" 0 2 ''
run 0 "$rank" --queries "$dir/q.npy" "$dir/none.npy"
is "zero rows" "$(cat "$dir/out" "$dir/err")" "$nothing"
mkdir "$dir/empty"
run 0 "$rank" --query x "$dir/empty"
is "an empty folder" "$(cat "$dir/out" "$dir/err")" "$nothing"

# Files that do not fit.
npy "$dir/nan.npy" 3 2 "$one$zero$one$nan$zero$one"
run 2 "$rank" --queries "$dir/q.npy" "$dir/nan.npy"
has "the row is reported" "$dir/err" "nan.npy: row 1"
is "and nothing written" "$(cat "$dir/out")" ""
npy "$dir/inf.npy" 1 2 "$inf$zero"
run 2 "$rank" --queries "$dir/inf.npy" "$dir/a.npy"
has "a query that is not finite" "$dir/err" "inf.npy: row 0"
npy "$dir/wide.npy" 1 3 "$one$one$one"
run 2 "$rank" --queries "$dir/q.npy" "$dir/a.npy" "$dir/wide.npy"
has "another width" "$dir/err" "wide.npy: vectors of 3 numbers, expected 2"
run 2 "$rank" --query x "$dir/a.npy"
has "a width that is not the model's" "$dir/err" "a.npy: vectors of 2 numbers, expected 256 as of the model"
printf 'one\n' >"$dir/b.keys"
run 2 "$rank" --queries "$dir/q.npy" "$dir/b.npy"
has "too few keys" "$dir/err" "b.keys: has 1 keys"
head -c 140 "$dir/a.npy" >"$dir/cut.npy"
run 2 "$rank" --queries "$dir/q.npy" "$dir/cut.npy"
has "a cut file" "$dir/err" "cut.npy"
run 2 "$rank" --queries "$dir/q.npy" "$dir/missing.npy"
has "a missing file" "$dir/err" "missing.npy"
printf '{"x": 1}\n' >"$dir/a.json"
run 2 "$rank" --queries "$dir/q.npy" "$dir/a.npy"
has "a neighbour that is not ours" "$dir/err" "a.json"
rm "$dir/a.json"

# Images, their vectors in a file, any threads and batch: the same bytes.
cd "$dir" || exit 2
cp -r "$samples" samples
run 0 "$embed" samples -o s.npy
run 0 "$rank" --query 'a giraffe' --query 'a pear' -k 5 samples
cp out images
is "the giraffe is first" "$(head -n 1 out | cut -f 1,2,4)" "a giraffe${tab}1${tab}samples/giraffe.png"
is "the pear is first" "$(sed -n 6p out | cut -f 1,2,4)" "a pear${tab}1${tab}samples/pear.jpg"
run 0 "$rank" --query 'a giraffe' --query 'a pear' -k 5 s.npy
same "images and their vectors" out images
run 0 "$rank" -j 1 -b 1 --query 'a giraffe' --query 'a pear' -k 5 samples
same "one thread, one image at a time" out images
run 0 "$rank" -j 2 -b 64 --query 'a giraffe' --query 'a pear' -k 5 samples -o f.tsv
same "two threads, all at once, to a file" f.tsv images
printf 'a giraffe\na pear\n' >q.txt
run 0 "$rank" --queries q.txt -k 5 s.npy
same "queries from a file" out images
run 0 "$embed" --text q.txt -o t.npy
run 0 "$rank" --queries t.npy -k 5 s.npy
same "queries as vectors" out images
run 0 "$rank" --queries t.npy -k 5 samples
same "queries as vectors, images on the way" out images
printf 's.npy\n' >list
run 0 "$rank" --queries t.npy -k 5 -T list
same "-T with files of vectors" out images
find samples -name '*.[jp][np]g' | sort | tr '\n' '\0' >list0
run 0 "$rank" --queries t.npy -k 5 -0 -T list0
same "-T with names of images" out images
tar cf s.tar -C samples giraffe.png pear.jpg shark.jpg
"$rank" --query 'a pear' -k 1 <s.tar >out 2>err
is "a tar on standard input" "$? $(cut -f 4 out)" "0 pear"
run 0 "$rank" --query 'a pear' -k 30 s.tar s.npy s.tar
is "images and vectors in one corpus" "$(lines out)" 30
is "places of equals" "$(head -n 3 out | cut -f 4 | tr '\n' ' ')" "pear samples/pear.jpg pear "
run 0 "$rank" --like samples/pear.jpg --like samples/shark.jpg -k 1 s.npy
is "--like finds the image itself" "$(cut -f 1,4 out | tr '\n' ' ')" \
    "samples/pear.jpg${tab}samples/pear.jpg samples/shark.jpg${tab}samples/shark.jpg "
run 0 "$rank" --query 'a giraffe' 'a pear' -k 5 s.npy
same "--query with two texts" out images
is "without a word" "$(cat err)" ""
run 0 "$rank" -k 5 s.npy --query='a giraffe' 'a pear'
same "--query=TEXT TEXT" out images
run 0 "$rank" --query pear sloth -k 1 s.npy
is "two words" "$(cut -f 4 out | tr '\n' ' ')" "samples/pear.jpg samples/sloth.png "
has "which is reported" err "'sloth' is not a file"
run 2 "$rank" -k 1 --query pear gone.jpg s.npy
has "a name of an image is none" err "gone.jpg"
run 2 "$rank" --query pear samples2
has "nothing is left" err "nothing to rank"
run 0 "$rank" --query "tab${tab}in it" -k 1 s.npy
is "a query with a tab" "$(cut -f 1 out)" 'tab\tin it'

# Raw rows and halves: the same order, cosines.
run 0 "$embed" --raw samples -o raw.npy
run 0 "$rank" --queries t.npy -k 5 raw.npy
is "raw rows" "$(cut -f 1,2,4 out)" "$(cut -f 1,2,4 images)"
is "their scores are cosines" "$(cut -f 3 out | cut -c 1-6)" "$(cut -f 3 images | cut -c 1-6)"
run 0 "$embed" --half samples -o h.npy
run 0 "$rank" --queries t.npy -k 5 h.npy
is "halves" "$(cut -f 1,2,4 out)" "$(cut -f 1,2,4 images)"

# Another model's vectors are refused, whoever asks.
cp s.npy o.npy
sed 's/"model": "[0-9a-f]*/"model": "0123456789abcdef/' s.json >o.json
run 2 "$rank" --query 'a pear' o.npy
has "by a text" err "o.npy"
run 2 "$rank" --queries t.npy o.npy
has "by vectors" err "o.npy"
run 2 "$rank" --queries t.npy s.npy o.npy
has "by the other files" err "o.npy"
run 0 "$rank" --queries o.npy -k 1 o.npy
is "but it knows its own" "$(lines out)" 24

# Bad items, bad sources.
head -c 300 samples/pear.jpg >cut.jpg
run 1 "$rank" --query 'a shark' -k 9 --errors e.jsonl cut.jpg samples/shark.jpg
is "the good one" "$(cut -f 4 out)" samples/shark.jpg
has "the cut one" err "cut.jpg"
is "it is in --errors" "$(lines e.jsonl)" 1
mkfifo names
find samples -name 'p*.jpg' >names &
run 0 "$rank" --query 'a pear' -k 9 -T names
is "names from a pipe" "$(sed -n 1p out | cut -f 4)" samples/pear.jpg
wait
run 2 "$rank" --query 'a shark' ./gone samples/shark.jpg
has "a missing folder" err "./gone: No such file or directory"
is "and the rest is done" "$(cut -f 4 out)" samples/shark.jpg
run 2 "$rank" --query 'a shark' gone.tar samples/shark.jpg
has "a missing tar" err "gone.tar"
is "the rest is done" "$(cut -f 4 out)" samples/shark.jpg
run 2 "$rank" --query 'a shark' gone.tar samples/shark.jpg -o g.tsv
gone "no file of a broken run" g.tsv .g.tsv.vlk-tmp
run 2 "$rank" --like cut.jpg s.npy
has "a query that cannot be read" err "cut.jpg"
"$rank" --query 'a pear' s.npy >/dev/full 2>err
is "a full disk" "$?" 2

# Misuse.
run 2 "$rank" s.npy
run 2 "$rank" --query x --labels q.txt s.npy
run 2 "$rank" --query x -k 0 s.npy
run 2 "$rank" --query x --min high s.npy
run 2 "$rank" --query x -o some.png s.npy
run 2 "$rank" --query x --templates q.txt s.npy
run 2 "$rank" --query x --shard 0/2 s.npy
finish
