#!/bin/sh
# install.sh - what `make install` puts into a folder: programs that find their model from anywhere, completions, a
# library that somebody else's program links, and nothing left after `make uninstall`.
. tests/cli/check.inc
mode=$(basename "$BIN")
prefix=$(sed 's|/share/vlkit$||' "build/$mode/stamp.share") # that of the build, so that nothing is compiled again
D=$dir/root
at=$D$prefix
programs="clip-embed clip-rank itc-train"

# a make of its own, independent of the one that runs the tests
make_here() { env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s MODE="$mode" PREFIX="$prefix" DESTDIR="$D" "$@"; }
modes() { find "$D" "$@" -printf '%m\n' | sort -u | tr '\n' ' '; }

(
    umask 077
    run 0 make_here install
    echo "$failed" >"$dir/failed"
)
is "install" "$(cat "$dir/failed")" 0
is "modes of folders under umask 077" "$(modes -type d)" "755 "
is "modes of programs" "$(modes -path '*/bin/*' -type f)" "755 "
is "modes of all else" "$(modes ! -path '*/bin/*' -type f)" "644 "
is "every file of share is there" "$(cd "$at/share/vlkit" && find . -type f | sort | cksum)" \
    "$(cd share && find . -type f | sort | cksum)"
gone "headers of the library alone" "$at"/include/vlkit/*/*_internal.h
cp -R "$samples" "$dir/samples"
cd "$dir" || exit 2
for p in $programs; do
    run 0 "$at/bin/$p" --version
    has "$p: a manual page" "$at/share/man/man1/$p.1" ".Nm $p"
    run 0 bash -c '. "$1" && complete -p "$2"' bash "$at/share/bash-completion/completions/$p" "$p"
done

# Completions of three shells name every option of the program's table.
for p in $programs; do
    "$BIN/$p" --print-options | cut -f 2 | sort >options
    for f in bash-completion/completions/$p zsh/site-functions/_$p fish/vendor_completions.d/$p.fish; do
        while read -r o; do
            grep -qE -- "(--|-l )$o($|[^a-z0-9-])" "$at/share/$f" || echo "$f: --$o"
        done <options
    done
done >missing
is "options that a completion lacks" "$(cat missing)" ""
fish_says() { # COMMAND LINE: what fish offers at its end
    fish --no-config -c 'source $argv[1]; complete -C $argv[2] | cut -f 1' \
        "$at/share/fish/vendor_completions.d/clip-embed.fish" "$1" | sort | tr '\n' ' '
}
if command -v fish >/dev/null 2>&1; then
    is "fish: options" "$(fish_says 'clip-embed --alpha' | tr ' ' '\n' | grep -cx -- --alpha)" 1
    is "fish: words" "$(fish_says 'clip-embed --dtype ')" "bf16 f32 "
    is "fish: files" "$(fish_says 'clip-embed -o options')" "options "
else
    echo "skipped: fish is not installed"
fi
if command -v zsh >/dev/null 2>&1; then
    for p in $programs; do
        run 0 zsh -n "$at/share/zsh/site-functions/_$p"
    done
    # what _arguments would be given
    zsh -f -c '_arguments() { print -rl -- "$@" }; . "$1"' zsh "$at/share/zsh/site-functions/_clip-embed" >out
    has "zsh: a letter and a word" out "(-m --model)-m+["
    has "zsh: words" out "f32|bf16:(f32 bf16)"
    has "zsh: files" out "--errors=["
    run 0 zsh -f -c 'fpath=("$1" $fpath); autoload -U compinit; compinit -D; print $_comps[clip-rank]' zsh "$at/share/zsh/site-functions"
    has "zsh finds the function of the program" out _clip-rank
else
    echo "skipped: zsh is not installed"
fi

run 0 "$at/bin/clip-embed" --info
has "the installed model" out "$at/share/vlkit/"
run 0 "$at/bin/itc-train" --info --config "$at/share/vlkit/recipes/vit-64/config.json" --tokenizer "$at/share/vlkit/clip-emoji-6m"
has "an installed shape" out '"image_size": [64, 64]'
run 0 "$at/bin/clip-rank" --query "a dolphin" -k 1 samples
has "a search from another folder" out samples/dolphin.png
mv "$D" "$dir/moved" # to be found beside the programs, wherever these are
run 0 "$dir/moved$prefix/bin/clip-embed" --info
has "the model has moved along" out "$dir/moved$prefix/share/vlkit/"
mv "$dir/moved" "$D"

# a program on the library: the face of a layer is <vlkit/LAYER/LAYER.h>
cat >own.c <<'C'
#include <vlkit/model/model.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    vlk_err err;
    vlk_model *m = vlk_model_open(argc > 1 ? argv[1] : NULL, &(vlk_model_options){.want = VLK_CAN_EMBED_TEXT}, &err);
    if (!m) {
        fprintf(stderr, "%s\n", err.msg);
        return 2;
    }
    printf("%zu\n", vlk_model_describe(m)->embed_dim);
    vlk_model_close(m);
    return 0;
}
C
case $mode in
sanitize) sanitize=-fsanitize=address,undefined ;;
asan) sanitize=-fsanitize=address ;;
ubsan) sanitize=-fsanitize=undefined ;;
tsan) sanitize=-fsanitize=thread ;;
*) sanitize= ;;
esac
flags=$(PKG_CONFIG_PATH=$at/lib/pkgconfig pkg-config --define-variable=prefix="$at" --cflags --libs --static vlkit)
# shellcheck disable=SC2086 # lists of words
run 0 ${CC:-cc} -std=c11 $sanitize own.c -o own $flags
run 0 ./own "$at/share/vlkit/clip-emoji-6m"
is "the width of its embeddings" "$(cat out)" 256
# that of the manual
sed -n '/^\/\* prog MODEL IMAGE/,/^\.Ed/{/^\.Ed/d;s/\\e/\\/g;p;}' "$at/share/man/man7/vlkit.7" >prog.c
# shellcheck disable=SC2086
run 0 ${CC:-cc} -std=c11 -Wall -Wextra -Werror $sanitize prog.c -o prog $flags
run 0 env ASAN_OPTIONS=detect_leaks=0 ./prog "$at/share/vlkit/clip-emoji-6m" samples/pear.jpg
tr '\n' '\t' <out | sed 's/\t$//' >vector
run 0 "$at/bin/clip-embed" samples/pear.jpg
is "the program of the manual gives the vector of clip-embed" "$(cut -f 2- out)" "$(cat vector)"

cd "$top" || exit 2
run 0 make_here install-strip
run 0 "$at/bin/clip-embed" --version
smaller=$(($(wc -c <"$at/bin/clip-embed") < $(wc -c <"$BIN/clip-embed")))
is "install-strip: a program is smaller" "$smaller" 1
echo mine >"$at/share/vlkit/mine"
run 0 make_here uninstall
is "nothing is left but what others put there" "$(find "$D" ! -type d)" "$at/share/vlkit/mine"
rm "$at/share/vlkit/mine"
run 0 make_here uninstall
gone "our folders" "$at/share/vlkit" "$at/include/vlkit"
D="$dir/a root" # blanks in a name
run 0 make_here install
at=$D$prefix
run 0 "$at/bin/clip-embed" --info
has "the model below a folder with a blank in its name" "$dir/out" "$at/share/vlkit/"
run 0 make_here uninstall
is "nothing is left there" "$(find "$D" ! -type d)" ""
finish
