#!/bin/sh
# install.sh - what `make install` puts into a folder: programs that find their model from anywhere, a library that a
# program of somebody else is built with, and nothing left behind by `make uninstall`.
. tests/cli/check.inc
mode=$(basename "$BIN")
prefix=$(cat "build/$mode/prefix")
D=$dir/root
at=$D$prefix

# installs WHERE: a make of its own, whatever the make is that runs the tests
make_here() { env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s MODE="$mode" PREFIX="$prefix" DESTDIR="$D" "$@"; }

run 0 make_here install
cp -R "$samples" "$dir/samples"
cd "$dir" || exit 2
for p in clip-embed clip-rank itc-train; do
    run 0 "$at/bin/$p" --version
    has "$p: a manual page" "$at/share/man/man1/$p.1" ".Nm $p"
    run 0 bash -c '. "$1" && complete -p "$2"' bash "$at/share/bash-completion/completions/$p" "$p"
done
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
    vlk_model *m = vlk_model_open(argc > 1 ? argv[1] : NULL, &(vlk_model_options){.want_text = 1}, &err);
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
run 0 make_here uninstall
is "nothing is left" "$(find "$D" ! -type d)" ""
finish
