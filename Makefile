# Timeshare: see README.md. No configure step; libraries by pkg-config.
#
#   make            the programs, in build/
#   make check      unit tests, corpus replay, system tests (what ./check runs)
#   make collision                      the matrix of port sharing
#   make check SAN=address,undefined    the same under sanitizers
#   make vm-check                       the same under Debian 12's own kernel
#   make fuzz FUZZ_SECONDS=600          libFuzzer, every target (needs clang)
#   make interop PEERS=DIR              third-party clients and servers
#   make bench [QUICK=1] [PEERS=DIR]    numbers, beside their baselines
#   make bench-proxy                    of them, l4proxyd's beside its peers'
#   make lint format install clean

VERSION := 0.1.0
PREFIX ?= /usr/local
CC ?= cc
PYTHON ?= /usr/bin/python3
SAN ?=
BUILD ?= $(if $(SAN),build/san,build)
# Objects apart: the room roughtime/ and the program roughtime share a name.
OBJ = $(BUILD)/obj

ROOMS := base net config keys roughtime proxy portshare
DAEMONS := roughtimed l4proxyd
TOOLS := roughtime roughtime-keys l4proxyctl portshare
PROGRAMS := $(DAEMONS) $(TOOLS)
MAIN_roughtimed := roughtime/roughtimed.c
MAIN_roughtime := roughtime/roughtime.c
MAIN_roughtime-keys := keys/roughtime-keys.c
MAIN_l4proxyd := proxy/l4proxyd.c
MAIN_portshare := portshare/portshare.c
MAIN_l4proxyctl := proxy/l4proxyctl.c
MAINS := $(foreach p,$(PROGRAMS),$(MAIN_$(p)))

PKGS := libsodium yaml-0.1 jansson libseccomp libcares
OPTIONAL := libsystemd libbpf
FOUND := $(foreach p,$(OPTIONAL),$(shell pkg-config --exists $(p) && echo $(p)))
ABSENT := $(filter-out $(FOUND),$(OPTIONAL))
HAVE := $(foreach p,$(FOUND),-DHAVE_$(shell echo $(p) | tr a-z- A-Z_))

# The programs of net/dispatch, net/fastpath and net/tracer are compiled for the
# kernel's BPF machine, which clang can do, and are embedded where they are used.
CLANG ?= clang
BPF_CLANG := $(and $(filter libbpf,$(FOUND)),$(shell command -v $(CLANG)))
HAVE += $(if $(BPF_CLANG),-DHAVE_DISPATCH -DHAVE_FASTPATH -DHAVE_TRACER)
ABSENT += $(if $(shell command -v $(CLANG)),,$(CLANG))

ifneq ($(MAKECMDGOALS),clean)
ifneq ($(shell pkg-config --exists $(PKGS) && echo yes),yes)
$(error missing libraries: $(foreach p,$(PKGS),$(shell pkg-config --exists $(p) || echo $(p))); ./check installs them)
endif
endif

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wcast-qual -Wpointer-arith -Wwrite-strings -Wvla -Wformat=2 \
	-Wsign-conversion
OPT ?= -O2 -g
HARDEN := $(if $(SAN),,-D_FORTIFY_SOURCE=3) -fstack-protector-strong -fPIE
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
CFLAGS_ALL := -std=c11 -D_GNU_SOURCE -DTIMESHARE_VERSION='"$(VERSION)"' -I. \
	$(HAVE) $(shell pkg-config --cflags $(PKGS) $(FOUND)) $(WARN) $(OPT) \
	$(HARDEN) $(SANFLAGS) $(if $(WERROR),-Werror) -pthread $(CFLAGS)
LDFLAGS_ALL := -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(SANFLAGS) -pthread $(LDFLAGS)
LIBS := $(shell pkg-config --libs $(PKGS) $(FOUND)) -lcap -lev -lresolv -lm

LIB_SRCS := $(filter-out $(MAINS) %.bpf.c,$(foreach r,$(ROOMS),$(wildcard $(r)/*.c $(r)/*/*.c)))
LIB := $(BUILD)/libtimeshare.a
TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/test_*.c))
TEST_HELPERS := $(patsubst %.c,$(OBJ)/%.o,$(filter-out tests/test_%,$(wildcard tests/*.c)))
FUZZ := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAYS := $(FUZZ:fuzz_%=$(BUILD)/tests/fuzz/replay_%)
BENCHES := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))
MANS := $(wildcard portshare/*.[1-8] keys/*.[1-8] roughtime/*.[1-8] config/*.[1-8] proxy/*.[1-8])

all: optional $(LIB) $(PROGRAMS:%=$(BUILD)/%)

optional:
	@$(foreach p,$(ABSENT),echo "note: $(p) not found; its features will say so";) true

# Another compiler or other flags than last time: everything is built anew.
FLAGS := $(BUILD)/flags
NOW := $(strip $(CC) $(filter-out -Werror,$(CFLAGS_ALL)) $(LDFLAGS_ALL) $(LIBS))
ifneq ($(MAKECMDGOALS),clean)
ifneq ($(file <$(FLAGS)),$(NOW))
$(shell mkdir -p $(BUILD))
$(file >$(FLAGS),$(NOW))
endif
endif

$(OBJ)/%.o: %.c $(FLAGS)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

BPF_FLAGS := -target bpf -O2 -g -ffreestanding -Wall -Wextra -I. \
	-I/usr/include/$(shell $(CC) -print-multiarch 2>/dev/null)
$(OBJ)/%.bpf.o: %.bpf.c $(FLAGS)
	@mkdir -p $(@D)
	$(CLANG) $(BPF_FLAGS) $(if $(WERROR),-Werror) -MMD -MP -c -o $@ $<

# Atomic operations that give back what was there: Linux 5.12.
$(OBJ)/net/fastpath.bpf.o: BPF_FLAGS += -mcpu=v3

# .incbin looks for the object from there.
EMBEDDING := $(patsubst %,$(OBJ)/net/%.o,dispatch fastpath tracer)
$(EMBEDDING): CFLAGS_ALL += -Wa,-I$(OBJ)
$(EMBEDDING): %.o: $(if $(BPF_CLANG),%.bpf.o)

$(LIB): $(LIB_SRCS:%.c=$(OBJ)/%.o)
	@rm -f $@
	$(AR) rcs $@ $^

define program
$(BUILD)/$(1): $(OBJ)/$(MAIN_$(1):.c=.o) $(LIB)
	@mkdir -p $$(@D); rm -rf $$@
	$$(CC) $$(LDFLAGS_ALL) -o $$@ $$^ $$(LIBS)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

$(BUILD)/tests/test_%: $(OBJ)/tests/test_%.o $(TEST_HELPERS) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) -lcmocka

# A fuzz target with a main() that replays files: needs no clang.
$(BUILD)/tests/fuzz/replay_%: $(OBJ)/tests/fuzz/fuzz_%.o $(OBJ)/tests/fuzz/replay.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

# OpenSSL and libipsec-mb are baselines of the benchmarks, never of a program.
$(BUILD)/bench/%: $(OBJ)/bench/%.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) $(BENCH_LIBS)
BENCH_LIBS = -lcrypto $(shell [ -e /usr/include/intel-ipsec-mb.h ] && echo -lIPSec_MB)

check: check-unit check-corpus collision check-system

test-programs: all $(TESTS) $(REPLAYS) $(BUILD)/tests/collision/mutants

check-unit: $(TESTS)
	@tests/run-unit $(BUILD)/tests

check-corpus: $(REPLAYS)
	@tests/fuzz/replay-corpus $(BUILD)/tests/fuzz

# Every cell of the matrix on this kernel, and every rule of the model spoiled
# once, which the matrix must notice.
collision: all $(BUILD)/tests/collision/mutants
	@tests/collision/run-collision $(BUILD)

MUTATED := $(patsubst %.c,$(OBJ)/mutated/%.o,$(wildcard net/portrules*.c))
$(OBJ)/mutated/%.o: %.c $(FLAGS)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -DPORTRULES_MUTATE -MMD -MP -c -o $@ $<

$(BUILD)/tests/collision/mutants: $(OBJ)/mutated/tests/collision/mutants.o $(MUTATED) $(LIB)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

$(OBJ)/portshare/matrix_page.o: portshare/matrix_page.html

# Stories side by side, as they mostly wait; without root by themselves, as
# then they share one network.
STORIES ?= $(if $(filter 0,$(shell id -u)),3,0)
check-system: all
	BUILD='$(abspath $(BUILD))' $(PYTHON) -m pytest -q -n $(STORIES) \
	    --dist loadfile tests/system

# As root: the same under Debian 12's own kernel, in a virtual machine.
vm-check:
	@tests/vm/check

FUZZ_SECONDS ?= 600
FUZZ_ONLY ?= $(FUZZ)
fuzz:
	@$(MAKE) --no-print-directory CC=clang BUILD=build/fuzz \
	    CFLAGS='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -U_FORTIFY_SOURCE' \
	    LDFLAGS='-fsanitize=address,undefined' OPT='-O1 -g' HARDEN= \
	    $(FUZZ_ONLY:%=build/fuzz/tests/fuzz/%)
	@tests/fuzz/run-fuzz build/fuzz/tests/fuzz $(FUZZ_SECONDS) $(FUZZ_ONLY)

build/fuzz/tests/fuzz/fuzz_%: build/fuzz/obj/tests/fuzz/fuzz_%.o build/fuzz/libtimeshare.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer,address,undefined -o $@ $^ $(LIBS)

PEERS ?=
interop: all
	PEERS='$(PEERS)' BUILD='$(abspath $(BUILD))' $(PYTHON) tests/interop/interop.py

# Under 25 minutes; with QUICK=1 under 4, beside the results in bench/. ONLY=KEY,…
# measures some parts anew.
bench: all $(BENCHES)
	BUILD='$(abspath $(BUILD))' PEERS='$(PEERS)' $(PYTHON) bench/everything.py \
	    $(if $(QUICK),--quick -o '$(abspath $(BUILD))/bench/results') \
	    $(if $(ONLY),--only '$(ONLY)')

# nginx stream and HAProxy take part when they are there; as root between three
# network namespaces too. PROXY_ARGS: see bench/proxy.py --help.
bench-proxy: all $(BENCHES)
	BUILD='$(abspath $(BUILD))' $(PYTHON) bench/proxy.py $(PROXY_ARGS)

# What listing all sessions costs those who use the proxy meanwhile.
bench-control: all $(BENCHES)
	BUILD='$(abspath $(BUILD))' $(PYTHON) bench/proxy_control.py

# As root: in a network namespace of its own.
bench-ranges: all
	BUILD='$(abspath $(BUILD))' $(PYTHON) bench/ranges.py --out bench/ranges.md

# As root: the kernel's path for UDP beside nginx, NAT and forwarding.
bench-fastpath: all $(BENCHES)
	BUILD='$(abspath $(BUILD))' $(PYTHON) bench/fastpath.py

lint:
	mandoc -Tlint -Wwarning $(MANS)
	clang-format --dry-run --Werror $$(git ls-files '*.[ch]')
	tests/lint-layers

format:
	clang-format -i $$(git ls-files '*.[ch]')

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin \
	    $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 \
	    $(DESTDIR)$(PREFIX)/share/man/man8 $(DESTDIR)$(PREFIX)/share/timeshare
	install -m 755 $(addprefix $(BUILD)/,$(DAEMONS)) $(DESTDIR)$(PREFIX)/sbin/
	install -m 755 $(addprefix $(BUILD)/,$(TOOLS)) $(DESTDIR)$(PREFIX)/bin/
	install -m 644 config/*.yaml $(DESTDIR)$(PREFIX)/share/timeshare/
	install -d $(DESTDIR)$(PREFIX)/share/timeshare/systemd
	install -m 644 config/systemd/* $(DESTDIR)$(PREFIX)/share/timeshare/systemd/
	for m in $(MANS); do install -m 644 $$m $(DESTDIR)$(PREFIX)/share/man/man$${m##*.}/; done

clean:
	rm -rf build

.PHONY: bench-fastpath bench-ranges all optional check test-programs vm-check check-unit check-corpus check-system collision fuzz interop bench bench-proxy bench-control lint format install clean
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
