#!/bin/sh
# train_export.sh - what comes out of a run: a model to ship, the running mean, curves, a validation's figures.
. tests/cli/check.inc
. tests/cli/train.inc
cd "$dir" || exit 2
# shellcheck disable=SC2086
run 0 "$T" $base -b 8 --steps 12 --ema 0.9 --val "$tiny/pairs.tar" --val-steps 6 -o run

# a checkpoint is a model; so is what --export makes of it
run 0 "$BIN/clip-embed" -m run/last "$tiny/pairs.tar"
cp out last.tsv
run 0 "$T" --export run/last -o f32
same "f32: the same weights" run/last/model.safetensors f32/model.safetensors
run 0 "$T" --export run/last --dtype f16 -o f16/
is "half the bytes" "$(($(wc -c <f16/model.safetensors) * 20 / $(wc -c <f32/model.safetensors)))" 10
has "the config says so" f16/config.json '"dtype": "float16"'
gone "nothing of the training" f16/state.safetensors f16/ema.safetensors
run 0 "$BIN/clip-embed" -m f16 "$tiny/pairs.tar"
paste last.tsv out | awk -F '\t' '{ n = NF / 2; for (i = 2; i <= n; i++) { d = $i - $(n + i); if (d > 2e-3 || d < -2e-3) bad = 1 } } END { exit bad || NR != 8 }' &&
    pass || fail "f16 is far from f32"
run 0 "$T" --export run/last --ema -o mean
cmp -s mean/model.safetensors run/last/ema.safetensors && pass || fail "--ema"
run 2 "$T" --export run/last -o f32
has "a folder that is there" err "not empty"
run 2 "$T" --export nowhere -o x

# a ViT that came in open_clip's layout goes back into it; without training every vector has the bits of before
oc=$top/tests/data/clip/gelu/open_clip
run 0 "$T" -q -m "$oc" --train "$tiny/pairs.tar" -b 4 --lr 0 --wd 0 --ema 0.5 --steps 1 -o oc
[ -f oc/last/config.json ] && pass || fail "the checkpoint is in Hugging Face layout"
printf 'a cat\nThe  Dog &amp; 12\n' >texts
run 0 "$BIN/clip-embed" -m "$oc" "$tiny/pairs.tar"
mv out images.tsv
run 0 "$BIN/clip-embed" -m "$oc" --text texts
mv out texts.tsv
for how in "" --ema; do
    rm -rf back
    # shellcheck disable=SC2086
    run 0 "$T" --export oc/last $how --layout open_clip -o back
    is "its files" "$(ls back | tr '\n' ' ')" "merges.txt model.safetensors open_clip_config.json "
    run 0 "$BIN/clip-embed" -m back "$tiny/pairs.tar"
    same "images, exported $how" images.tsv out
    run 0 "$BIN/clip-embed" -m back --text texts
    same "texts, exported $how" texts.tsv out
done
run 0 "$T" --export oc/last --layout hf -o hf
same "the layout that it has" oc/last/model.safetensors hf/model.safetensors
run 0 "$T" --export run/last --layout open_clip --dtype f16 -o f16oc
run 0 "$BIN/clip-embed" -m f16oc "$tiny/pairs.tar"
# what a layout has no place for
run 0 "$T" -q -m "$top/tests/data/clip/rn/openai/jit-f16.pt" --train "$tiny/pairs.tar" -b 8 --steps 1 -o res
run 2 "$T" --export res/last --layout hf -o no
has "a ResNet" err "Hugging Face's layout has no place for this model"
sed '0,/"quick_gelu"/s//"gelu"/' "$tiny/model/config.json" >two.json
run 0 "$T" -q --config two.json --tokenizer "$tiny/model" --train "$tiny/pairs.tar" -b 8 --steps 1 -o two
run 2 "$T" --export two/last --layout open_clip -o no
has "two activations" err "open_clip's layout has one kind of GELU for both towers"
gone "nothing of it" no
run 2 "$T" -q --train "$tiny/pairs.tar" --steps 1 --layout hf -o no
has "not for runs" err "--layout goes with --export"

# the figures of --val are those of clip-rank on the mean
run 0 "$BIN/clip-rank" --recall -m mean "$tiny/pairs.tar"
is "i2t_R@1" "$(awk -F '\t' '$1 == "i2t_R@1" { print $2 + 0 }' out)" \
    "$(grep '"step": 12, "val"' run/metrics.jsonl | sed 's/.*"i2t_R@1": //; s/,.*//')"

# new weights of a shape; two seeds differ, one is the same
run 0 "$T" -q --config "$tiny/model/config.json" --train "$tiny/pairs.tar" -b 8 --steps 2 --seed 1 -o new1
run 0 "$T" -q --config "$tiny/model/config.json" --train "$tiny/pairs.tar" -b 8 --steps 2 --seed 1 -o new2
same_run "one seed" new1 new2 step-000002
run 0 "$T" -q --config "$tiny/model/config.json" --train "$tiny/pairs.tar" -b 8 --steps 2 --seed 2 -o new3
cmp -s new1/last/model.safetensors new3/last/model.safetensors && fail "two seeds" || pass
cp "$tiny/model/config.json" shape.json
run 2 "$T" -q --config shape.json --train "$tiny/pairs.tar" -b 8 --steps 2 -o new4
run 0 "$T" -q --config shape.json --tokenizer "$tiny/model" --train "$tiny/pairs.tar" -b 8 --steps 2 --seed 1 -o new4
same_run "files elsewhere" new1 new4 step-000002
# preprocessing beside the config comes before that of the tokenizer's folder; of a tokenizer the merges are enough
mkdir shape merges
cp "$tiny/model/config.json" "$tiny/model/preprocessor_config.json" shape
cp "$tiny/model/merges.txt" merges
sed 's/32/48/' "$tiny/model/preprocessor_config.json" >merges/preprocessor_config.json
run 0 "$T" -q --config shape/config.json --tokenizer merges --train "$tiny/pairs.tar" -b 8 --steps 2 --seed 1 -o new5
for f in model state; do same "merges alone: $f" new1/last/$f.safetensors new5/last/$f.safetensors; done
same "merges alone: preprocessing" new1/last/preprocessor_config.json new5/last/preprocessor_config.json
printf 'a Red apple\ncaf\303\251 &amp; 12 cats\n' >texts
run 0 "$BIN/clip-embed" --tokens -m new5/last texts
cp out tokens5
run 0 "$BIN/clip-embed" --tokens -m new1/last texts
same "merges alone: the tokenizer of the checkpoint" tokens5 out
is "merges alone: texts" "$(lines tokens5)" 2
run 0 "$T" -q --config shape/config.json --tokenizer merges --train "$tiny/pairs.tar" -b 8 --steps 2 --seed 1 -o new5
rm shape/preprocessor_config.json
run 2 "$T" -q --config shape/config.json --tokenizer merges --train "$tiny/pairs.tar" -b 8 --steps 2 -o new6
has "that of the tokenizer's folder, of another size" err 48x48

# the shapes that come along, with the tokenizer of the model that ships
for c in vit-64/config.json rn-64/open_clip_config.json; do
    run 0 "$T" -q --config "$top/share/recipes/$c" --init openai --tokenizer "$top/share/clip-emoji-6m" \
        --train "$samples/captions.tsv" -b 4 --steps 1 --max-loss 99 -o "${c%%/*}"
    is "$c: layout of its checkpoint" "$(cd "${c%%/*}/last" && ls -- *config.json | head -n 1)" "${c#*/}"
done

# a ResNet keeps open_clip's layout, the counters of its batch norms included, and --export them
run 0 "$T" -q -m "$top/tests/data/clip/rn/openai/jit-f16.pt" --train "$tiny/pairs.tar" -b 8 --steps 2 --max-loss 99 -o rn
run 0 "$T" --export rn/last --dtype f16 -o rn16
for f in rn/last/model.safetensors rn16/model.safetensors; do
    is "$f: 22 counters" "$(tr '}' '\n' <"$f" | grep -ac 'num_batches_tracked":{"dtype":"I64","shape":\[\]')" 22
done
run 0 "$BIN/clip-embed" -m rn16 "$tiny/pairs.tar"

# curves
run 0 "$T" --plot run new1 -o out.svg
is "an SVG with a line for each run's loss, pale and full, and one for a set" "$(grep -c '<polyline' out.svg)" 5
has "named" out.svg pairs.tar
run 2 "$T" --plot nowhere -o other.svg
gone "no image of nothing" other.svg

# the plan
run 0 "$T" -m "$tiny/model" --train "$tiny/pairs.tar" -b 8 --steps 2 --explain
has "memory of the optimiser" out "optimiser"
has "activations" out "activations"
has "all of it" out "peak of the run"
run 0 "$T" --config shape.json --tokenizer "$tiny/model" --train "$tiny/pairs.tar" -b 8 --steps 2 --explain
has "new weights: of which config" out "model         shape.json"
finish
