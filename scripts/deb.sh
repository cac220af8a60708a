#!/bin/sh
# deb.sh - two Debian packages: vlkit (programs, manual, completions, models) and libvlk-dev (library and headers).
# usage: deb.sh make             builds with Debian's flags in build/deb, packs into build/, runs lintian where it is
#        deb.sh pack ROOT OUT    packs what `make install prefix=/usr` put into ROOT, into the folder OUT
# The same source and compiler give the same bytes: the time of all files is SOURCE_DATE_EPOCH, which is by default the
# date of scripts/deb/changelog; owners are root; names are sorted; the umask plays no part.
# DEBFULLNAME and DEBEMAIL name another maintainer than the changelog does.
# DEB_COMPRESSION=none makes packages faster (tests).
cd "$(dirname "$0")/.." || exit 2
set -e
umask 022
LC_ALL=C
export LC_ALL
here=scripts/deb

die() {
    echo "deb.sh: $*" >&2
    exit 1
}

for tool in dpkg-deb dpkg-shlibdeps dpkg-architecture; do
    command -v $tool >/dev/null 2>&1 || die "$tool is not installed (dpkg-dev; \`make deps\` installs it)"
done
version=$(sed -n 's/.*VLK_VERSION "\(.*\)"/\1/p' lib/base/base.h)
[ "$(sed -n '1s/^vlkit (\([^)]*\)).*/\1/p' $here/changelog)" = "$version" ] ||
    die "$here/changelog does not begin with version $version of lib/base/base.h"
arch=$(dpkg --print-architecture)
signature=$(sed -n '/^ -- /{s/^ -- //p;q;}' $here/changelog)
maintainer=${signature%%>*}\>
[ -z "${DEBEMAIL-}" ] || maintainer="${DEBFULLNAME:-vlkit} <$DEBEMAIL>"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(date -d "${signature#*>}" +%s)}
export SOURCE_DATE_EPOCH

# The document folder that every package has.
documents() { # PACKAGE
    doc=$work/$1/usr/share/doc/$1
    mkdir -p "$doc"
    sed 's/^$/./; s/^/ /' share/clip-emoji-6m/licenses/Unicode-3.0.txt >"$work/unicode"
    sed -e "/^@UNICODE@/{r $work/unicode" -e 'd;}' $here/copyright >"$doc/copyright"
    gzip -9n <$here/changelog >"$doc/changelog.gz"
    chmod 644 "$doc"/*
}

# What the programs need, by what they are linked with.
programs_depend() {
    mkdir -p "$work/debian"
    printf 'Source: vlkit\n\nPackage: vlkit\nArchitecture: any\n' >"$work/debian/control"
    (cd "$work" && dpkg-shlibdeps -O vlkit/usr/bin/* 2>"$work/shlibdeps.log") | sed -n 's/^shlibs:Depends=//p'
}

# What they open by name when it is asked for: the other backend, MPI.
programs_suggest() { # DEPENDS
    case $1 in *libopenblas*) ;; *) printf 'libopenblas0, ' ;; esac
    printf 'openmpi-bin'
}

# What a program needs that links the library, as its pkg-config file says.
library_depends() {
    pc=$(find "$work/libvlk-dev" -name vlkit.pc)
    names=$(sed -n 's/^Requires.private: *//p' "$pc")
    grep -q '^Libs.private:.*-ldnnl' "$pc" && names="$names dnnl.h"
    # shellcheck disable=SC2086 # a list of words
    { echo libc6-dev; sh scripts/deps.sh packages $names; } | sort -u | paste -sd, | sed 's/,/, /g'
}

pack() { # PACKAGE FIELD...: FIELD is a line of the control file
    package=$1
    shift
    tree=$work/$package
    documents "$package"
    find "$tree/usr/share/man" -type f ! -name '*.gz' -exec gzip -9n {} + 2>/dev/null || :
    mkdir "$tree/DEBIAN"
    (cd "$tree" && find usr -type f | sort | tr '\n' '\0' | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
    {
        sed -n '1,/^Priority/p' "$here/$package"
        printf '%s\n' "Version: $version" "Architecture: $arch" "Maintainer: $maintainer" \
            "Installed-Size: $(find "$tree/usr" -type f -printf '%s\n' | awk '{ kb += int(($1 + 1023) / 1024) } END { print kb }')" "$@"
        sed '1,/^Priority/d' "$here/$package"
    } >"$tree/DEBIAN/control"
    chmod 644 "$tree/DEBIAN"/*
    find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    DPKG_DEB_THREADS_MAX=1 dpkg-deb --root-owner-group "-Z${DEB_COMPRESSION:-xz}" --build "$tree" "$out/${package}_${version}_$arch.deb" >/dev/null
    echo "$out/${package}_${version}_$arch.deb"
}

pack_all() { # ROOT OUT
    root=$1 out=$2
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work/vlkit" "$work/libvlk-dev/usr" "$out"
    cp -R "$root/usr" "$work/vlkit/usr"
    (cd "$work/vlkit" && find usr/include usr/lib -type f) | while read -r f; do
        mkdir -p "$work/libvlk-dev/$(dirname "$f")"
        mv "$work/vlkit/$f" "$work/libvlk-dev/$f"
    done
    rm -r "$work/vlkit/usr/include" "$work/vlkit/usr/lib"
    depends=$(programs_depend)
    [ -n "$depends" ] || die "dpkg-shlibdeps found no libraries: $(tail -n 3 "$work/shlibdeps.log")"
    pack vlkit "Depends: $depends" "Suggests: $(programs_suggest "$depends")"
    pack libvlk-dev "Depends: $(library_depends)"
}

# Debian's own flags, without link-time optimisation.
make_all() {
    DEB_BUILD_MAINT_OPTIONS='hardening=+all optimize=-lto'
    export DEB_BUILD_MAINT_OPTIONS
    rm -rf build/deb/root
    ${MAKE:-make} -s B=build/deb MODE=release prefix=/usr libdir="/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)" \
        zshdir=/usr/share/zsh/vendor-completions DESTDIR="$PWD/build/deb/root" \
        CFLAGS="$(dpkg-buildflags --get CFLAGS)" CPPFLAGS="$(dpkg-buildflags --get CPPFLAGS)" \
        LDFLAGS="$(dpkg-buildflags --get LDFLAGS)" install-strip
    pack_all build/deb/root build
    if command -v lintian >/dev/null 2>&1; then
        lintian --allow-root --fail-on error "build/vlkit_${version}_$arch.deb" "build/libvlk-dev_${version}_$arch.deb"
        echo "lintian: no errors"
    else
        echo "the packages were not checked: lintian is not installed (\`make deps\` installs it)"
    fi
}

case ${1-}:$# in
make:1) make_all ;;
pack:3) pack_all "$2" "$3" ;;
*)
    echo "usage: deb.sh make | deb.sh pack ROOT OUT" >&2
    exit 2
    ;;
esac
