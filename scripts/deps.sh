#!/bin/sh
# deps.sh - the packages that vlkit is built from, and what each is for.
# usage: deps.sh missing   prints the packages that are missing and needed
#        deps.sh report    says what they are for
#        deps.sh install   installs all that are missing, optional ones and the tools of `make lint` too
#
# package | how to see that it is there | need or want | what it is for
table='
make|command:make|need|runs the build
gcc|command:cc|need|the C compiler
pkg-config|command:pkg-config|need|finds the libraries
libpng-dev|pc:libpng|need|reads PNG images, writes contact sheets
libjpeg62-turbo-dev|pc:libjpeg|need|reads JPEG images
zlib1g-dev|pc:zlib|need|reads .tar.gz
libzstd-dev|pc:libzstd|need|reads .tar.zst
libjansson-dev|pc:jansson|need|reads JSON: configs, lists, safetensors headers
libutf8proc-dev|pc:libutf8proc|need|Unicode classes and normal forms of texts
libopenblas-dev|pc:openblas|need|matrix products, where oneDNN is absent or not wanted
libdnnl-dev|header:dnnl.h|want|faster matrix products (oneDNN)
libwebp-dev|pc:libwebp|want|reads WebP images
libopenmpi-dev|pc:ompi-c|want|itc-train on several machines (mpirun)
git|command:git|want|make dist
clang|command:clang|want|make lint, make fuzz: the second compiler
clang-format|command:clang-format|want|make lint: the format of the source
cppcheck|command:cppcheck|want|make lint: static analysis
mandoc|command:mandoc|want|make lint: the manual pages
'

there() { # HOW
    case $1 in
    command:*) command -v "${1#*:}" >/dev/null 2>&1 ;;
    pc:*) command -v pkg-config >/dev/null 2>&1 && pkg-config --exists "${1#*:}" ;;
    header:*) echo "#include <${1#*:}>" | ${CC:-cc} -E -xc - >/dev/null 2>&1 ;;
    esac
}

missing() { # NEED|WANT|ANY
    echo "$table" | while IFS='|' read -r package how need purpose; do
        [ -n "$package" ] || continue
        [ "$1" = any ] || [ "$1" = "$need" ] || continue
        there "$how" || echo "$package|$purpose"
    done
}

# Neither root nor sudo: what is needed has to be there already, the rest can wait.
without_root() {
    list=$(missing need | cut -d'|' -f1 | tr '\n' ' ')
    if [ -z "$list" ]; then
        echo "deps.sh: neither root nor sudo: the packages above stay missing; the build can do without them" >&2
        exit 0
    fi
    echo "deps.sh: neither root nor sudo, so no packages can be installed. Have an administrator run:" >&2
    echo "  apt-get install --no-install-recommends libc6-dev $list" >&2
    exit 1
}

case ${1-} in
missing) missing need | cut -d'|' -f1 | tr '\n' ' ' ;;
report) missing need | sed 's/^\([^|]*\)|\(.*\)/missing: \1 (\2)/' ;;
install)
    list=$(missing any | cut -d'|' -f1)
    [ -n "$list" ] || exit 0
    missing any | sed 's/^\([^|]*\)|\(.*\)/missing: \1 (\2)/'
    command -v apt-get >/dev/null 2>&1 || {
        echo "deps.sh: no apt-get here; install these by your system's own means" >&2
        exit 1
    }
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        sudo=sudo
        sudo -V >/dev/null 2>&1 || without_root
    fi
    echo "installing these packages ..."
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get -qq update &&
        # shellcheck disable=SC2086 # a list of words
        $sudo apt-get -qq install -y --no-install-recommends libc6-dev $list >/dev/null
    ;;
*)
    echo "usage: deps.sh missing|report|install" >&2
    exit 2
    ;;
esac
