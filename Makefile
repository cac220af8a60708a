# vlkit: build, check, install. `make help` lists the targets.
# CC CFLAGS CPPFLAGS LDFLAGS LDLIBS PREFIX DESTDIR belong to the user; ours are ALL_*.

PREFIX ?= /usr/local
MODE ?= release
V ?= 0
B := build/$(MODE)

CFLAGS ?= -O2 -g
PKG_CONFIG ?= pkg-config

OPT_debug   := -O0 -g3
OPT_asan    := -O1 -g -fsanitize=address -fno-omit-frame-pointer
OPT_ubsan   := -O1 -g -fsanitize=undefined -fno-sanitize-recover=all
OPT_tsan    := -O1 -g -fsanitize=thread

PKGS := libpng libjpeg zlib libzstd jansson libutf8proc openblas
HAVE_WEBP := $(shell $(PKG_CONFIG) --exists libwebp && echo 1)
HAVE_DNNL := $(shell printf '\#include <dnnl.h>\nint main(void){return dnnl_version()==0;}\n' | $(CC) -xc - -ldnnl -o /dev/null 2>/dev/null && echo 1)
PKGS += $(if $(HAVE_WEBP),libwebp)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual \
        -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wno-format-nonliteral
ALL_CFLAGS = -std=c11 $(WARN) $(CFLAGS) $(OPT_$(MODE)) -pthread
ALL_CPPFLAGS = -D_POSIX_C_SOURCE=200809L -D_FILE_OFFSET_BITS=64 -DVLK_PREFIX='"$(PREFIX)"' \
        $(if $(HAVE_DNNL),-DVLK_HAVE_DNNL=1) $(if $(HAVE_WEBP),-DVLK_HAVE_WEBP=1) \
        $(shell $(PKG_CONFIG) --cflags $(PKGS)) $(CPPFLAGS)
ALL_LDFLAGS = $(OPT_$(MODE)) -pthread $(LDFLAGS)
ALL_LIBS = $(shell $(PKG_CONFIG) --libs $(PKGS)) $(if $(HAVE_DNNL),-ldnnl -fopenmp) $(LDLIBS) -lm

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@echo "  $(1)	$(2)")

LIB_SRC := $(wildcard lib/*/*.c)
LIB_OBJ := $(LIB_SRC:%.c=$B/%.o)
MAINS := $(basename $(notdir $(wildcard tools/clip-*.c)))
TOOL_OBJ := $(patsubst %.c,$B/%.o,$(filter-out $(MAINS:%=tools/%.c),$(wildcard tools/*.c)))
TESTS := $(patsubst tests/%.c,$B/tests/%,$(wildcard tests/unit/*.c tests/golden/*.c tests/bad/*.c))

all: $(MAINS:%=$B/%)

# The loops that are dispatched by CPU are compiled with the flags that their names promise.
$B/%_avx2.o: ISA := $(if $(filter x86_64 amd64,$(shell uname -m)),-mavx2 -mfma -mf16c)
$B/%_avx512.o: ISA := $(if $(filter x86_64 amd64,$(shell uname -m)),-mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c)

$B/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ISA) -ffp-contract=off -MMD -MP -c -o $@ $<

$B/libvlk.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(MAINS:%=$B/%): $B/%: $B/tools/%.o $(TOOL_OBJ) $B/libvlk.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ALL_LIBS)

$B/tests/%: $B/tests/%.o $B/libvlk.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(ALL_LIBS)

tests: $(TESTS)
check: all tests
	$(Q)MODE=$(MODE) tests/run $(TESTS)

clean:
	rm -rf build

.PHONY: all tests check clean
.SECONDARY:
-include $(shell find build/$(MODE) -name '*.d' 2>/dev/null)
