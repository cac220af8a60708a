#!/bin/sh
# texts.sh - texts of samples that are none, or not as they should be: clip-embed --pairs, clip-rank --recall and
# itc-train give the same reasons for the same items, in a folder, a tar and a list.
. tests/cli/check.inc
. tests/cli/train.inc
cd "$dir" || exit 2
embed=$BIN/clip-embed rank=$BIN/clip-rank
tab=$(printf '\t')

mkdir set
tar xf "$tiny/pairs.tar" -C set
rm -f set/*.json
for k in empty blank newline latin1 mark mark-alone missing folder; do cp set/0001.png set/$k.png; done
: >set/empty.txt
printf ' \t \302\240\n' >set/blank.txt
printf '\r\n' >set/newline.txt
printf 'caf\351\n' >set/latin1.txt
printf '\357\273\277a text after a mark\n' >set/mark.txt
printf '\357\273\277' >set/mark-alone.txt
mkdir set/folder.txt
good=$(($(find set -name '0*.png' | wc -l) + 1)) # those of the model's own set, and "mark"

# all_name WHAT BAD INPUT: the three programs name these items, and give the same reasons
all_name() {
    what=$1 bad=$2 input=$3
    run 1 "$embed" -m "$tiny/model" --pairs "$input" --errors e1
    is "$what: clip-embed: good ones" "$(lines out)" "$good"
    run 1 "$rank" -m "$tiny/model" --recall "$input" --errors e2
    rm -rf run
    # shellcheck disable=SC2086
    run 1 "$T" -q -m "$tiny/model" --train "$input" -b 3 --steps 12 --max-loss 99 --errors e3 -o run
    for e in e1 e2 e3; do
        is "$what: $e: items" "$(sed 's/.*"item": "\([^"]*\)".*/\1/; s|.*/||; s/\.png$//' $e | sort | tr '\n' ' ')" "$bad"
        sed 's/, "step": [0-9]*//' $e | sort >$e.sorted
    done
    same "$what: clip-embed and clip-rank" e1.sorted e2.sorted
    same "$what: clip-embed and itc-train" e1.sorted e3.sorted
}

all_name "a folder" "blank empty folder latin1 mark-alone missing newline " set
has "an empty text is none" e1 'set/empty.png", "stage": "caption", "reason": "no caption (KEY.txt, or '
has "nor is a blank one" e1 'set/blank.png", "stage": "caption", "reason": "no caption (KEY.txt, or '
has "bytes that are not UTF-8" e1 'set/latin1.png", "stage": "caption", "reason": "a caption is not UTF-8 at byte 3"'
has "a folder in the place of a text" e1 'set/folder.png", "stage": "caption", "reason": "set/folder.txt'
run 0 "$embed" -m "$tiny/model" --pairs set/mark.png --format jsonl
has "the byte order mark is not part of the text" out '"caption": "a text after a mark"'
rmdir set/folder.txt
rm set/folder.png

# in a tar also a link, and a text with holes, which GNU tar stores as a sparse member (type S)
cp set/0001.png set/link.png
ln -s 0001.txt set/link.txt
bad="blank empty latin1 link mark-alone missing newline "
truncate -s 200000 set/sparse.txt
(cd set && tar cf ../one.tar --format=gnu --sparse sparse.txt)
if [ "$(dd if=one.tar bs=1 skip=156 count=1 2>/dev/null)" = S ]; then
    cp set/0001.png set/sparse.png
    bad="${bad}sparse "
else
    echo "skipped: sparse members (this file system has no holes)"
    rm set/sparse.txt
fi
(cd set && tar cf ../set.tar --format=gnu --sparse -- *)
all_name "a tar" "$bad" set.tar
has "a link" e1 '"reason": "link.txt is a link in the tar, not a file"'
case $bad in *sparse*) has "a text with holes" e1 '"reason": "sparse.txt is a sparse member in the tar, not a file"' ;; esac

# in a list
{
    for i in 1 2 3 4 5; do printf 'set/000%s.png\ta text of %s\n' $i $i; done
    printf 'set/empty.png\t\nset/blank.png\t \302\240 \n'
    printf 'set/0006.png\t\nset/0006.png\tits second text\n'
} >l.tsv
good=6
all_name "a list" "blank empty " l.tsv
has "a row without a text" e1 'set/empty.png", "stage": "caption", "reason": "no caption in the list"'

# the lists of KEY.json: blank texts do not count; a broken one is reported as soon as it is asked for
mkdir j
for i in 1 2 3 4; do cp set/000$i.png set/000$i.txt j; done
printf '{"captions": ["", "one more", "  "], "negatives": ["  ", "not this"]}' >j/0001.json
run 0 "$embed" -m "$tiny/model" --pairs --captions j
is "captions: five rows" "$(lines out)" 5
run 0 "$rank" -m "$tiny/model" --recall j
has "false captions beside images count, too" out "neg_acc$tab"
printf '{"captions": "no list", "negatives": [' >j/0002.json
run 0 "$embed" -m "$tiny/model" --pairs j
run 1 "$embed" -m "$tiny/model" --pairs --captions j --errors e1
run 1 "$rank" -m "$tiny/model" --recall --captions j --errors e2
run 1 "$T" -q -m "$tiny/model" --train j --captions -b 2 --steps 6 --max-loss 99 --errors e3 -o runj
sed 's/, "step": [0-9]*//' e3 >e3.sorted
same "a broken KEY.json: clip-embed and clip-rank" e1 e2
same "a broken KEY.json: clip-embed and itc-train" e1 e3.sorted

# JSON as Python writes it: what nobody asks for does not cost the sample
mkdir py
for i in 1 2 3; do cp set/000$i.png set/000$i.txt py; done
printf '{"captions": ["more"], "similarity": NaN, "punsafe": -Infinity, "\\ud800": "\\udfff"}' >py/0001.json
run 0 "$embed" -m "$tiny/model" --pairs --captions py
is "NaN and lone surrogates in other members" "$(lines out)" 4
printf '{"captions": ["half \\ud800"]}' >py/0002.json
printf '{"captions": NaN}' >py/0003.json
run 1 "$embed" -m "$tiny/model" --pairs --captions py
has "a caption with a lone surrogate" err 'captions[0] is not a string: found a string with half a character (\ud800)'
has "NaN as captions" err 'captions is not a list: found NaN'
{
    printf '{"image":"set/0001.png","caption":"x","punsafe":NaN}\n{"image":"set/0002.png","caption":"\\ud800"}\n'
    printf '{"image":"set/0003.png","caption":"y","s":"\\ud800"}\n'
} >py.jsonl
run 1 "$embed" -m "$tiny/model" --pairs py.jsonl
is "a list as Python writes it" "$(lines out)" 2
has "its bad row" err 'py.jsonl: line 2: the caption is neither a string nor a list of strings: found a string with half'

# memory of JSON is limited before it is parsed
{
    printf '{"captions": ["more"], "x": ['
    awk 'BEGIN { for (i = 0; i < 300000; i++) printf "{}," }'
    printf '{}]}'
} >py/0002.json
rm py/0003.json
run 1 "$embed" -m "$tiny/model" --pairs --captions py
has "too many values" err 'KEY.json: line 1: expected JSON of at most 200000 values, found more'
is "the other samples" "$(lines out)" 3

# texts by themselves are rows: every line is one, an empty one too
printf 'a\n\n  \nb\n' >lines.txt
run 0 "$embed" -m "$tiny/model" --text lines.txt
is "--text: a row for every line" "$(lines out)" 4
finish
