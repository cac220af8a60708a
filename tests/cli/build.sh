#!/bin/sh
# build.sh - the Makefile: what is built again after a change and what is not, what is said where packages are missing,
# that `make help` names every target, and that `make bench` says which peers it cannot run.
# The Makefile is tried in a copy of the tree with the lowest layer of the library alone.
. tests/cli/check.inc
cp -R Makefile scripts "$dir" && mkdir "$dir/lib" "$dir/tools" "$dir/pc" && cp -R lib/base "$dir/lib" || exit 2
cd "$dir" || exit 2
PKG_CONFIG_PATH=$dir/pc
export PKG_CONFIG_PATH
lib=build/release/libvlk.a
obj=build/release/lib/base/number.o
make_here() { env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s MODE=release "$@"; }
members() { ar t $lib | tr '\n' ' '; }

# sources and headers that come and go
run 0 make_here $lib
is "nothing is said" "$(cat out err)" ""
run 0 make_here -q $lib
before=$(members)
echo 'int vlk_extra(void);' >lib/base/extra.h
printf '#include "extra.h"\nint vlk_extra(void) { return 0; }\n' >lib/base/extra.c
cp lib/base/number.c kept.c
sed 's/^#include "base.h"/&\n#include "extra.h"/' kept.c >lib/base/number.c
grep -q extra lib/base/number.c || fail "number.c does not include base.h as this test expects"
run 0 make_here $lib
is "a new source" "$(members | tr ' ' '\n' | grep -c '^extra.o$')" 1
run 0 make_here -q $lib
echo 'extern int vlk_another;' >>lib/base/extra.h
run 1 make_here -q $obj
run 0 make_here $lib
cp kept.c lib/base/number.c
rm lib/base/extra.h lib/base/extra.c
run 0 make_here $lib
is "a removed source and its header" "$(members)" "$before"

# flags, compiler, packages
run 0 make_here -q $obj
run 1 make_here -q CFLAGS=-O1 $obj
run 0 make_here CFLAGS=-O1 $obj
run 0 make_here -q CFLAGS=-O1 $obj
run 1 make_here -q $obj
run 0 make_here $obj
sleep 0.01
cat >pc/ompi-c.pc <<'PC'
Name: ompi
Description: a package that appears
Version: 1
Cflags: -I/nowhere/mpi
PC
run 0 make_here $obj
has "a package that appeared" build/release/config.mk "MPI_CFLAGS := -isystem /nowhere/mpi"
run 0 make_here -q $obj
touch -d 2100-01-01 pc
run 0 timeout 60 env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s MODE=release $obj
touch pc
run 0 make_here -n HAVE_DNNL= HAVE_WEBP= $obj
is "libraries that are not wanted" "$(grep -cE 'VLK_HAVE_(DNNL|WEBP)' out)" 0
run 2 make_here PKG_CONFIG=/nowhere/pkg-config $obj
has "missing packages" err "missing: libpng-dev (reads PNG images"
has "what to do" err "make deps"

# help: needs no libraries, and names every target
run 0 make_here PKG_CONFIG=/nowhere/pkg-config help
for t in $(sed -n 's/^\.PHONY://p' Makefile); do
    case $t in
    objects | tests | FORCE) ;; # inner ones
    *) grep -qE "(^|[ ;])$t([ ;:]|\$)" out || fail "make help does not name $t" ;;
    esac
done
run 2 make_here MODE=fast $obj
has "a mode that does not exist" err "MODE is release, debug, sanitize, asan, ubsan or tsan"
run 0 make_here clean
gone "make clean" build

# bench: peers that cannot run are reported with the reason
cd "$top" || exit 2
bench() { env -u BF16 B="$BIN" MODELS=" " PEERS="$1" sh scripts/bench.sh tower; }
run 0 bench ""
has "no Python" "$dir/out" "peers: none measured: PEERS names no Python"
run 0 bench /nowhere/python
has "a Python that does not exist" "$dir/out" "peers: none measured: /nowhere/python is not a command"
printf '#!/bin/sh\necho trace >&2\necho "no torch here" >&2\nexit 1\n' >"$dir/python"
chmod +x "$dir/python"
run 0 bench "$dir/python"
has "a Python without modules" "$dir/out" "peers: ov-f32 cannot run: no torch here"
has "none is left" "$dir/out" "peers: none"
run 2 env B="$BIN" sh scripts/bench.sh fast
has "an unknown part" "$dir/err" "not fast"
finish
