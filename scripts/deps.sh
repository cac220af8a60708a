#!/bin/sh
# deps.sh - the Debian packages that vlkit needs, and what each is for. The names are those of Debian 12 and 13.
# usage: deps.sh missing          prints the packages that are missing and needed to build
#        deps.sh report           the same, one per line, with their purposes
#        deps.sh install run      installs what building and running need (quickstart)
#        deps.sh install all      installs the developers' tools too (make deps)
#        deps.sh packages PC...   prints the packages of these libraries, given by their pkg-config names
#
# package | how to see that it is installed | need, run or dev | purpose
# need: the build fails without it; run: the programs do more or run faster with it; dev: tests, lint, packages.
table='
make|command:make|need|runs the build
gcc|command:cc|need|the C compiler
libc6-dev|header:stdio.h|need|the C library
pkg-config|command:pkg-config|need|finds the libraries
libpng-dev|pc:libpng|need|reads PNG images, writes contact sheets
libjpeg-dev|pc:libjpeg|need|reads JPEG images
zlib1g-dev|pc:zlib|need|reads .tar.gz
libzstd-dev|pc:libzstd|need|reads .tar.zst
libjansson-dev|pc:jansson|need|reads JSON: configs, lists, safetensors headers
libutf8proc-dev|pc:libutf8proc|need|Unicode classes and normal forms of texts
libopenblas-dev|pc:openblas|need|matrix products where oneDNN is absent or not wanted
libdnnl-dev|header:dnnl.h|run|faster matrix products (oneDNN)
libwebp-dev|pc:libwebp|run|reads WebP images
libopenmpi-dev|pc:ompi-c|dev|itc-train on several machines
openmpi-bin|command:mpirun|dev|itc-train on several machines: mpirun
git|command:git|dev|make dist
clang|command:clang|dev|make lint, make fuzz: the second compiler
libclang-rt-dev|clang:sanitizer/asan_interface.h|dev|make fuzz: the fuzzer and the sanitizers of clang
clang-format|command:clang-format|dev|make lint: the format of the source
cppcheck|command:cppcheck|dev|make lint: static analysis
mandoc|command:mandoc|dev|make lint: the manual pages
groff-base|command:groff|dev|make lint: the manual pages as man(1) shows them
bsdextrautils|command:col|dev|make lint: the width of the manual pages
dpkg-dev|command:dpkg-shlibdeps|dev|make deb: dependencies of the packages
lintian|command:lintian|dev|make deb: checks the packages
zsh|command:zsh|dev|make check: the completions of zsh
fish|command:fish|dev|make check: the completions of fish
'
log=

installed() { # HOW
    case $1 in
    command:*) command -v "${1#*:}" >/dev/null 2>&1 ;;
    pc:*) command -v "${PKG_CONFIG:-pkg-config}" >/dev/null 2>&1 && "${PKG_CONFIG:-pkg-config}" --exists "${1#*:}" ;;
    header:*) echo "#include <${1#*:}>" | ${CC:-cc} ${CPPFLAGS-} -E -xc - >/dev/null 2>&1 ;;
    clang:*) echo "#include <${1#*:}>" | ${CLANG:-clang} -E -xc - >/dev/null 2>&1 ;;
    esac
}

missing() { # LEVEL...: package|purpose, one per line
    echo "$table" | while IFS='|' read -r package how level purpose; do
        [ -n "$package" ] || continue
        case " $* " in
        *" $level "*) installed "$how" || echo "$package|$purpose" ;;
        esac
    done
}

names() { cut -d'|' -f1 | tr '\n' ' ' | sed 's/ $//'; }

# Packages of libraries; unknown names are left out.
packages() { # PC...
    echo "$table" | while IFS='|' read -r package how level purpose; do
        case " $* " in
        *" ${how#*:} "*) echo "$package" ;;
        esac
    done
}

die() {
    echo "deps.sh: $*" >&2
    exit 1
}

# Runs apt-get, which says much on both outputs; on failure shows the end of it.
quietly() { # WHAT COMMAND...
    what=$1
    shift
    "$@" >"$log" 2>&1 && return
    tail -n 15 "$log" >&2
    die "$what failed (above)"
}

# Without root and sudo: what the build needs has to be there already; the rest can wait.
without_root() { # PACKAGE...
    required=$(missing need | names)
    [ -n "$required" ] || {
        echo "neither root nor sudo, so these packages stay missing, and the build continues without them: $*"
        exit 0
    }
    die "neither root nor sudo, so no packages can be installed. Have an administrator run:
  apt-get install --no-install-recommends $*"
}

# The sizes that apt-get would tell: "68 packages, 77.1 MB to download, 367 MB on disk"
sizes() { # PACKAGE...
    LC_ALL=C apt-get install --no-install-recommends --assume-no "$@" 2>/dev/null | awk '
        / newly installed,/ { for (i = 2; i < NF; i++) if ($i == "newly") n = $(i - 1) }
        /^Need to get / { sub(/^Need to get /, ""); sub(/ of archives.*/, ""); sub(/.*\//, ""); get = $0 }
        /^After this operation, / { disk = $4 " " $5 }
        END { if (n) printf "%s packages, %s to download, %s on disk\n", n, get, disk }'
}

install() { # LEVEL...
    wanted=$(missing "$@" | names)
    [ -n "$wanted" ] || {
        echo "all packages are installed"
        exit 0
    }
    command -v apt-get >/dev/null 2>&1 ||
        die "there is no apt-get on this system; install by its own means what these Debian packages hold: $wanted"
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        sudo=sudo
        # shellcheck disable=SC2086 # a list of words
        sudo -V >/dev/null 2>&1 || without_root $wanted
    fi
    log=$(mktemp) || exit 1
    trap 'rm -f "$log"' EXIT
    quietly "apt-get update" $sudo apt-get -q update
    list=
    for p in $wanted; do
        if apt-cache show "$p" >/dev/null 2>&1; then
            list="$list $p"
        elif missing need | grep -q "^$p|"; then
            die "apt-get knows no package $p, which the build needs"
        else
            echo "not available on this system, and left out: $p"
        fi
    done
    [ -n "$list" ] || exit 0
    echo "packages to install:$list"
    # shellcheck disable=SC2086
    echo "with what they depend on: $(sizes $list)"
    # shellcheck disable=SC2086
    quietly "apt-get install" $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $list
}

case ${1-}:${2-} in
missing:) missing need | names ;;
report:) missing need | sed 's/^\([^|]*\)|\(.*\)/missing: \1 (\2)/' ;;
install:run) install need run ;;
install:all) install need run dev ;;
packages:*)
    shift
    packages "$@"
    ;;
*)
    echo "usage: deps.sh missing | report | install run | install all | packages PC..." >&2
    exit 2
    ;;
esac
