#!/bin/sh
# install.sh - puts what was built in its place, or takes it away again. One list serves both, so nothing is forgotten.
# usage: install.sh install|uninstall|list       from the Makefile, which sets the variables below
#   B                          the build folder
#   DESTDIR prefix bindir libdir includedir datadir mandir bashdir zshdir fishdir       the GNU names
#   INSTALL_PROGRAM INSTALL_DATA                                                        commands
# Modes are 755 and 644, whatever the umask.
cd "$(dirname "$0")/.." || exit 2
B=${B:-build/release}
tab=$(printf '\t')

# What is installed: kind TAB source TAB destination.
list() {
    for p in tools/*.c; do
        p=$(basename "$p" .c)
        printf '%s\t%s\t%s\n' program "$B/$p" "$bindir/$p" \
            data "$B/completions/bash/$p" "$bashdir/$p" \
            data "$B/completions/zsh/_$p" "$zshdir/_$p" \
            data "$B/completions/fish/$p.fish" "$fishdir/$p.fish"
    done
    for m in man/*.[1-9]; do
        printf 'data\t%s\t%s\n' "$m" "$mandir/man${m##*.}/${m##*/}"
    done
    find share -type f | LC_ALL=C sort | while read -r f; do
        printf 'data\t%s\t%s\n' "$f" "$datadir/vlkit/${f#share/}"
    done
    printf '%s\t%s\t%s\n' library "$B/libvlk.a" "$libdir/libvlk.a" data "$B/vlkit.pc" "$libdir/pkgconfig/vlkit.pc"
    for h in lib/*/*.h; do
        case $h in
        *_internal.h | *_table.h) ;; # of the library alone
        *) printf 'data\t%s\t%s\n' "$h" "$includedir/vlkit/${h#lib/}" ;;
        esac
    done
}

put() { # KIND SOURCE DESTINATION
    mkdir -p "$(dirname "$3")" || return
    case $1 in
    program) ${INSTALL_PROGRAM:-install} -m 755 "$2" "$3" ;;
    library) ${INSTALL_DATA:-install -m 644} "$2" "$3" && { [ -z "${STRIP-}" ] || $STRIP --strip-debug "$3"; } ;;
    *) ${INSTALL_DATA:-install -m 644} "$2" "$3" ;;
    esac
}

# Empty folders that uninstall may remove: below /usr and /usr/local our own alone, elsewhere all.
removable() { # FOLDER
    case $prefix:$1 in
    */vlkit | */vlkit/*) ;;
    /usr:* | /usr/local:*) return 1 ;;
    esac
}

# The folders of the list, and those between them and the prefix, deepest first.
folders() {
    list | cut -f 3 | while read -r f; do
        d=$(dirname "$f")
        echo "$d"
        while [ "${d#"$prefix"/}" != "$d" ]; do
            d=$(dirname "$d")
            echo "$d"
        done
    done | LC_ALL=C sort -ru
}

case ${1-} in
list) list ;;
install)
    umask 022
    list | while IFS=$tab read -r kind from to; do
        put "$kind" "$from" "${DESTDIR-}$to" || exit 1
    done
    ;;
uninstall)
    list | while IFS=$tab read -r kind from to; do
        rm -f "${DESTDIR-}$to" || exit 1
    done
    folders | while read -r d; do
        removable "$d" && [ -d "${DESTDIR-}$d" ] && rmdir "${DESTDIR-}$d" 2>/dev/null
    done
    exit 0
    ;;
*)
    echo "usage: install.sh install | uninstall | list" >&2
    exit 2
    ;;
esac
