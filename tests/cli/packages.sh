#!/bin/sh
# packages.sh - the Debian packages: what is in them, that two runs give the same bytes, that the programs run from an
# unpacked one, and that a program links with the other. Without root; the programs are those of the tests.
. tests/cli/check.inc
mode=$(basename "$BIN")
if [ "$mode" != release ]; then
    echo "skipped: packages are made of release builds"
    finish
fi
for tool in dpkg-shlibdeps dpkg-deb; do
    command -v $tool >/dev/null 2>&1 && continue
    echo "skipped: $tool is not installed (dpkg-dev)"
    finish
done
prefix=$(sed 's|/share/vlkit$||' "build/$mode/stamp.share")
unset SOURCE_DATE_EPOCH DEBEMAIL DEBFULLNAME
export DEB_COMPRESSION=none
run 0 env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s MODE="$mode" PREFIX="$prefix" DESTDIR="$dir/tree" install-strip
mkdir "$dir/root"
mv "$dir/tree$prefix" "$dir/root/usr"

# twice, with another umask and other times of the files
run 0 sh scripts/deb.sh pack "$dir/root" "$dir/one"
is "two packages" "$(sed 's/.*\///; s/_.*//' "$dir/out" | tr '\n' ' ')" "vlkit libvlk-dev "
find "$dir/root" -exec touch -d 2001-02-03 {} +
(umask 077 && sh scripts/deb.sh pack "$dir/root" "$dir/two") >/dev/null 2>&1
cd "$dir" || exit 2
mv one/vlkit_*.deb vlkit.deb
mv one/libvlk-dev_*.deb dev.deb
same "the programs' package, twice" vlkit.deb two/vlkit_*.deb
same "the library's package, twice" dev.deb two/libvlk-dev_*.deb

field() { dpkg-deb -f "$1.deb" "$2"; }
is "version" "$(field vlkit Version) $(field dev Version)" \
    "$(sed -n 's/.*VLK_VERSION "\(.*\)"/\1 \1/p' "$top/lib/base/base.h")"
is "architecture" "$(field vlkit Architecture)" "$(dpkg --print-architecture)"
for need in libc6 libpng16 libjansson4 libzstd1; do
    case " $(field vlkit Depends)" in *" $need"*) pass ;; *) fail "vlkit does not depend on $need" ;; esac
done
for need in libc6-dev libpng-dev libjansson-dev zlib1g-dev; do
    case " $(field dev Depends)," in *" $need,"*) pass ;; *) fail "libvlk-dev does not depend on $need" ;; esac
done
is "owner, sizes, modes" "$(dpkg-deb -c vlkit.deb | awk '{ print $2, substr($1, 1, 1) != "d" ? $1 : "" }' | sort -u | tr '\n' ';')" \
    "root/root ;root/root -rw-r--r--;root/root -rwxr-xr-x;"

dpkg-deb -x vlkit.deb clean
dpkg-deb -e vlkit.deb clean/DEBIAN
run 0 sh -c 'cd clean && md5sum -c --quiet DEBIAN/md5sums'
is "a sum for every file" "$(lines clean/DEBIAN/md5sums)" "$(find clean/usr -type f | wc -l | tr -d ' ')"
for f in bin/clip-embed bin/clip-rank bin/itc-train share/man/man1/clip-embed.1.gz share/man/man7/vlkit.7.gz \
    share/doc/vlkit/copyright share/doc/vlkit/changelog.gz share/vlkit/clip-emoji-6m/model.safetensors; do
    [ -f "clean/usr/$f" ] && pass || fail "vlkit has no $f"
done
has "copyright" clean/usr/share/doc/vlkit/copyright "UNICODE LICENSE V3"
is "nothing of the library" "$(find clean/usr -name '*.a' -o -name '*.h' -o -name '*.pc')" ""
run 0 env -i PATH=/usr/bin:/bin LC_ALL=C clean/usr/bin/clip-rank --query "a dolphin" -k 1 clean/usr/share/vlkit/samples
has "a search with the package alone" out samples/dolphin.png

dpkg-deb -x dev.deb dev
is "no program" "$(find dev/usr -perm -100 -type f)" ""
[ -f dev/usr/lib/libvlk.a ] && pass || fail "libvlk-dev has no libvlk.a"
[ -f dev/usr/include/vlkit/model/model.h ] && pass || fail "libvlk-dev has no model.h"
[ -f dev/usr/share/doc/libvlk-dev/copyright ] && pass || fail "libvlk-dev has no copyright file"

# another time and maintainer are the user's
cd "$top" || exit 2
run 0 env SOURCE_DATE_EPOCH=86400 DEBEMAIL=me@my.example sh scripts/deb.sh pack "$dir/root" "$dir/three"
is "SOURCE_DATE_EPOCH" "$(dpkg-deb -c "$dir"/three/vlkit_*.deb | awk '{ print $4 }' | sort -u)" 1970-01-02
is "DEBEMAIL" "$(dpkg-deb -f "$dir"/three/vlkit_*.deb Maintainer)" "vlkit <me@my.example>"
finish
