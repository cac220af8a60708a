#!/bin/sh
# rank_sheet.sh - clip-rank --sheet: a PNG of the best matches, whose images are found again by key.
. tests/cli/rank.inc
cd "$dir" || exit 2
cp -r "$samples" samples
run 0 "$embed" samples -o s.npy

# size FILE: width and height from the header
size() { od -An -j 16 -N 8 -t u1 "$1" | awk '{ print $3 * 256 + $4, $7 * 256 + $8 }'; }

run 0 "$rank" --query 'a giraffe' --query 'a pear' -k 5 --sheet a.png samples
is "it is a PNG" "$(head -c 4 a.png | tail -c 3)" PNG
is "five columns, two rows" "$(size a.png)" "810 564"
is "the table is there, too" "$(lines out)" 10
run 0 "$rank" --query 'a giraffe' --query 'a pear' -k 5 --sheet b.png s.npy
same "images and vectors" a.png b.png
run 0 "$rank" -j 1 -b 1 --query 'a giraffe' --query 'a pear' -k 5 --sheet b.png samples
same "one thread" a.png b.png

# What is on it can be read again: a sheet of the sheet looks like itself.
run 0 "$rank" --like a.png -k 1 --sheet c.png a.png samples
is "a sheet is an image" "$(cut -f 4 out)" a.png

# A tar: from itself, or for its vectors by --images; without, keys are not files: crossed boxes, but no error.
tar cf s.tar -C samples giraffe.png pear.jpg shark.jpg
run 0 "$rank" --query 'a pear' -k 3 --sheet t.png s.tar
run 0 "$embed" s.tar -o t.npy
run 0 "$rank" --query 'a pear' -k 3 --sheet u.png --images s.tar t.npy
same "--images" t.png u.png
run 0 "$rank" --query 'a pear' -k 3 --sheet u.png --pictures s.tar t.npy
same "--pictures, its former name" t.png u.png
run 0 "$rank" --query 'a pear' -k 3 --sheet v.png t.npy
is "as large as with images" "$(size v.png)" "$(size t.png)"
if cmp -s t.png v.png; then fail "keys of a tar are not files"; else pass; fi

# An image that has gone since.
cp -r samples gone
run 0 "$embed" gone -o g.npy
run 0 "$rank" --query 'a pear' -k 3 --sheet g1.png g.npy
rm gone/pear.jpg
run 0 "$rank" --query 'a pear' -k 3 --sheet g2.png g.npy
is "the same size" "$(size g1.png)" "$(size g2.png)"
has "what is missing is said" err "g2.png: 1 of 3 images could not be drawn"
if cmp -s g1.png g2.png; then fail "a missing image shows"; else pass; fi

# Labels: an image is under its best one.
run 0 "$rank" --labels samples/labels.txt --sheet l.png s.npy
is "the lines are there, too" "$(lines out)" 24
run 0 "$rank" --labels samples/labels.txt --sheet m.png samples
same "labels: images and vectors" l.png m.png

# Misuse.
run 2 sh -c '"$1" --query x --sheet x.png <s.tar' sh "$rank"
gone "no sheet" x.png
run 2 "$rank" --query x --sheet nowhere/x.png s.npy
run 2 "$rank" --recall --sheet x.png samples/captions.tsv
run 2 "$rank" --query x --images s.tar s.npy
finish
