#!/bin/sh
# config.sh - what this machine has, as a makefile: libraries, the kind of CPU, MPI. The Makefile includes the result.
# usage: CC=cc PKG_CONFIG=pkg-config config.sh FILE     status 1, with the list, if needed packages are missing
out=$1
CC=${CC:-cc}
PKG_CONFIG=${PKG_CONFIG:-pkg-config}
needed="libpng libjpeg zlib libzstd jansson libutf8proc openblas"

if [ -n "$(sh scripts/deps.sh missing)" ]; then
    sh scripts/deps.sh report >&2
    echo "some packages are missing (above); \`make deps\` installs them" >&2
    exit 1
fi

# links PROGRAM LIBRARY...: a program in C compiles and links with the user's flags
links() {
    program=$1
    shift
    # shellcheck disable=SC2086 # lists of words
    printf '%s\n' "$program" | $CC ${CPPFLAGS-} ${CFLAGS-} -xc - ${LDFLAGS-} "$@" -o "$out.probe" 2>/dev/null
    status=$?
    rm -f "$out.probe"
    return $status
}
exists() { "$PKG_CONFIG" --exists "$1" 2>/dev/null; }

{
    echo "# made by scripts/config.sh; made again when the compiler, the flags or the installed libraries change"
    case $(uname -m) in
    x86_64 | amd64) echo "HAVE_X86 ?= 1" ;;
    esac
    exists libwebp && echo "HAVE_WEBP ?= 1"
    links '#include <dnnl.h>
int main(void) { return !dnnl_version(); }' -ldnnl && echo "HAVE_DNNL ?= 1"
    exists ompi-c && echo "HAVE_MPI ?= 1" &&
        echo "MPI_CFLAGS := $("$PKG_CONFIG" --cflags ompi-c | sed 's/-I/-isystem /g')"
    for p in $needed libwebp; do
        exists "$p" || continue
        echo "CFLAGS_$p := $("$PKG_CONFIG" --cflags "$p")"
        echo "LIBS_$p := $("$PKG_CONFIG" --libs "$p")"
    done
} >"$out.tmp" && mv "$out.tmp" "$out"
