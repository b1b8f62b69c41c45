# relayd: one Makefile, no recursion but for the sanitizer variants.
# Every folder becomes one archive, so a new file needs no line here.
#
#   make            build/relayd, build/relayctl, build/relay-sendmail
#   make run        install what is missing, build, show one message's way
#   make test       install what the tests need, run all of them
#   make bench | soak | fuzz | static | install | deps
#   make layers | sizes | format | analyze | coverage | valgrind    checks of the code itself

B      ?= build
SAN    ?=
PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
DESTDIR ?=
# make install SENDMAIL=/usr/sbin: links sendmail and mailq there, where no sendmail is
SENDMAIL ?=
VERSION := $(shell cat .version 2>/dev/null || echo 0.1)

CC ?= cc
# make V=1 shows the commands
V ?=
Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1) $@")
PKGS := libevent_core libevent_pthreads libssl libcrypto libconfig libunbound libpcre2-8 \
	jansson libidn2 libseccomp libgsasl libxcrypt zlib
# asked for when first needed, and once: `make deps all` installs pkg-config before
PKG_CFLAGS = $(eval PKG_CFLAGS := $(call pkg,--cflags))$(PKG_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $(call pkg,--libs))$(PKG_LIBS)
pkg = $(shell pkg-config $(1) $(PKGS))$(if $(filter-out 0,$(.SHELLSTATUS)),$(error \
	libraries are missing; make deps installs them))
# and with -j too the packages come before what needs them
ifneq ($(filter deps test-deps,$(MAKECMDGOALS)),)
.NOTPARALLEL:
endif

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum \
	-Wvla -Wformat=2 -Wconversion -Wundef -Werror
HARDEN := -fPIE -fstack-protector-strong -fstack-clash-protection -fno-strict-aliasing
ifeq ($(shell uname -m),x86_64)
HARDEN += -fcf-protection
endif
LDHARDEN := -pie -Wl,-z,relro,-z,now,-z,noexecstack
CFLAGS ?= -O2 -g
O := $(B)
ifeq ($(SAN),)
HARDEN += -D_FORTIFY_SOURCE=3
endif
ifeq ($(SAN),asan)
O := $(B)/asan
CFLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
LDHARDEN += -fsanitize=address,undefined
endif
ifeq ($(SAN),tsan)
O := $(B)/tsan
CFLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
LDHARDEN += -fsanitize=thread
endif
ifeq ($(SAN),fuzz)
O := $(B)/fuzz
CC := clang
CFLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link
LDHARDEN += -fsanitize=address,undefined
endif

ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -I. -DRELAYD_VERSION='"$(VERSION)"' $(WARN) $(HARDEN) \
	$(CFLAGS) $(PKG_CFLAGS) -MMD -MP
LIBS = $(PKG_LIBS) -lopendkim -lpthread
# libopendkim's call of this function must find ours (dkim/keys.h)
EXPORT := -Wl,--export-dynamic-symbol=PEM_read_bio_PrivateKey

# What has a main(); all else goes into the archives.
MAINS := relayd/relayd.c relayd/relayctl.c relayd/sendmail.c relayd/catcher.c
LIBSRC := $(filter-out $(MAINS),$(wildcard relayd/*.c))
ARCHIVES := $(O)/librelay.a $(O)/libsmtp.a $(O)/libdkim.a $(O)/libqueue.a $(O)/libconf.a \
	$(O)/libbase.a
obj = $(patsubst %.c,$(O)/obj/%.o,$(1))

PROGRAMS := $(O)/relayd $(O)/relayctl $(O)/relay-sendmail $(O)/relay-catcher


.PHONY: man bench-build coverage valgrind
.PHONY: all run test unit deps test-deps tsan-build clean bench soak fuzz fuzz-build static install layers sizes \
	format analyze FORCE
all: $(PROGRAMS)

$(O)/relayd: $(O)/obj/relayd/relayd.o $(ARCHIVES)
$(O)/relayctl: $(O)/obj/relayd/relayctl.o $(ARCHIVES)
$(O)/relay-sendmail: $(O)/obj/relayd/sendmail.o $(ARCHIVES)
$(O)/relay-catcher: $(O)/obj/relayd/catcher.o $(ARCHIVES)
# it runs once per message: the less it loads, the better
$(O)/relay-sendmail: LIBS = -lssl -lcrypto -lconfig
$(O)/relay-sendmail: EXPORT =
$(PROGRAMS):
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDHARDEN) $(EXPORT) -o $@ $(filter %.o,$^) $(ARCHIVES) $(LIBS)

$(O)/librelay.a: $(call obj,$(LIBSRC))
$(O)/libsmtp.a: $(call obj,$(wildcard smtp/*.c))
$(O)/libdkim.a: $(call obj,$(wildcard dkim/*.c))
$(O)/libqueue.a: $(call obj,$(wildcard queue/*.c))
$(O)/libconf.a: $(call obj,$(wildcard conf/*.c))
$(O)/libbase.a: $(call obj,$(wildcard relayd/base/*.c))
$(O)/lib%.a:
	@mkdir -p $(@D)
	$(call say,AR  )
	$(Q)rm -f $@ && ar rcs $@ $(filter %.o,$^)

$(O)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC  )
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

# tests/unit/test_NOUN.c: one cmocka program each; tests/unit/*.c else is shared, as an
# archive, so that a test that plays a part itself does not get the real one with it.
UNIT := $(patsubst %.c,$(O)/%,$(wildcard tests/unit/test_*.c))
UNITLIB := $(O)/libunit.a
$(UNITLIB): $(call obj,$(filter-out $(wildcard tests/unit/test_*.c),$(wildcard tests/unit/*.c)))
unit: $(UNIT)
$(O)/tests/unit/test_%: $(O)/obj/tests/unit/test_%.o $(UNITLIB) $(ARCHIVES)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDHARDEN) $(EXPORT) -o $@ $(filter %.o,$^) $(UNITLIB) $(ARCHIVES) \
		$(LIBS) -lcmocka

# tests/fuzz/fuzz_NOUN.c: libFuzzer targets; tests/fuzz/corpus/NOUN/ their seeds.
# With other variants than fuzz they link replay.c, which runs the corpus once.
FUZZ := $(patsubst %.c,$(O)/%,$(wildcard tests/fuzz/fuzz_*.c))
fuzz-build: $(FUZZ)
$(O)/tests/fuzz/fuzz_%: $(O)/obj/tests/fuzz/fuzz_%.o $(ARCHIVES) $(if $(filter fuzz,$(SAN)),,$(O)/obj/tests/fuzz/replay.o)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDHARDEN) $(if $(filter fuzz,$(SAN)),-fsanitize=fuzzer) $(EXPORT) \
		-o $@ $(filter %.o,$^) $(ARCHIVES) $(LIBS)

deps:
	tests/deps.sh build
test-deps:
	tests/deps.sh test

# Everything: the code's own checks, then unit, dialogue, corpus and end-to-end
# tests under ASan and UBSan, what has threads under TSan, a life of the daemon among it. End
# to end once more with what users run: only there the sandbox is as narrow as it can be.
# Both compilers have to take the code.
# `make test K=word` runs what has the word in its name.
K ?=
test: test-deps
	$(MAKE) --no-print-directory layers sizes
	$(MAKE) --no-print-directory all static $(B)/tests/unit/test_dkim
	$(MAKE) --no-print-directory SAN=asan all unit fuzz-build
	$(MAKE) --no-print-directory SAN=tsan tsan-build
	$(MAKE) --no-print-directory B=$(B)/clang CC=clang CFLAGS=-O1 all unit fuzz-build
	RELAYD_BUILD=$(abspath $(B))/asan $(PYTHON) tests/run.py -k "$(K)" \
		$(patsubst %.c,$(B)/asan/%,$(wildcard tests/unit/test_*.c)) \
		$(patsubst %,$(B)/tsan/tests/unit/test_%,$(TSAN_TESTS)) \
		--replay $(patsubst %.c,$(B)/asan/%,$(wildcard tests/fuzz/fuzz_*.c)) \
		--python tests/e2e tests/crash --again $(B) tests/e2e

TSAN_TESTS := pool spool spool_fault carry reader recover recover_kept recover_segments dkim_keys \
	login dns
tsan-build: $(O)/relayd $(patsubst %,$(O)/tests/unit/test_%,$(TSAN_TESTS))

# Lines and branches that unit tests and corpora reach; end-to-end tests come on top.
# Those of earlier runs do not count.
coverage: test-deps
	$(MAKE) --no-print-directory B=$(B)/coverage CFLAGS="-O1 -g --coverage" all unit fuzz-build
	find $(B)/coverage -name '*.gcda' -delete
	$(PYTHON) tests/run.py $(patsubst %.c,$(B)/coverage/%,$(wildcard tests/unit/test_*.c)) \
		--replay $(patsubst %.c,$(B)/coverage/%,$(wildcard tests/fuzz/fuzz_*.c))
	tests/coverage.sh $(B)/coverage

# Memcheck and helgrind see what sanitizers do not: bytes that nobody wrote, locks.
valgrind: test-deps
	$(MAKE) --no-print-directory all unit
	RELAYD_BUILD=$(abspath $(B)) $(PYTHON) tests/valgrind.py \
		$(patsubst %.c,$(B)/%,$(wildcard tests/unit/test_*.c)) \
		--threads $(patsubst %,$(B)/tests/unit/test_%,$(TSAN_TESTS))

# Beside Postfix, in one run; the table is left in $(B)/bench.txt as well.
BENCH := $(patsubst %.c,$(O)/%,$(wildcard tests/bench/bench_*.c))
bench-build: $(BENCH)
$(O)/tests/bench/bench_%: $(O)/obj/tests/bench/bench_%.o $(ARCHIVES)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDHARDEN) $(EXPORT) -o $@ $(filter %.o,$^) $(ARCHIVES) $(LIBS)
bench: test-deps
	$(MAKE) --no-print-directory all bench-build
	$(PYTHON) tests/bench/bench.py --build $(B)

# The crash tests at full size, 10,000 spoiled spools, and a start with a million messages.
soak: test-deps
	$(MAKE) --no-print-directory all bench-build
	$(MAKE) --no-print-directory SAN=asan all unit
	RELAYD_NO_SKIPS=1 RELAYD_SOAK=1 RELAYD_BUILD=$(abspath $(B))/asan $(PYTHON) tests/run.py \
		$(patsubst %,$(B)/asan/tests/unit/test_%,scenario_limiter power rubbish) \
		--python tests/crash \
		--alone $(patsubst %,tests/crash/test_%.py,cost crowds crowds_tls faults kill many starved)
	$(PYTHON) tests/bench/login.py --build $(B)
	$(PYTHON) tests/bench/bench.py --build $(B) --out $(B)/soak-start.txt --only start \
		--recovered 1000000

# Every fuzz target for FUZZ_SECONDS each; new inputs stay under $(B)/fuzz.
FUZZ_SECONDS ?= 600
fuzz: test-deps
	$(MAKE) --no-print-directory SAN=fuzz fuzz-build
	tests/fuzz/run.sh $(B)/fuzz $(FUZZ_SECONDS)

# One binary that needs nothing of the machine, for shared hosts.
static: $(O)/relay-sendmail.static
$(O)/relay-sendmail.static: relayd/sendmail.c $(O)/librelay.a $(O)/libsmtp.a $(O)/libbase.a
	$(call say,LINK)
	$(Q)$(CC) $(ALL_CFLAGS) -DRELAYD_STATIC -static-pie -Wl,-z,relro,-z,now,-z,noexecstack \
		-o $@ $< $(filter %.a,$^) -lssl -lcrypto -lconfig

run: deps
	$(MAKE) --no-print-directory all
	BUILD=$(O) tests/demo.sh

# ---- installing ----

# where the programs, the units and the manual look for it, whatever PREFIX is
ETC := /etc/relayd
man: $(B)/man/relayctl.8 $(B)/man/relayd.conf.5 $(B)/man/relayd.8 $(B)/man/relay-sendmail.1
$(B)/man/relayctl.8: $(B)/relayctl relayd/man/relayctl.8.head relayd/man/relayctl.8.tail
	@mkdir -p $(@D)
	(cat relayd/man/relayctl.8.head; $(B)/relayctl manual; cat relayd/man/relayctl.8.tail) >$@
$(B)/man/relayd.conf.5: $(B)/relayd relayd/man/relayd.conf.5.head relayd/man/relayd.conf.5.tail
	@mkdir -p $(@D)
	(cat relayd/man/relayd.conf.5.head; $(B)/relayd -m; cat relayd/man/relayd.conf.5.tail) >$@
$(B)/man/%: relayd/man/%
	@mkdir -p $(@D)
	cp $< $@

install: all man
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/share/man/man1 \
		$(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man8 \
		$(DESTDIR)$(PREFIX)/share/relayd/examples $(DESTDIR)$(ETC)/replies.d \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions \
		$(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/sysusers.d \
		$(DESTDIR)$(PREFIX)/lib/tmpfiles.d
	# one that is there has been opened to the daemon's group (relayd.tmpfiles)
	[ -d $(DESTDIR)$(ETC)/dkim ] || install -d -m 0700 $(DESTDIR)$(ETC)/dkim
	install $(B)/relayd $(B)/relayctl $(B)/relay-sendmail $(DESTDIR)$(PREFIX)/sbin/
	install -m 0644 $(B)/man/relay-sendmail.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 0644 $(B)/man/relayd.conf.5 $(DESTDIR)$(PREFIX)/share/man/man5/
	install -m 0644 $(B)/man/relayd.8 $(B)/man/relayctl.8 $(DESTDIR)$(PREFIX)/share/man/man8/
	install -m 0644 conf/relayd.conf conf/replies.conf conf/delist.conf $(DESTDIR)$(PREFIX)/share/relayd/
	install -m 0644 conf/examples/* $(DESTDIR)$(PREFIX)/share/relayd/examples/
	$(B)/relayctl completion >$(B)/relayctl.completion
	install -m 0644 $(B)/relayctl.completion \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/relayctl
	install -m 0644 relayd/relayd.service $(DESTDIR)$(PREFIX)/lib/systemd/system/
	sed -i 's,/usr/local/sbin,$(PREFIX)/sbin,' $(DESTDIR)$(PREFIX)/lib/systemd/system/relayd.service \
		$(DESTDIR)$(PREFIX)/share/relayd/examples/*
	install -m 0644 relayd/relayd.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/
	install -m 0644 relayd/relayd.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/relayd.conf
	install -m 0644 relayd/relayd.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/relayd.conf
	[ -e $(DESTDIR)$(ETC)/relayd.conf ] || \
		install -m 0640 conf/relayd.conf $(DESTDIR)$(ETC)/relayd.conf
	$(if $(SENDMAIL),$(link_sendmail))

# A sendmail that is there is another program's, and so is the queue then, or this link.
define link_sendmail
install -d $(DESTDIR)$(SENDMAIL)
if [ -e $(DESTDIR)$(SENDMAIL)/sendmail ] || [ -L $(DESTDIR)$(SENDMAIL)/sendmail ]; then \
	echo "$(SENDMAIL)/sendmail is there already: nothing is linked to relay-sendmail"; \
else \
	ln -s $(PREFIX)/sbin/relay-sendmail $(DESTDIR)$(SENDMAIL)/sendmail && \
	{ [ -e $(DESTDIR)$(SENDMAIL)/mailq ] || \
		ln -s $(PREFIX)/sbin/relay-sendmail $(DESTDIR)$(SENDMAIL)/mailq; }; \
fi
endef

clean:
	rm -rf $(B)

layers:
	tests/layers.sh
sizes:
	tests/sizes.sh
analyze: test-deps
	tests/analyze.sh $(B)/analyze $(filter-out -MMD -MP $(WARN) $(HARDEN) $(CFLAGS),$(ALL_CFLAGS))
# The lines that a change touches: tables are set by hand.
format:
	git clang-format --extensions c,h $(BASE)

-include $(shell find $(O)/obj -name '*.d' 2>/dev/null)
.SECONDARY:
