#!/bin/sh
# train_resume.sh - a run in two parts ends in the bytes of one: made longer, with SigLIP's loss; and the gradient cache
# gives the figures of a run without it, to rounding. Kills: train_killed.sh; signals: train_signals.sh; what is refused:
# train_refused.sh.
. tests/cli/check.inc
. tests/cli/train.inc
cd "$dir" || exit 2

# shellcheck disable=SC2086 # a list of words
{
    # a constant schedule can be made longer
    run 0 "$T" $base -b 3 --schedule constant --steps 40 -o long
    run 0 "$T" $base -b 3 --schedule constant --steps 90 -o direct
    run 0 "$T" --resume long --steps 90 -q
    same_run "made longer" long direct step-000090
    run 2 "$T" --resume long --steps 50

    # a logit bias: saved in open_clip's layout, which Hugging Face's has no place for; read back as it was
    run 0 "$T" $base -b 8 --loss siglip --schedule constant --steps 6 -o sig
    run 0 "$T" $base -b 8 --loss siglip --schedule constant --steps 3 -o sigp
    run 0 "$T" --resume sigp --steps 6 -q
    same_run "siglip in two parts" sig sigp step-000006
    run 0 "$BIN/clip-embed" -m sig/last --info
    has "its bias" out '"logit_bias": -9.9'

    # the gradient cache: the same to rounding
    run 0 "$T" $base -b 8 --steps 10 -o c0
    run 0 "$T" $base -b 8 --chunk 3 --steps 10 -o c3
    paste -d ' ' c0/metrics.jsonl c3/metrics.jsonl | awk '{ gsub(/,/, ""); d = $4 - $18; if (d < 0) d = -d; if (d > 1e-4) bad = 1; n++ }
        END { exit bad || n != 10 }' && pass || fail "chunks: $(paste -d ' ' c0/metrics.jsonl c3/metrics.jsonl | tail -n 1)"
}
finish
