#!/bin/sh
# rank_recall.sh - clip-rank --recall: pairs of lists and tars, two files of vectors, several captions.
. tests/cli/rank.inc
cd "$dir" || exit 2
cp -r "$samples" samples
run 0 "$rank" --recall samples/captions.tsv
is "the model knows its samples" "$(awk -F '\t' '$2 < 0.9' out)" ""
# From here on two images have each other's captions, so that not all figures are 1.
awk -F '\t' -v OFS='\t' '{ n[NR] = $1; t[NR] = $2; at[$1] = NR }
    END { i = at["sloth.png"]; j = at["dolphin.png"]; keep = t[i]; t[i] = t[j]; t[j] = keep
          for (k = 1; k <= NR; k++) print n[k], t[k] }' "$samples/captions.tsv" >samples/captions.tsv

run 0 "$rank" --recall samples/captions.tsv
cp out pairs
is "six measures" "$(cut -f 1 out | tr '\n' ' ')" "i2t_R@1 i2t_R@5 i2t_R@10 t2i_R@1 t2i_R@5 t2i_R@10 "
is "with four decimals" "$(grep -cE "${tab}[01]\.[0-9]{4}\$" out)" 6
is "22 of 24" "$(sed -n 1p out) $(sed -n 4p out)" "i2t_R@1${tab}0.9167 t2i_R@1${tab}0.9167"
run 0 "$rank" --recall -j 1 -b 1 samples/captions.tsv
same "one by one" out pairs

# The same pairs as a tar, and as two files of vectors.
mkdir t
while IFS="$tab" read -r name text; do
    cp "samples/$name" "t/$name"
    printf '%s' "$text" >"t/${name%.*}.txt"
done <samples/captions.tsv
(cd t && tar cf ../t.tar -- *)
run 0 "$rank" --recall t.tar
same "a tar" out pairs
# False captions: the first scores lower than the true one; the second is the true one itself, which is not lower.
text=$(head -n 1 t/castle.txt)
printf '{"negatives": ["a jet engine in the rain", "%s"]}' "$text" >t/castle.json
(cd t && tar cf ../n.tar -- *)
rm t/castle.json
run 0 "$rank" --recall n.tar
head -n 6 out >six
same "false captions change no recall" six pairs
is "the share of false captions that score lower" "$(sed -n 7p out)" "neg_acc${tab}0.5000"
cut -f 2 samples/captions.tsv >texts.txt
run 0 "$embed" --text texts.txt -o t.npy
run 0 "$embed" samples/captions.tsv -o i.npy
run 0 "$rank" --recall --queries t.npy i.npy
same "two files" out pairs
run 0 "$rank" --recall --queries texts.txt i.npy
same "texts and a file" out pairs
awk -F '\t' '{ print $2 "\t" $1 }' samples/captions.tsv | sort >truth.tsv
run 0 "$rank" --recall --queries t.npy --truth truth.tsv i.npy
same "with a table of truth in another order" out pairs
run 0 "$rank" --recall --queries t.npy i.npy --format jsonl
is "jsonl" "$(head -n 1 out)" '{"measure": "i2t_R@1", "value": 0.916666667}'

# Several captions: rows of one path, and the list of KEY.json.
awk -F '\t' '{ print; print $1 "\tsomething else entirely" }' samples/captions.tsv >samples/two.tsv
run 0 "$rank" --recall samples/two.tsv
is "a hit if any true caption is" "$(sed -n 1p out)" "$(sed -n 1p pairs)"
is "but every caption asks" "$(awk -F '\t' '$1 == "t2i_R@1" { print ($2 < 0.6) }' out)" 1
cp out twice
cat samples/captions.tsv >samples/apart.tsv
awk -F '\t' '{ print $1 "\tsomething else entirely" }' samples/captions.tsv >>samples/apart.tsv
run 0 "$rank" --recall samples/apart.tsv
same "a path that comes again later is the same image" out twice
for f in t/*.txt; do
    printf '{"captions": ["something else entirely"]}' >"${f%.txt}.json"
done
(cd t && tar cf ../j.tar -- *)
run 0 "$rank" --recall j.tar
same "the list does not count by itself" out pairs
run 0 "$rank" --recall --captions j.tar
cp out listed
run 0 "$rank" --recall samples/two.tsv
same "--captions" out listed

# Vectors with ranks that are known: images (1,0) (0,1) (-1,0); texts near the first, second, first.
npy p.npy 3 2 "$one$zero$zero$one$minus$zero"
npy x.npy 3 2 "$four$one$one$four$three$one"
run 0 "$rank" --recall --queries x.npy p.npy
is "by hand" "$(cut -f 2 out | tr '\n' ' ')" "0.6667 1.0000 1.0000 0.6667 1.0000 1.0000 "
printf '0\t0\n1\t1\n2\t0\n' >truth
run 0 "$rank" --recall --queries x.npy --truth truth p.npy
is "an image without a text does not count" "$(cut -f 2 out | tr '\n' ' ')" "1.0000 1.0000 1.0000 1.0000 1.0000 1.0000 "
has "and is reported" err "1 images and texts have no partner"

# Bad items count nowhere; what does not fit is refused.
printf 'gone.png\ta gone thing\n' | cat - samples/captions.tsv >samples/gone.tsv
run 1 "$rank" --recall samples/gone.tsv
same "without the missing one" out pairs
npy y.npy 2 2 "$one$zero$zero$one"
run 2 "$rank" --recall --queries y.npy p.npy
has "numbers of rows" err "--truth"
printf '0\t7\n' >truth
run 2 "$rank" --recall --queries x.npy --truth truth p.npy
has "no such image" err 'truth: line 1: no image "7"'
printf '0\n' >truth
run 2 "$rank" --recall --queries x.npy --truth truth p.npy
has "no tab" err "truth: line 1"
run 2 "$rank" --recall p.npy
run 2 "$rank" --recall -k 3 samples/captions.tsv
run 2 "$rank" --truth truth --query x p.npy
finish
