#!/bin/sh
# tokens.sh - what the files beside a model's vocabulary say about texts: added and special tokens in every form that
# transformers writes them, and the longest text. The ids are those of its AutoTokenizer, which agrees in 4.45 and 5.24.
. tests/cli/check.inc
hf=$top/tests/data/clip/eos2/hf
cd "$dir" || exit 2
embed=$BIN/clip-embed
names='"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"'
printf '%s\n' 'a cat!' 'wow!!! x' 'see<new>it <NEW> <sp>!' '<new><new>' >texts

# folder [FILE TEXT]...: the model with these files
folder() {
    rm -rf m
    cp -R "$hf" m
    while [ $# -gt 0 ]; do
        printf '%s' "$2" >"m/$1"
        shift 2
    done
}
# ids WHAT LINE...: the ids of the four texts
ids() {
    what=$1
    shift
    printf '%s\n' "$@" >want
    run 0 "$embed" -m m --tokens <texts
    same "$what" out want
}
# refused WHAT TEXT
refused() {
    run 2 "$embed" -m m --tokens <texts
    has "$1" err "$2"
}
plain='662 283 557 342 29 283 557 342 285 663'
word='662 567 324 283 557 342 285 585 283 557 342 285'

folder
ids "no files" "662 320 66 536 256 663" "662 86 78 342 0 0 256 343 663" "$word 283 82 335 29 256 663" "$plain"
folder tokenizer_config.json "{$names, \"pad_token\": \"!\"}"
ids "pad_token" "662 320 66 536 0 663" "662 86 78 342 0 0 0 343 663" "$word 283 82 335 285 0 663" "$plain"
folder tokenizer_config.json "{$names}" special_tokens_map.json '{"pad_token": "!"}'
ids "special_tokens_map.json" "662 320 66 536 0 663" "662 86 78 342 0 0 0 343 663" "$word 283 82 335 285 0 663" "$plain"
folder tokenizer_config.json "{$names, \"additional_special_tokens\": [\"<sp>\"]}"
ids "additional_special_tokens" "662 320 66 536 256 663" "662 86 78 342 0 0 256 343 663" "$word 664 256 663" "$plain"
folder tokenizer_config.json "{$names}" added_tokens.json '{"<new>": 664}'
ids "added_tokens.json" "662 320 66 536 256 663" "662 86 78 342 0 0 256 343 663" \
    "662 567 324 664 585 664 283 82 335 29 256 663" "662 664 664 663"

new='{"content": "<new>", "normalized": true, "special": false}'
sp='{"content": "<sp>", "normalized": false, "special": true}'
folder tokenizer_config.json "{$names, \"added_tokens_decoder\": {\"665\": $sp, \"664\": $new}}" \
    special_tokens_map.json '{"pad_token": "!"}'
ids "added_tokens_decoder; the map is not read then" "662 320 66 536 256 663" "662 86 78 342 0 0 256 343 663" \
    "662 567 324 664 585 664 665 256 663" "662 664 664 663"
folder tokenizer_config.json "{$names, \"model_max_length\": 4}"
ids "model_max_length" "662 320 66 663" "662 86 78 663" "662 567 324 663" "662 283 557 663"
run 1 "$embed" -m m --text texts --long-text error
has "the limit in a message" err "text of 6 tokens, the model takes 4"
folder tokenizer_config.json "{$names, \"model_max_length\": 1000000000000000019884624838656}"
ids "no model_max_length" "662 320 66 536 256 663" "662 86 78 342 0 0 256 343 663" "$word 283 82 335 29 256 663" "$plain"

# tokenizer.json, beside vocab.json and alone
steps='"normalizer": {"normalizers": [{"type": "NFC"}, {"type": "Replace"}, {"type": "Lowercase"}]}'
# the pattern, as JSON has it
split="'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}\\\\p{N}]+"
merges=$(sed -e 1d -e 's/[\\"]/\\&/g' -e 's/.*/"&"/' "$hf/merges.txt" | paste -sd, -)
tokenizer() { # the added tokens
    printf '{"added_tokens": [%s], %s, "pre_tokenizer": {"pretokenizers": [{"pattern": {"Regex": "%s"}}]},' \
        "$1" "$steps" "$split"
    printf '"model": {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": %s, "merges": [%s]}}' \
        "$(cat "$hf/vocab.json")" "$merges"
}
folder tokenizer.json "$(tokenizer '{"id": 0, "content": "!", "special": true}, {"id": 664, "content": "<new>"}')"
ids "tokenizer.json beside vocab.json" "662 320 66 536 0 663" "662 86 78 342 0 0 0 343 663" \
    "662 567 324 664 585 664 283 82 335 285 0 663" "662 664 664 663"
rm m/vocab.json m/merges.txt
ids "tokenizer.json alone" "662 320 66 536 0 663" "662 86 78 342 0 0 0 343 663" \
    "662 567 324 664 585 664 283 82 335 285 0 663" "662 664 664 663"

# what is not followed is reported
folder tokenizer.json "$(tokenizer '{"id": 0, "content": "!"}')" \
    tokenizer_config.json "{$names, \"added_tokens_decoder\": {}}"
refused "two files that disagree" '"!" is not in added_tokens_decoder'
folder added_tokens.json '{"<new>": 665}'
refused "an id after a gap" 'added token "<new>" has id 665, but the vocabulary'"'"'s next is 664'
folder added_tokens.json '{"!": 5}'
refused "another id" 'added token "!" has id 5, but in the vocabulary 0'
folder added_tokens.json '{"a b": 664}'
refused "white space" 'token "a b" has white space in it'
folder special_tokens_map.json '{"bos_token": "!"}'
refused "another start token" 'special_tokens_map.json: bos_token "!" is not supported'
folder tokenizer_config.json '{"pad_token": {"content": "!", "single_word": true}}'
refused "single_word" 'pad_token: token "!": single_word is not supported'
folder tokenizer_config.json '{"pad_token": ["!"]}'
refused "a list" 'tokenizer_config.json: pad_token: expected a token'
folder tokenizer_config.json '{"split_special_tokens": true}'
refused "split_special_tokens" 'split_special_tokens is not supported'
folder tokenizer_config.json '{"tokenizer_class": "BertTokenizer"}'
refused "another class" 'tokenizer_class "BertTokenizer" is not built in'
folder tokenizer_config.json '{"truncation_side": "left"}'
refused "truncation_side" 'truncation_side "left" is not supported'
folder added_tokens.json '["<new>"]'
refused "not an object" 'added_tokens.json: expected an object'

# a token whose row the model does not have: the texts that use it are bad items, the others are not
folder tokenizer_config.json "{$names, \"additional_special_tokens\": [\"<a>\", \"<b>\", \"<c>\"]}"
printf '%s\n' 'a cat' '<a>' '<c>' >three
run 1 "$embed" -m m --text three --format tsv
has "the item is reported" err 'token "<c>" has id 666, but the model has no row for it'
is "the others are made" "$(wc -l <out | tr -d ' ')" 2

# open_clip's configs: each member is used, changes nothing, or is refused by name
clip=$top/tests/data/clip/gelu/open_clip
# member SED: the model with this change of its config
member() {
    rm -rf m
    cp -R "$clip" m
    sed "$1" "$clip/open_clip_config.json" >m/open_clip_config.json
}
printf '%s\n' 'A photo, of a Cat!' >texts
vocabulary() { member "s/\"vocab_size\": 604,/&$1/"; }
vocabulary '"tokenizer_kwargs": {"clean": "canonicalize"},'
ids "clean: canonicalize" "602 320 79 71 78 531 539 320 66 536 603"
vocabulary '"tokenizer_kwargs": {"clean": "whitespace"},'
ids "clean: whitespace" "602 288 79 71 78 531 267 539 320 34 536 256 603"
for same in '"tokenizer_kwargs": {"clean": "lower"},' '"tokenizer_kwargs": null,' '"tokenizer_kwargs": {},' \
    '"block_type": "default",' '"hf_tokenizer_name": "",' '"hf_model_name": null, "hf_proj_type": "mlp",' \
    '"tokenizer_mode": "x",'; do
    vocabulary "$same"
    ids "$same" "602 320 79 71 78 531 267 539 320 66 536 256 603"
done
while IFS='|' read -r change reason; do
    vocabulary "$change"
    run 2 "$embed" -m m --tokens <texts
    has "$change" err "$reason"
done <<'END'
"tokenizer_kwargs": {"clean": "upper"},|tokenizer_kwargs.clean: "upper"; expected lower, whitespace or canonicalize
"tokenizer_kwargs": {"reduction_mask": "simple"},|tokenizer_kwargs.reduction_mask: a tokenizer with this is not supported
"tokenizer_kwargs": {"additional_special_tokens": ["<a>"]},|additional_special_tokens: a tokenizer with this
"tokenizer_kwargs": "lower",|tokenizer_kwargs
"norm_kwargs": {"elementwise_affine": true},|elementwise_affine: norm_kwargs with this is not supported
"act_kwargs": {"inplace": true},|inplace: act_kwargs with this is not supported
"block_type": "custom",|block_type: "custom"; expected default
"qk_norm": true,|text_cfg.qk_norm: a tower with this is not supported
"hf_model_name": "x",|text_cfg.hf_model_name: a tower with this is not supported
"hf_model_name": "x", "hf_proj_type": "mlp",|text_cfg.hf_model_name
"pool_type": "eos",|the config's end token is 2, that of the vocabulary 603
END
member 's/"embed_dim"/"multimodal_cfg": {"width": 3}, &/'
refused "another model" 'model_cfg.multimodal_cfg: a model with this is not supported'

# towers that look at all of their context are given it: padded with 0 as open_clip does. Its vectors, to four places
places() { cut -f 2-5 out | tr '\t' '\n' | awk '{printf "%s%.4f", (NR > 1 ? " " : ""), $1}'; }
echo 'a cat' >texts
zeros=$(printf ' 0%.0s' $(seq 72))
while IFS='|' read -r change vector; do
    vocabulary "$change"
    ids "$change: ids" "602 320 66 536 603$zeros"
    run 0 "$embed" -m m --text texts --format tsv
    is "$change: the vector" "$(places)" "$vector"
    run 0 "$BIN/clip-rank" -m m --query 'a cat' "$samples/pear.jpg"
done <<'END'
"no_causal_mask": true,|-0.0547 0.2567 0.1992 -0.1104
"pool_type": "last", "pad_id": 5,|-0.1804 0.0186 0.0286 0.0277
"no_causal_mask": true, "pool_type": "first",|-0.0904 0.1218 0.1790 -0.1038
END
vocabulary '"no_causal_mask": true,'
run 0 "$BIN/itc-train" -q -m m --train "$samples/captions.tsv" -b 8 --steps 1 --max-loss 99 -o run
has "itc-train keeps that layout" run/last/open_clip_config.json no_causal_mask
finish
