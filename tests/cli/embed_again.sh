#!/bin/sh
# embed_again.sh - a rerun over files that have changed, and a run without a row over an output that has some.
. tests/cli/check.inc
E=$BIN/clip-embed
R=$BIN/clip-rank
cd "$dir" || exit 2

# parts [STATUS]: makes the parts of the folder `pics`, of which 01.png is in the second
parts() { run "$1" "$E" pics -o made/ --rows 1 -q; }
fresh() {
    rm -rf pics made
    mkdir pics
    cp "$samples/castle.png" pics/00.png
    cp "$samples/giraffe.png" pics/01.png
    touch -d '2 hours ago' pics/*
    parts 0
}
other=$samples/dolphin.png

fresh
cat made/*.json >before
ls -i made/* >inodes
parts 0
ls -i made/* >again
same "nothing has changed: parts stay" inodes again

cp "$other" pics/01.png
parts 2
has "another image under a name" err "made/pics-00001.npy: is older than pics/01.png, which may have changed (--force"
run 0 "$E" pics -o made/ --rows 1 --force
run 0 "$E" pics -o full.npy
is "--force: its vector is the new one" "$(tail -c +129 made/pics-00001.npy | cksum)" "$(tail -c +1153 full.npy | cksum)"
parts 0

fresh
cp "$other" pics/01.png
touch -d '2 hours ago' pics/01.png
parts 2
has "with an old time, another size" err "made/pics-00001.npy: was made when its files had other sizes: one of them has changed"

fresh
touch pics/00.png
parts 2
has "a new time alone" err "made/pics-00000.npy: is older than pics/00.png"
touch made/*.json
parts 0
cat made/*.json >after
same "touch accepts it, and X.json holds no time" before after

fresh
touch -d '1 hour ago' pics/*
cp -R made copy
touch copy/*
run 0 "$E" pics -o copy/ --rows 1
is "X.json has the time of the start of the run, so that what changes during it is newer" \
    "$(find made -name '*.json' -newer made/pics-00000.npy | wc -l | tr -d ' ')" 0

# a tar, a list, texts beside images
fresh
(cd pics && tar cf ../in.tar --format=ustar 00.png 01.png)
touch -d '2 hours ago' in.tar
run 0 "$E" in.tar -o t/
touch in.tar
run 2 "$E" in.tar -o t/
has "a tar" err "t/in.npy: is older than in.tar"
printf 'pics/00.png\tone\npics/01.png\ttwo\n' >l.tsv
touch -d '2 hours ago' l.tsv
run 0 "$E" l.tsv -o l/
run 0 "$E" --pairs l.tsv -o lp/
touch l.tsv
run 0 "$E" l.tsv -o l/
run 2 "$E" --pairs l.tsv -o lp/
has "captions in a list" err "lp/l.tsv: is older than l.tsv"
touch pics/01.png
run 2 "$E" l.tsv -o l/
has "an image of a list" err "l/l.npy: is older than ./pics/01.png"
fresh
for i in 00 01; do echo "a text" >pics/$i.txt; done
touch -d '2 hours ago' pics/*.txt
run 0 "$E" --pairs pics -o p/
echo "another" >pics/01.txt
run 2 "$E" --pairs pics -o p/
has "a caption beside an image" err "p/pics.tsv: is older than pics/01.txt"
mv pics/01.txt pics/01.TXT
run 2 "$E" --pairs pics -o p/
has "in capitals" err "p/pics.tsv: is older than pics/01.TXT"

# a part whose files do not belong together is made again
fresh
cp made/pics-00000.keys made/pics-00001.keys
run 0 "$E" pics -o made/ --rows 1
has "it is made again" err "made/pics-00001.npy: is made again: its .keys or .json is missing or was not written with it"
is "another part's keys" "$(cat made/pics-00001.keys)" pics/01.png
run 0 "$E" pics -o made/ --rows 1
is "and then it stays" "$(lines err)" 0

# no row
mkdir empty
run 0 "$E" pics -o x.npy
run 0 "$E" pics -o x.tsv
cp x.npy x0.npy
cp x.keys x0.keys
for f in x.npy x.tsv; do
    run 2 "$E" empty -o $f
    has "no row over rows" err "$f: not replaced, since it has rows and this run has none (--allow-empty replaces it)"
done
same "the matrix stays" x.npy x0.npy
same "the keys stay" x.keys x0.keys
: >no.png
run 2 "$E" no.png -o x.npy
has "nor where every item is bad" err "x.npy: not replaced"
run 0 "$E" empty -o new.npy
run 0 "$E" empty -o new.npy
is "a new name: no rows" "$(lines new.keys)" 0
run 0 "$E" empty -o x.npy --allow-empty
is "--allow-empty" "$(lines x.keys)" 0
run 0 "$E" in.tar -o x.tar
(cd empty && tar cf ../none.tar -T /dev/null)
run 2 "$E" none.tar -o x.tar
has "a tar" err "x.tar: not replaced"
rm pics/*
run 2 "$E" pics -o made/ --rows 1 --force
has "parts" err "made/pics-00000.npy: not replaced"
run 0 "$R" --query 'a castle' x.npy
has "a search in no rows" err "clip-rank: nothing was searched: the corpus has no row"
run 0 "$R" --query 'a castle' x0.npy -o r.tsv
run 2 "$R" --query 'a castle' x.npy -o r.tsv
has "a ranking is not replaced by none" err "r.tsv: not replaced"
run 1 "$R" --query 'a castle' --min 0.999 x0.npy -o r.tsv --allow-empty
is "unless that is meant" "$(lines r.tsv)" 0
: >none.txt
run 0 "$R" --queries none.txt x0.npy
has "no query" err "nothing was searched for: there is no query"
finish
