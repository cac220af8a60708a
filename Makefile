# vlkit: build, check, install. `make help` lists the targets.
# CC CFLAGS CPPFLAGS LDFLAGS LDLIBS PREFIX DESTDIR belong to the user; ours are ALL_*.

PREFIX ?= /usr/local
DESTDIR ?=
MODE ?= release
V ?= 0
CFLAGS ?= -O2 -g
PKG_CONFIG ?= pkg-config
CLANG ?= clang
VERSION := $(shell sed -n 's/.*VLK_VERSION "\(.*\)"/\1/p' lib/base/base.h)

B := build/$(MODE)
OPT_release :=
OPT_debug   := -O0 -g3
OPT_asan    := -O1 -g -fsanitize=address -fno-omit-frame-pointer
OPT_ubsan   := -O1 -g -fsanitize=undefined -fno-sanitize-recover=all
OPT_tsan    := -O1 -g -fsanitize=thread
ifeq ($(origin OPT_$(MODE)),undefined)
$(error MODE is release, debug, asan, ubsan or tsan; not "$(MODE)")
endif

# ---- what is on this machine (scripts/deps.sh says what each is for) -------------------------------
PKGS := libpng libjpeg zlib libzstd jansson libutf8proc openblas
NO_LIBS := $(filter help deps clean dist uninstall quickstart,$(MAKECMDGOALS))
ifeq ($(NO_LIBS),)
MISSING := $(shell sh scripts/deps.sh missing)
ifneq ($(MISSING),)
$(shell sh scripts/deps.sh report >&2)
$(error some packages are missing (above); `make deps` installs them)
endif
endif
HAVE_WEBP := $(shell $(PKG_CONFIG) --exists libwebp 2>/dev/null && echo 1)
HASH := \#
HAVE_DNNL := $(shell printf '$(HASH)include <dnnl.h>\nint main(void){return dnnl_version()==0;}\n' | $(CC) -xc - -ldnnl -o /dev/null 2>/dev/null && echo 1)
PKGS += $(if $(HAVE_WEBP),libwebp)
# Open MPI is opened when a launcher has begun several ranks: it is needed to compile one file, and never linked.
MPI := $(shell $(PKG_CONFIG) --exists ompi-c 2>/dev/null && echo 1)
MPI_CFLAGS := $(if $(MPI),-DVLK_HAVE_MPI=1 $(patsubst -I%,-isystem %,$(shell $(PKG_CONFIG) --cflags ompi-c)))
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
# With oneDNN, OpenBLAS is opened when it is asked for: its start takes 4 ms and 28 ms of another core in every process.
LATE := $(if $(HAVE_DNNL),openblas)
LINKED := $(filter-out $(LATE),$(PKGS))
DNNL_LIBS := $(if $(HAVE_DNNL),-ldnnl -lgomp) $(if $(HAVE_DNNL)$(MPI),-ldl)
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(LINKED) 2>/dev/null) $(DNNL_LIBS)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual \
        -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wno-format-nonliteral
ALL_CFLAGS = -std=c11 $(WARN) $(CFLAGS) $(OPT_$(MODE)) -ffp-contract=off -pthread
ALL_CPPFLAGS = -D_POSIX_C_SOURCE=200809L -D_FILE_OFFSET_BITS=64 $(if $(HAVE_DNNL),-DVLK_HAVE_DNNL=1) \
        $(if $(HAVE_WEBP),-DVLK_HAVE_WEBP=1) $(PKG_CFLAGS) $(CPPFLAGS)
ALL_LDFLAGS = $(OPT_$(MODE)) -pthread $(LDFLAGS)
ALL_LIBS = $(PKG_LIBS) $(LDLIBS) -lm

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@echo "  $(1)	$(2)")

# ---- what is built ---------------------------------------------------------------------------------
LIB_OBJ := $(patsubst %.c,$B/%.o,$(wildcard lib/*/*.c))
MAINS := $(basename $(notdir $(wildcard tools/*.c)))
TOOL_OBJ := $(patsubst %.c,$B/%.o,$(wildcard tools/*/*.c))
TESTS := $(patsubst tests/%.c,$B/tests/%,$(wildcard tests/unit/*.c tests/golden/*.c tests/bad/*.c tests/grad/*.c))
BENCHES := $(patsubst tests/%.c,$B/tests/%,$(wildcard tests/bench/*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
COMPLETIONS := $(MAINS:%=$B/completions/%)

all: $(MAINS:%=$B/%) $(COMPLETIONS)

# Loops that are dispatched by CPU are compiled with the flags that their names promise.
ifneq ($(filter x86_64 amd64,$(shell uname -m)),)
$B/%_avx2.o: ISA := -mavx2 -mfma -mf16c
$B/%_avx512.o: ISA := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c
$B/%_avx512bf16.o: ISA := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c -mavx512bf16
endif
# A changed PREFIX rebuilds what holds it.
$B/tools/cli/share.o: ALL_CPPFLAGS += -DVLK_PREFIX='"$(PREFIX)"'
$B/tools/cli/share.o: $B/prefix
$B/prefix: FORCE
	@mkdir -p $(@D); echo '$(PREFIX)' | cmp -s - $@ || echo '$(PREFIX)' > $@
# So does MPI that came or went (make MPI= builds without it).
$B/lib/train/dist.o: ALL_CPPFLAGS += $(MPI_CFLAGS)
$B/lib/train/dist.o: $B/mpi
$B/mpi: FORCE
	@mkdir -p $(@D); echo '$(MPI_CFLAGS)' | cmp -s - $@ || echo '$(MPI_CFLAGS)' > $@

$B/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ISA) -MMD -MP -c -o $@ $<

$B/libvlk.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# What programs share is an archive too, so that a test links only what it uses.
$B/libtools.a: $(TOOL_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(MAINS:%=$B/%): $B/%: $B/tools/%.o $B/libtools.a $B/libvlk.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ALL_LIBS)

$B/tests/%: $B/tests/%.o $B/libtools.a $B/libvlk.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ALL_LIBS)

$B/completions/%: $B/% scripts/completion.sh
	@mkdir -p $(@D)
	$(Q)sh scripts/completion.sh $B/$* > $@.tmp && mv $@.tmp $@

# ---- what is run -----------------------------------------------------------------------------------
objects: $(LIB_OBJ) $(TOOL_OBJ) $(MAINS:%=$B/tools/%.o) $(TESTS:%=%.o) $(BENCHES:%=%.o)
tests: $(TESTS)
check: all tests
	$(Q)MODE=$(MODE) sh tests/run $(J:%=-j %) $(T)
conformance: all tests
	$(Q)MODE=$(MODE) sh tests/conformance.sh
lint: all
	$(Q)B=$B sh scripts/lint.sh
bench: all $(BENCHES)
	$(Q)B=$B sh scripts/bench.sh
demo: all
	$(Q)B=$B sh scripts/demo.sh
deps:
	$(Q)sh scripts/deps.sh install

FUZZ_SECONDS ?= 600
build/fuzz/%: tests/fuzz/%.c $(wildcard lib/*/*.[ch])
	@mkdir -p $(@D)
	$(Q)$(MAKE) -s B=build/fuzzlib CC=$(CLANG) CFLAGS='-O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all' build/fuzzlib/libvlk.a
	$(call say,FUZZ,$@)
	$(Q)$(CLANG) $(ALL_CPPFLAGS) -std=c11 -g -fsanitize=fuzzer,address,undefined -o $@ $< build/fuzzlib/libvlk.a $(ALL_LIBS) -pthread
fuzz: $(FUZZERS)
	$(Q)FUZZ_SECONDS=$(FUZZ_SECONDS) sh scripts/fuzz.sh $(FUZZERS)

# ---- where it goes ---------------------------------------------------------------------------------
D := $(DESTDIR)$(PREFIX)
install: all
	mkdir -p $D/bin $D/lib/pkgconfig $D/include/vlkit $D/share/vlkit $D/share/bash-completion/completions
	mkdir -p $D/share/man/man1 $D/share/man/man5 $D/share/man/man7
	cp $(MAINS:%=$B/%) $D/bin/
	cp $B/libvlk.a $D/lib/
	set -e; for h in lib/*/*.h; do case $$h in *_internal.h|*_table.h) ;; *) d=$D/include/vlkit/$$(basename $$(dirname $$h)); \
	  mkdir -p $$d; cp $$h $$d/ ;; esac; done
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|; s|@PKGS@|$(LINKED)|; s|@LIBS@|$(DNNL_LIBS) -pthread -lm|' \
	  scripts/vlkit.pc.in > $D/lib/pkgconfig/vlkit.pc
	cp -R share/* $D/share/vlkit/
	cp $(COMPLETIONS) $D/share/bash-completion/completions/
	set -e; for m in man/*.[157]; do cp $$m $D/share/man/man$${m##*.}/; done
uninstall:
	rm -f $(MAINS:%=$D/bin/%) $D/lib/libvlk.a $D/lib/pkgconfig/vlkit.pc
	rm -f $(MAINS:%=$D/share/bash-completion/completions/%)
	rm -f $(foreach m,$(wildcard man/*.[157]),$D/share/man/man$(patsubst .%,%,$(suffix $m))/$(notdir $m))
	rm -rf $D/share/vlkit $D/include/vlkit
	@rmdir $D/share/man/man[157] $D/share/bash-completion/completions $D/share/bash-completion $D/lib/pkgconfig 2>/dev/null; \
	$(if $(filter-out /usr /usr/local,$D),rmdir $D/share/man $D/share $D/bin $D/lib $D/include $D 2>/dev/null;) :
dist:
	@git rev-parse --git-dir >/dev/null || { echo "make dist packs what git has at HEAD: it needs a clone" >&2; exit 1; }
	git archive --prefix=vlkit-$(VERSION)/ -o vlkit-$(VERSION).tar.gz HEAD
clean:
	rm -rf build vlkit-*.tar.gz
help:
	@sed -n 's/^## //p' Makefile
## all          the programs and their completions, into build/MODE (MODE=release|debug|asan|ubsan|tsan)
## check        all tests, J=N at once (the cores): no network, no Python, no large model; T='PATTERN...' by name
## conformance  the larger golden sets, where VLK_GOLDEN names their folder
## lint         layers, one-file rules, format, warnings, cppcheck, lengths, options against help and manual
## bench        speed beside the machine's limit (and peers, with PEERS=a Python that has them)
## fuzz         every parser, FUZZ_SECONDS each (600)
## demo         search, labels and a contact sheet on the sample pictures
## deps         installs the Debian packages that are missing
## install      into DESTDIR/PREFIX (/usr/local);  uninstall takes it away again
## dist clean   a source archive; an empty build

FORCE:
.PHONY: all objects tests check conformance lint bench demo deps fuzz install uninstall dist clean help FORCE
.SECONDARY:
-include $(shell find $B -name '*.d' 2>/dev/null)
