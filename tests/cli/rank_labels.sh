#!/bin/sh
# rank_labels.sh - clip-rank --labels: zero-shot classification.
. tests/cli/rank.inc
cd "$dir" || exit 2
cp -r "$samples" samples

run 0 "$embed" samples -o s.npy
run 0 "$rank" --labels samples/labels.txt --templates samples/templates.txt s.npy
cp out all
is "one line per image" "$(lines out)" 24
is "in the order of the keys" "$(cut -f 1 out)" "$(cat s.keys)"
has "the giraffe" out "samples/giraffe.png${tab}giraffe${tab}0.9"
has "the pear" out "samples/pear.jpg${tab}pear${tab}0.9"
run 0 "$rank" -j 1 -b 1 --labels samples/labels.txt --templates samples/templates.txt samples
same "images, one by one, and their vectors" out all
run 0 "$rank" --labels samples/labels.txt --templates samples/templates.txt samples -o f.tsv
same "to a file" f.tsv all

# Probabilities of all labels: softmax, sorted.
run 0 "$rank" --labels samples/labels.txt -k 100 samples/pear.jpg
n=$(lines samples/labels.txt)
is "every label" "$(lines out)" "$n"
is "they add up to 1" "$(awk -F '\t' '{ s += $3 } END { printf "%.4f", s }' out)" 1.0000
is "the best first" "$(cut -f 3 out)" "$(cut -f 3 out | sort -rg)"
is "each label once" "$(cut -f 2 out | sort)" "$(sort samples/labels.txt)"

# softmax(scale * cosine): from the cosines of --query and the scale of --info.
run 0 "$rank" --queries samples/labels.txt -k 1 samples/pear.jpg
scale=$("$rank" --info | sed -n 's/.*"logit_scale": \([0-9.]*\).*/\1/p')
awk -F '\t' -v s="$scale" '{ e[$1] = exp(s * $3); t += e[$1] } END { printf "%.4f\n", e["pear"] / t }' out >softmax
is "the probability of the pear" "$("$rank" --labels samples/labels.txt samples/pear.jpg | awk -F '\t' '{ printf "%.4f", $3 }')" \
    "$(cat softmax)"

# One template is the same as the filled texts; the ensemble is another classifier.
printf 'a {}\n' >one.txt
sed 's/^/a /' samples/labels.txt >filled.txt
"$rank" --labels samples/labels.txt --templates one.txt s.npy | cut -f 3 >a
"$rank" --labels filled.txt s.npy | cut -f 3 >b
same "a template and its filled texts" a b
printf '{} and {}\n' >two.txt
"$rank" --labels samples/labels.txt --templates two.txt s.npy | cut -f 3 >a
sed 's/.*/& and &/' samples/labels.txt >filled.txt
"$rank" --labels filled.txt s.npy | cut -f 3 >b
same "a label may be there twice" a b

# Label vectors from a file.
run 0 "$embed" --text samples/labels.txt -o l.npy
run 0 "$rank" --labels l.npy s.npy
"$rank" --labels samples/labels.txt s.npy | cut -f 1,2 >a
cut -f 1,2 out >b
same "labels as vectors" a b

# A filter.
run 0 "$rank" --labels samples/labels.txt --min 0.9 s.npy
is "some are sure" "$(awk -F '\t' '$3 < 0.9' out | wc -l | tr -d ' ')" 0
run 1 "$rank" --labels samples/labels.txt --min 1.5 s.npy
is "none is that sure" "$(cat out)" ""

# jsonl, bad items.
run 2 "$rank" --labels samples/labels.txt --format jsonl gone.jpg samples/pear.jpg
is "jsonl" "$(cut -c 1-61 out)" '{"key": "samples/pear.jpg", "label": "pear", "probability": 0'
has "the missing image" err "gone.jpg"

# Misuse and files that do not fit.
printf 'no hole\n' >bad.txt
run 2 "$rank" --labels samples/labels.txt --templates bad.txt s.npy
has "a template without a hole" err "bad.txt: line 1"
: >none.txt
run 2 "$rank" --labels none.txt s.npy
has "no label" err "none.txt"
printf 'a\n\nb\n' >gap.txt
run 2 "$rank" --labels gap.txt s.npy
has "an empty label" err "gap.txt: line 2"
run 2 "$rank" --labels l.npy --templates one.txt s.npy
cp s.npy o.npy
sed 's/"model": "[0-9a-f]*/"model": "0123456789abcdef/' s.json >o.json
run 2 "$rank" --labels samples/labels.txt o.npy
has "another model's vectors" err "o.npy"
finish
