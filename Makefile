# vlkit: build, check, install. `make help` lists the targets.
# CC CFLAGS CPPFLAGS LDFLAGS LDLIBS and the folders below belong to the user; ours are ALL_*.

PREFIX ?= /usr/local
DESTDIR ?=
MODE ?= release
V ?= 0
CFLAGS ?= -O2 -g
PKG_CONFIG ?= pkg-config
CLANG ?= clang
INSTALL ?= install
STRIP ?= strip
VERSION = $(shell sed -n 's/.*VLK_VERSION "\(.*\)"/\1/p' lib/base/base.h)

# GNU's names for where things go; `prefix` is PREFIX.
prefix = $(PREFIX)
exec_prefix = $(prefix)
bindir = $(exec_prefix)/bin
libdir = $(exec_prefix)/lib
includedir = $(prefix)/include
datarootdir = $(prefix)/share
datadir = $(datarootdir)
mandir = $(datarootdir)/man
bashdir = $(datadir)/bash-completion/completions
zshdir = $(datadir)/zsh/site-functions
fishdir = $(datadir)/fish/vendor_completions.d

B := build/$(MODE)
OPT_release  :=
OPT_debug    := -O0 -g3
# -O2, since a sanitized program at -O1 takes three times as long; -g1 has the lines that a report names. `sanitize` is
# asan and ubsan in one.
OPT_asan     := -O2 -g1 -fsanitize=address -fno-omit-frame-pointer
OPT_ubsan    := -O2 -g1 -fsanitize=undefined -fno-sanitize-recover=all
OPT_sanitize := $(OPT_asan) $(OPT_ubsan)
OPT_tsan     := -O2 -g1 -fsanitize=thread
ifeq ($(origin OPT_$(MODE)),undefined)
$(error MODE is release, debug, sanitize, asan, ubsan or tsan; not "$(MODE)")
endif

all:
FORCE:
quote = '$(subst ','\'',$1)'

# A stamp holds a text and is rewritten only when the text changes: what is made with the text depends on it.
differ = $(subst $1,,$2)$(subst $2,,$1)
stamp = $(eval STAMP_$1 := $(strip $2))$(if $(call differ,$(file <$B/stamp.$1),$(STAMP_$1)),$(eval $B/stamp.$1: FORCE))
$B/stamp.%:
	@mkdir -p $(@D); printf '%s\n' $(call quote,$(STAMP_$*)) >$@

# ---- what is on this machine: scripts/config.sh asks, $B/config.mk keeps the answers -----------------
# It is made again when the compiler or the flags change, and when packages come or go (LOOKED_AT).
# HAVE_DNNL= HAVE_WEBP= HAVE_MPI= build without that library.
LOOKED_AT := $(wildcard /usr/include /usr/lib/pkgconfig /usr/lib/*/pkgconfig /usr/share/pkgconfig /usr/local/include \
        /usr/local/lib/pkgconfig /usr/local/lib/*/pkgconfig $(subst :, ,$(PKG_CONFIG_PATH)))
PROBE := $(foreach v,CC PKG_CONFIG PKG_CONFIG_PATH CPPFLAGS CFLAGS LDFLAGS,$v=$(call quote,$($v)))
# (Not twice in one run: a folder may have a time in the future.)
$B/config.mk: $(if $(MAKE_RESTARTS),,$B/stamp.probe scripts/config.sh scripts/deps.sh $(LOOKED_AT))
	@$(PROBE) sh scripts/config.sh $@
ifneq ($(filter-out help deps clean dist uninstall,$(or $(MAKECMDGOALS),all)),)
$(call stamp,probe,$(PROBE))
include $B/config.mk
endif

PKGS := libpng libjpeg zlib libzstd jansson libutf8proc openblas $(if $(HAVE_WEBP),libwebp)
# With oneDNN, OpenBLAS is opened when it is asked for: its start takes 4 ms and 28 ms of another core in every process.
LINKED := $(filter-out $(if $(HAVE_DNNL),openblas),$(PKGS))
PKG_CFLAGS := $(foreach p,$(PKGS),$(CFLAGS_$p))
# Open MPI is opened when mpirun started several ranks: one file is compiled with its header, nothing is linked with it.
DNNL_LIBS := $(if $(HAVE_DNNL),-ldnnl -lgomp) $(if $(HAVE_DNNL)$(HAVE_MPI),-ldl)
PKG_LIBS := $(foreach p,$(LINKED),$(LIBS_$p)) $(DNNL_LIBS)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual \
        -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wno-format-nonliteral
ALL_CFLAGS = -std=c11 $(WARN) $(CFLAGS) $(OPT_$(MODE)) -ffp-contract=off -pthread
ALL_CPPFLAGS = -D_POSIX_C_SOURCE=200809L -D_FILE_OFFSET_BITS=64 $(if $(HAVE_DNNL),-DVLK_HAVE_DNNL=1) \
        $(if $(HAVE_WEBP),-DVLK_HAVE_WEBP=1) $(PKG_CFLAGS) $(CPPFLAGS)
ALL_LDFLAGS = $(OPT_$(MODE)) -pthread $(LDFLAGS)
ALL_LIBS = $(PKG_LIBS) $(LDLIBS) -lm

Q := $(if $(filter 1,$(V)),,@)
SILENT := $(findstring s,$(firstword -$(MAKEFLAGS)))
say = $(if $(SILENT)$(filter 1,$(V)),,@echo "  $(1)	$(2)")

# ---- what is built ---------------------------------------------------------------------------------
LIB_OBJ := $(patsubst %.c,$B/%.o,$(wildcard lib/*/*.c))
MAINS := $(basename $(notdir $(wildcard tools/*.c)))
TOOL_OBJ := $(patsubst %.c,$B/%.o,$(wildcard tools/*/*.c))
TESTS := $(patsubst tests/%.c,$B/tests/%,$(wildcard tests/unit/*.c tests/golden/*.c tests/bad/*.c tests/grad/*.c))
BENCHES := $(patsubst tests/%.c,$B/tests/%,$(wildcard tests/bench/*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
COMPLETIONS := $(foreach p,$(MAINS),$B/completions/bash/$p $B/completions/zsh/_$p $B/completions/fish/$p.fish)
OBJ := $(LIB_OBJ) $(TOOL_OBJ) $B/tests/family/toy.o $(MAINS:%=$B/tools/%.o) $(TESTS:%=%.o) $(BENCHES:%=%.o)

all: $(MAINS:%=$B/%) $(COMPLETIONS)

# Objects depend on their flags; two of them on more: where share/ is, and MPI's header.
$(call stamp,flags,$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS))
$(call stamp,link,$(CC) $(ALL_LDFLAGS) $(ALL_LIBS))
$(call stamp,share,$(datadir)/vlkit)
$(call stamp,mpi,$(if $(HAVE_MPI),-DVLK_HAVE_MPI=1 $(MPI_CFLAGS)))
$(call stamp,lib,$(LIB_OBJ))
$(call stamp,tools,$(TOOL_OBJ))
$B/tools/cli/share.o: ALL_CPPFLAGS += -DVLK_SHARE='"$(STAMP_share)"'
$B/tools/cli/share.o: $B/stamp.share
$B/lib/train/dist.o: ALL_CPPFLAGS += $(STAMP_mpi)
$B/lib/train/dist.o: $B/stamp.mpi
# Loops that are dispatched by CPU are compiled with the flags that their names promise.
ifdef HAVE_X86
$B/%_avx2.o: ISA := -mavx2 -mfma -mf16c
$B/%_avx512.o: ISA := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c
$B/%_avx512bf16.o: ISA := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c -mavx512bf16
endif
# Without vectors of the CPU a loop over 16 lanes is inlined everywhere: 34 s for one file with the checks of sanitizers.
ifneq ($(findstring -fsanitize,$(OPT_$(MODE))),)
$B/%_generic.o: ISA := -O1
endif

$B/%.o: %.c $B/stamp.flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ISA) -MMD -MP -c -o $@ $<

# What programs share is an archive too, so that a test links only what it uses.
$B/libvlk.a: $(LIB_OBJ) $B/stamp.lib
$B/libtools.a: $(TOOL_OBJ) $B/stamp.tools
$B/libvlk.a $B/libtools.a:
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcsD $@ $(filter %.o,$^)

LINK = $(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o %.a,$^) $(ALL_LIBS)
$(MAINS:%=$B/%): $B/%: $B/tools/%.o $B/libtools.a $B/libvlk.a $B/stamp.link
	$(call say,LD,$@)
	$(Q)$(LINK)

# The programs with a list of families of their own in place of lib/model/families.c.
FAMILY_MAINS := $(MAINS:%=$B/tests/family/%)
$(FAMILY_MAINS): $B/tests/family/%: $B/tools/%.o $B/tests/family/toy.o $B/libtools.a $B/libvlk.a $B/stamp.link
	$(call say,LD,$@)
	$(Q)$(LINK)
$B/tests/unit/test_family: | $(FAMILY_MAINS)

$B/tests/%: $B/tests/%.o $B/libtools.a $B/libvlk.a $B/stamp.link
	$(call say,LD,$@)
	$(Q)$(LINK)

# complete SHELL: the completion of the program that the pattern names
complete = @mkdir -p $(@D); sh scripts/completion.sh $1 $B/$* >$@.tmp && mv $@.tmp $@
$B/completions/bash/%: $B/% scripts/completion.sh
	$(call complete,bash)
$B/completions/zsh/_%: $B/% scripts/completion.sh
	$(call complete,zsh)
$B/completions/fish/%.fish: $B/% scripts/completion.sh
	$(call complete,fish)

# ---- what is run -----------------------------------------------------------------------------------
objects: $(OBJ)
tests: $(TESTS)
# With T only what it names is built; all where it holds a pattern.
CHECKED := $(if $(T),$(foreach t,$(TESTS),$(if $(strip $(foreach p,$(T),$(findstring $p,$t)$(findstring *,$p))),$t)),$(TESTS))
check: all $(CHECKED)
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
	$(Q)sh scripts/deps.sh install all

# Fuzzers link with a library of their own, made by a clang that has its runtime (asked for when it is needed).
FUZZ_SECONDS ?= 600
FUZZ_CC = $(eval FUZZ_CC := $$(shell CLANG=$$(call quote,$$(CLANG)) sh scripts/fuzz_cc.sh))$(or $(FUZZ_CC),$(error no compiler for fuzzers))
FUZZ_LIB := build/fuzzlib/libvlk.a
ifneq ($B,build/fuzzlib)
$(FUZZ_LIB): FORCE
	$(Q)$(MAKE) -s B=build/fuzzlib CC=$(call quote,$(FUZZ_CC)) $@ \
	  CFLAGS='-O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all'
endif
build/fuzz/%: tests/fuzz/%.c $(FUZZ_LIB)
	@mkdir -p $(@D)
	$(call say,FUZZ,$@)
	$(Q)$(FUZZ_CC) $(ALL_CPPFLAGS) -std=c11 -g -fsanitize=fuzzer,address,undefined -MMD -MP -o $@ $< $(FUZZ_LIB) \
	  $(ALL_LIBS) -pthread
fuzz: $(FUZZERS)
	$(Q)FUZZ_SECONDS=$(FUZZ_SECONDS) sh scripts/fuzz.sh $(FUZZERS)

# ---- where it goes: scripts/install.sh has the list ---------------------------------------------------
INSTALL_PROGRAM ?= $(INSTALL)
INSTALL_DATA ?= $(INSTALL) -m 644
PLACES = $(foreach v,B DESTDIR prefix bindir libdir includedir datadir mandir bashdir zshdir fishdir,$v=$(call quote,$($v)))
install: all $B/vlkit.pc
	$(Q)$(PLACES) INSTALL_PROGRAM=$(call quote,$(INSTALL_PROGRAM)) INSTALL_DATA=$(call quote,$(INSTALL_DATA)) \
	  sh scripts/install.sh install
install-strip: all $B/vlkit.pc
	$(Q)$(PLACES) INSTALL_PROGRAM=$(call quote,$(INSTALL_PROGRAM) -s --strip-program=$(STRIP)) \
	  INSTALL_DATA=$(call quote,$(INSTALL_DATA)) STRIP=$(call quote,$(STRIP)) sh scripts/install.sh install
uninstall:
	$(Q)$(PLACES) sh scripts/install.sh uninstall
# Folders below the prefix are written as ${prefix}/..., so that pkg-config can move them with it.
$B/vlkit.pc: scripts/vlkit.pc.in lib/base/base.h $B/stamp.pc
	$(Q)sed -e 's|@PREFIX@|$(prefix)|; s|@INCLUDEDIR@|$(includedir:$(prefix)/%=$${prefix}/%)|' \
	  -e 's|@LIBDIR@|$(libdir:$(prefix)/%=$${prefix}/%)|; s|@VERSION@|$(VERSION)|; s|@PKGS@|$(LINKED)|' \
	  -e 's|@LIBS@|$(strip $(DNNL_LIBS) -pthread -lm)|' scripts/vlkit.pc.in >$@
$(call stamp,pc,$(prefix) $(includedir) $(libdir) $(LINKED) $(DNNL_LIBS))
deb:
	$(Q)MAKE=$(call quote,$(MAKE)) sh scripts/deb.sh make
dist:
	@git rev-parse --git-dir >/dev/null || { echo "make dist packs what git has at HEAD: it needs a clone" >&2; exit 1; }
	git archive --prefix=vlkit-$(VERSION)/ -o vlkit-$(VERSION).tar.gz HEAD
clean:
	rm -rf build vlkit-*.tar.gz
help:
	@sed -n 's/^## //p' Makefile
## all          the programs and their completions, into build/MODE (MODE=release|debug|sanitize|asan|ubsan|tsan)
## check        all tests, J=N at once (the cores): no network, no Python, no large model; T='PATTERN...' by name
## conformance  the larger golden sets, where VLK_GOLDEN names their folder
## lint         layers, one-file rules, format, warnings, cppcheck, lengths, options against help and manual
## bench        speed beside the machine's limit (and peers, with PEERS=a Python that has them)
## fuzz         every parser, FUZZ_SECONDS each (600)
## demo         search, labels and a contact sheet on the sample images
## deps         installs the Debian packages that are missing, developers' tools included (quickstart: those for running)
## install      into DESTDIR and PREFIX (/usr/local) or GNU's bindir, libdir ...; install-strip without debug symbols
## uninstall    removes all that install put there
## deb          two Debian packages in build/: vlkit, libvlk-dev (of DEBFULLNAME and DEBEMAIL, where they are set)
## dist         a source archive;  clean: removes the build

.PHONY: all objects tests check conformance lint bench demo deps fuzz install install-strip uninstall deb dist clean help FORCE
.SECONDARY:
-include $(wildcard $(OBJ:.o=.d) $(FUZZERS:%=%.d))
