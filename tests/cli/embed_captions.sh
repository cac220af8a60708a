#!/bin/sh
# embed_captions.sh - where images and captions are: --text-from, --image-from, --images-in, --separator, and the field
# "caption" of KEY.json; every program that reads pairs finds them.
. tests/cli/check.inc
. tests/cli/train.inc
E=$BIN/clip-embed R=$BIN/clip-rank
cd "$dir" || exit 2
train="-q -m $tiny/model --lr 2e-3 --warmup 2 --train"
mkdir plain json alt elsewhere
for k in castle sloth cherries; do
    cp "$samples/$k.png" plain
    echo "a $k" >plain/$k.txt
    cp "$samples/$k.png" json
    printf '{"caption": "a %s", "alt": "wrong"}' $k >json/$k.json
    cp "$samples/$k.png" alt
    echo wrong >alt/$k.txt
    echo "a $k" >alt/$k.en.txt
    cp "$samples/$k.png" elsewhere
done
run 0 "$E" --pairs plain
cut -f 2 out >cosines

# a set of options that gives the same pairs
gives() { # WHAT OPERAND OPTION...
    what=$1 data=$2
    shift 2
    run 0 "$E" --pairs "$data" "$@"
    cut -f 2 out >got
    same "$what" got cosines
    run 0 "$R" --recall "$data" "$@"
    # shellcheck disable=SC2086
    run 0 "$T" $train "$data" "$@" -b 3 --steps 1 -o run -q
    rm -rf run
}
gives "caption of KEY.json" json
(cd json && tar cf ../json.tar --format=ustar -- *)
gives "and in a tar" json.tar
gives "another text beside the image" alt --text-from en.txt
(cd alt && tar cf ../alt.tar --format=ustar -- *)
gives "and in a tar" alt.tar --text-from EN.TXT
sed -i 's/"caption": \("[^"]*"\), "alt": "wrong"/"caption": "wrong", "alt": \1/' json/*.json
gives "another field" json --text-from alt
printf 'nr;wrong;text en;file\n1;wrong;a castle;castle.png\n2;x;"a cherries";cherries.png\n3;y;a sloth;sloth.png\n' >s.csv
gives "columns by name" s.csv --separator ';' --image-from File --text-from 'text en' --images-in elsewhere
gives "columns by number" s.csv --separator ';' --image-from 4 --text-from 3 --images-in "$dir/elsewhere/"
tr ';' '\t' <s.csv | tr -d '"' | sed 1d >s.tsv
gives "of a list without header" s.tsv --image-from 4 --text-from 3 --images-in elsewhere
tr '\n' '\r' <s.csv >cr.csv
gives "lines that end in carriage returns" cr.csv --separator ';' --image-from 4 --text-from 3 --images-in elsewhere
printf '{"images": [{"id": 1, "file_name": "castle.png"}, {"id": 2, "file_name": "cherries.png"}, {"id": 3, "file_name":
    "sloth.png"}], "annotations": [{"image_id": 1, "caption": "a castle"}, {"image_id": 2, "caption": "a cherries"},
    {"image_id": 3, "caption": "a sloth"}]}' >coco.json
gives "images of COCO" coco.json --images-in elsewhere

# the image of a sample by its name
mkdir two
for k in castle sloth cherries; do
    cp "$samples/$k.png" two/$k.crop.png
    cp "$samples/pear.jpg" two/$k.jpg
    echo "a $k" >two/$k.txt
done
(cd two && tar cf ../two.tar --format=ustar -- *)
gives "the image of a sample" two.tar --image-from crop.png
run 1 "$E" two.tar
has "without it every other image is a bad item" err "castle.crop.png: skipped: its sample already has the image castle.jpg"
run 0 "$E" two --image-from CROP.png
is "images of a folder" "$(cut -f1 out | tr '\n' ' ')" "two/castle.crop.png two/cherries.crop.png two/sloth.crop.png "
run 1 "$E" two.tar --image-from webp
has "a sample without it" err "castle: no image KEY.webp in the sample"

# what is not there is said
run 1 "$E" --pairs plain --text-from nope
has "no such text" err 'no caption (KEY.nope, or "nope" in KEY.json)'
run 2 "$E" --pairs s.csv
has "the separator" err "(--separator ';'?)"
run 2 "$E" --pairs s.csv --separator ';' --image-from 4 --text-from nope
has "no such column" err "expected a header with a column nope"
run 2 "$E" --pairs s.csv --separator ';;'
has "not a character" err "';;' is not one character"

# they belong to the provenance, and to a run's record
run 0 "$E" two.tar --image-from crop.png -o v.npy
has "X.json" v.json '"image-from": "crop.png"'
# shellcheck disable=SC2086
run 0 "$T" $train s.csv --separator ';' --image-from 4 --text-from 3 --images-in elsewhere -b 3 --steps 2 --schedule constant -o kept -q
has "run.json" kept/run.json '"text-from": "3"'
run 0 "$T" --resume kept --steps 4 -q
finish
