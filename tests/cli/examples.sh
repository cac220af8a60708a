#!/bin/sh
# examples.sh - runs the examples of the manual pages and of README.md. In every literal block of a section EXAMPLES, and
# in every block marked console, a line that begins with "$ " is a command (a "\" at its end continues it on the next
# line), and what follows it is what it prints, on both outputs. "..." is anything within a line, and alone on a
# line for all remaining lines. Each page runs in a folder of its own that holds the sample images.
top=$PWD
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT INT TERM
case $BIN in /*) ;; *) BIN=$PWD/$BIN ;; esac
PATH=$BIN:$PATH
LC_ALL=C
export PATH LC_ALL
passed=0 failed=0

# Page -> $1/N.cmd and $1/N.want. roff's \e is a backslash, \& nothing.
extract='
/^\.Sh /            { inside = ($2 == "EXAMPLES"); block = 0 }
inside && /^\.Bd -literal/ { block = 1; open = 0; next }
/^\.Ed/             { block = 0; open = 0 }
!inside || !block   { next }
{ sub(/^\\&/, ""); gsub(/\\e/, "\\") }
more                { print > (dir "/" n ".cmd"); more = /\\$/; next }
/^\$ /              { n++; open = 1; print substr($0, 3) > (dir "/" n ".cmd"); printf "" > (dir "/" n ".want"); more = /\\$/; next }
open                { print > (dir "/" n ".want") }
END                 { print n + 0 }'
# The blocks of a markdown page as a manual page has them.
markdown='/^```console/ { print ".Sh EXAMPLES"; print ".Bd -literal"; inside = 1; next }
/^```/ { if (inside) print ".Ed"; inside = 0; next }
inside { gsub(/\\/, "\\e"); print }'

# want, got -> nothing if they agree, else the first line that does not.
compare='
function fits(w, g,    i, k) { # w with "..." in it
    i = index(w, "...")
    if (!i)
        return w == g
    if (substr(w, 1, i - 1) != substr(g, 1, i - 1))
        return 0
    w = substr(w, i + 3)
    g = substr(g, i)
    for (k = 1; k <= length(g) + 1; k++)
        if (fits(w, substr(g, k)))
            return 1
    return 0
}
NR == FNR { want[++n] = $0; next }
          { got[++m] = $0 }
END {
    for (i = 1; i <= n; i++) {
        if (want[i] == "...")
            exit
        if (i > m || !fits(want[i], got[i])) {
            print "line " i ": expected \"" want[i] "\", got \"" (i > m ? "(nothing)" : got[i]) "\""
            exit
        }
    }
    if (m > n)
        print "line " n + 1 ": expected nothing, got \"" got[n + 1] "\""
}'

awk "$markdown" "$top/README.md" >"$tmp/README"
for page in "$top"/man/*.[157] "$tmp/README"; do
    name=$(basename "$page")
    mkdir "$tmp/$name.d" "$tmp/$name.d/ex" "$tmp/$name.d/run" || exit 2
    cp -r "$top/share/samples" "$tmp/$name.d/run/samples"
    n=$(awk -v dir="$tmp/$name.d/ex" "$extract" "$page")
    i=1
    while [ "$i" -le "$n" ]; do
        ex=$tmp/$name.d/ex/$i
        (cd "$tmp/$name.d/run" && sh "$ex.cmd") >"$ex.got" 2>&1 </dev/null
        touch "$ex.got"
        why=$(awk "$compare" "$ex.want" "$ex.got")
        [ -s "$ex.want" ] || [ ! -s "$ex.got" ] || why="expected nothing, got \"$(head -n 1 "$ex.got")\""
        if [ -z "$why" ]; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            echo "not ok - $name: $(cat "$ex.cmd"): $why"
        fi
        i=$((i + 1))
    done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
