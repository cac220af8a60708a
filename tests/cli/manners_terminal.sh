#!/bin/sh
# manners_terminal.sh - what a terminal is sent: nothing that it obeys comes from names or texts. Into pipes and files
# bytes stay as they are. Hints in refusals; keys in Python.
. tests/cli/check.inc
E=$BIN/clip-embed
R=$BIN/clip-rank
cd "$dir" || exit 2
cp "$samples/castle.png" "$samples/giraffe.png" .

# A name with ESC, an 8-bit CSI in UTF-8 (C1), and a change of direction.
esc=$(printf 'a\033[31m')
evil=$(printf 'a\033[31m\302\2332J\342\200\256b.png')
cp castle.png "$evil"
run 0 "$E" "$evil"
is "into a pipe: as it is" "$(cut -f 1 out)" "$evil"
run 0 "$R" --query "$esc" "$evil" -o r.tsv
is "into a file: as it is" "$(cut -f 4 r.tsv)" "$evil"
run 2 "$E" "$evil.gone.png" castle.png
has "in a message" err 'a\x1b[31m\xc2\x9b2J\xe2\x80\xaeb.png.gone.png: '
if command -v script >/dev/null 2>&1 && script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
    on_terminal() { # COMMAND...: its output on a terminal in `seen`, without the carriage returns
        for a in "$@"; do printf "'%s' " "$a"; done >command
        script -qec "sh command" /dev/null </dev/null 2>/dev/null | tr -d '\r' >seen
    }
    on_terminal "$E" --progress never -q "$evil"
    is "TSV" "$(cut -f 1 seen)" 'a\x1b[31m\xc2\x9b2J\xe2\x80\xaeb.png'
    on_terminal "$E" --progress never -q "$evil" --format jsonl
    has "JSONL stays JSON" seen '{"key": "a\u001b[31m\u009b2J\u202eb.png", "embedding": ['
    on_terminal "$R" --progress never -q --query "$esc" "$evil"
    is "clip-rank" "$(cut -f 1,4 seen)" "a\\x1b[31m$(printf '\t')"'a\x1b[31m\xc2\x9b2J\xe2\x80\xaeb.png'
    ln -s "$top/share/clip-emoji-6m" "m$esc"
    on_terminal "$E" -m "m$esc" --info
    has "--info" seen '"path": "'
    is "--info" "$(grep -cF "$(printf '\033[31m')" seen)" 0
else
    echo "skipped: there is no script(1), so nothing was run on a terminal"
fi

# hints
run 2 "$E" --text 'a cat'
has "a text where a file of texts is expected" err "clip-embed: --text reads files with one text per line; for a text itself: echo 'a cat' | clip-embed --text"
run 2 "$R" --labels cat,dog castle.png
has "labels" err "clip-rank: --labels: 'cat,dog' is not a file: expected one with a text on each line"
run 2 "$R" --queries 'a cat' castle.png
has "queries" err "for a text itself: --query TEXT"
run 2 "$R" --query a cat
has "a query in two words, no corpus" err "a query of several words is one argument"
run 0 "$R" --query a cat castle.png
has "a query in two words" err "clip-rank: 'cat' is not a file: it is taken as a text (a query of several words is one argument"
run 2 "$E" --formt tsv castle.png
has "the nearest option" err "unknown option '--formt': is --format meant?"
printf '%%PDF-1.4\n' >x.pdf
printf '\000\000\000\040ftypisom' >x.mp4
printf 'PAR1' >x.parquet
printf 'PK\003\004' >x.zip
printf '\3757zXZ\000' >x.tar.xz
printf '<?xml version="1.0"?><svg/>' >x.svg
run 1 "$E" x.pdf x.mp4 x.parquet x.zip x.tar.xz x.svg castle.png
for what in "x.pdf: not an image: it begins with \"%PDF-1.4\\x0a\" (a PDF document)" "(a video: mp4, mov)" "(a Parquet table)" \
    "(a zip archive)" "(an archive compressed with xz; tar, tar.gz and tar.zst are read)" "(an SVG drawing or other XML)"; do
    has "a kind of file" err "$what"
done
run 0 "$E" castle.png -o c.npy
run 0 "$E" -m "$top/tests/data/clip/small/hf-f16" castle.png -o h.npy
mkdir -p runs/r1
ln -s "$top/share/clip-emoji-6m" runs/r1/last
run 0 "$E" -m "$dir/runs/r1/last/" castle.png -o l.npy
has "the name of a run" l.json '"model_name": "r1/last"'
run 2 "$R" --query x h.npy
has "models by name" err "made with another model: found hf-f16 ("
has "models by name: the expected one" err ", expected clip-emoji-6m ("

# rows of files without keys
"$E" castle.png giraffe.png -o k0.npy && "$E" giraffe.png -o k1.npy && rm k0.keys k1.keys k0.json k1.json
run 0 "$R" --query 'a giraffe' k0.npy k1.npy
is "several files" "$(cut -f 4 out | sort | tr '\n' ' ')" "k0.npy:0 k0.npy:1 k1.npy:0 "
run 0 "$R" --query 'a giraffe' k0.npy giraffe.png
is "a file and an image" "$(cut -f 4 out | sort | tr '\n' ' ')" "giraffe.png k0.npy:0 k0.npy:1 "
run 0 "$R" --query 'a giraffe' k0.npy
is "one file" "$(cut -f 4 out | sort | tr '\n' ' ')" "0 1 "

# vlkit(7): keys in Python
if command -v python3 >/dev/null 2>&1; then
    printf 'a\342\200\250b\nc\302\205d\ne\013f\014g\034h\ni\rj\n\377\nlast\n' >texts
    run 1 "$E" --text texts -o samples.npy # \377 is not UTF-8
    cp "$evil" "$(printf '\377.png')"
    run 0 "$E" "$(printf '\377.png')" -o b.npy
    cat b.keys >>samples.keys
    sed -n '/^keys = open("samples.keys"/,/^\.Ed/p' "$top/man/vlkit.7" | sed '/^\.Ed/d; s/\\e/\\/g' >keys.py
    echo 'print(len(keys), "".join(keys).count(chr(0x2028)), ascii(keys[-1]))' >>keys.py
    run 0 python3 keys.py
    is "the keys of vlkit(7)" "$(cat out)" "6 1 '\udcff.png'"
else
    echo "skipped: there is no python3, so the line of vlkit(7) was not run"
fi
finish
