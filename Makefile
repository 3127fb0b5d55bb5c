# Observ: build, test, install. `make help` lists the targets.
#
# Knobs (on the command line or in the environment), with their defaults:
#   V=             1: show each command
#   CC=cc CXX=c++  compilers; gcc and clang are supported
#   CFLAGS=-g      added to; OPT=-O2 is apart
#   SAN=           sanitizers, e.g. address,undefined
#   BUILD=build    where everything that is made goes
#   PYTHON=/usr/bin/python3, PYTEST_ARGS=   for the system and browser tests, e.g. PYTEST_ARGS='-k reload'
#   TEST_WORKERS=4   system tests that run at once
#   FUZZ_SECONDS=60   how long `make fuzz` spends on each target
#   BENCH_SECONDS=600 how long `make bench` measures
#   SOAK_SECONDS=3600 how long `make soak` goes on
#   DEMO_PORT=8080    where `make demo` listens on loopback
#   DESTDIR= prefix=/usr/local sysconfdir=/etc bindir libdir includedir datadir hubdir unitdir
#   pythondir=     where logcore.py goes; default: where PYTHON looks for what is below prefix

VERSION := 0.1.0
SONAME  := liblogcore.so.0

BUILD      ?= build
CC         ?= cc
CXX        ?= c++
SAN        ?=
prefix     ?= /usr/local
sysconfdir ?= /etc
bindir     ?= $(prefix)/bin
libdir     ?= $(prefix)/lib
includedir ?= $(prefix)/include
datadir    ?= $(prefix)/share
hubdir     ?= $(prefix)/libexec/observ
unitdir    ?= $(sysconfdir)/systemd/system
# Debian's Python has one folder for all versions below /usr, and one for each elsewhere.
pythondir  ?= $(prefix)/lib/python3$(if $(filter-out /usr,$(prefix)),$(shell $(PYTHON) -c 'import sys; print(".%d" % sys.version_info[1])'))/dist-packages
PYTHON       ?= /usr/bin/python3
PYTEST_ARGS  ?=
TEST_WORKERS ?= 4
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 3600
BENCH_SECONDS ?= 600
DEMO_PORT    ?= 8080

ifeq ($(V),)
  Q := @
  say = @printf '  %-7s %s\n' $(1) $(2);
else
  Q :=
  say =
endif

# ---- flags -----------------------------------------------------------------------
# The OpenSSF hardening guide's set, as far as gcc 12 and clang 14 know it.
WARN   := -Wall -Wextra -Wshadow -Wconversion -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes \
          -Wpointer-arith -Wvla -Wundef
HARDEN := -fstack-protector-strong -fstack-clash-protection -ftrivial-auto-var-init=zero \
          -fno-delete-null-pointer-checks -fno-strict-aliasing -fPIC
ifneq ($(findstring clang,$(shell $(CC) --version)),)
  # clang before 16 wants to be asked twice.
  HARDEN += -enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang
endif
ifeq ($(shell uname -m),x86_64)
  HARDEN += -fcf-protection=full
endif
ifeq ($(SAN),)
  HARDEN += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
  OPT ?= -O2
else
  OPT ?= -O1
  HARDEN += -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
  LDSAN := -fsanitize=$(SAN)
endif
CFLAGS ?= -g
override CFLAGS += -std=gnu11 $(OPT) $(WARN) $(HARDEN) -D_GNU_SOURCE -DOBSERV_VERSION='"$(VERSION)"' \
                   -include common/banned.h -MMD -MP
override LDFLAGS += $(LDSAN) -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,nodlopen -Wl,--as-needed

PG_CFLAGS   := $(shell pkg-config --cflags libpq 2>/dev/null || echo -I/usr/include/postgresql)
AGENT_LIBS   = -lpq -lssl -lcrypto -lyaml -lcurl -lsystemd -lm
HUB_LIBS     = -lpq -ljson-c -lfcgi -lm

# ---- what is made of what ------------------------------------------------------------
COMMON  := arena buf err log parse utf8
LOGCORE := backtrace buffers card field file held journal json leftovers line logcore nested number options process redact ring shape shared sink slot stamp suspect writer
CONFIG  := config config_keys config_kind config_list config_manual config_print config_schema config_url config_value credential env_file yaml_tree
CHECK_SRC := check_attempt check_guard check_verdict curl_glue src_check
PROC    := proc_mounts proc_parse proc_traffic proc_unit src_proc
TAIL    := file_hash flood join json_scan known line log_name log_open reader src_tail stream tail_files tail_look tail_positions tail_search tail_status
DOCTOR  := doctor doctor_agent doctor_logs doctor_unit
PG      := pg pg_call pg_cert pg_connect pg_doctor pg_enroll pg_once pg_target pg_tls pg_verdict resolve
OUTBOX  := outbox queue rows segment
AGENT   := main agent batch $(CONFIG) deliver deliver_state $(DOCTOR) $(OUTBOX) $(PG) $(PROC) sample $(CHECK_SRC) status $(TAIL)
HUB     := main assets csv db format http logs page search template template_parse
ADMIN   := admin db template template_parse

COMMON_OBJS  := $(COMMON:%=$(BUILD)/common/%.o)
LOGCORE_OBJS := $(LOGCORE:%=$(BUILD)/logcore/%.o)
AGENT_OBJS   := $(AGENT:%=$(BUILD)/obs_agent/%.o)
HUB_OBJS     := $(HUB:%=$(BUILD)/fleet_hub/%.o)
ADMIN_OBJS   := $(ADMIN:%=$(BUILD)/fleet_hub/%.o)
HUB_PURE     := $(BUILD)/fleet_hub/assets.o $(BUILD)/fleet_hub/csv.o $(BUILD)/fleet_hub/http.o

# A unit test includes the .c that it tests; TEST_x names the other objects it needs.
UNIT_TESTS   := test_common test_line test_log_name test_log_open test_batch test_outbox test_deliver test_pg_target test_pg_tls test_pg_verdict test_stream test_join test_flood test_config test_config_print test_config_url test_doctor test_check test_check_schedule test_proc test_proc_source test_logcore test_logcore_fields test_logcore_logger test_logcore_sink test_logcore_files test_logcore_modes test_logcore_killed test_logcore_edges test_logcore_rotation test_logcore_abi test_logcore_journal test_logcore_hpp test_logcore_property test_redact test_log \
                test_template test_http test_search test_format

# The configuration's tests include one of its files and link the others.
config_but = $(patsubst %,$(BUILD)/obs_agent/%.o,$(filter-out $(1),$(CONFIG)))
TEST_test_line  = $(BUILD)/obs_agent/json_scan.o
ROWS := $(patsubst %,$(BUILD)/obs_agent/%.o,rows sample)
TEST_test_batch = $(ROWS)
TEST_test_flood = $(BUILD)/obs_agent/sample.o
TEST_test_deliver = $(patsubst %,$(BUILD)/obs_agent/%.o,batch $(OUTBOX)) $(BUILD)/obs_agent/sample.o
TEST_test_outbox = $(patsubst %,$(BUILD)/obs_agent/%.o,batch queue segment) $(ROWS)
LIBS_test_deliver = -lsystemd
TEST_test_pg_target = $(BUILD)/obs_agent/pg_tls.o
LIBS_test_pg_target = -lpq -lsystemd -pthread
LIBS_test_pg_tls = -lpq
TEST_fuzz_line  = $(BUILD)/obs_agent/line.o $(BUILD)/obs_agent/json_scan.o
LIBS_test_line  = -ljson-c
TEST_test_config       = $(call config_but,config)
TEST_test_config_print = $(call config_but,config_print)
TEST_test_config_url   = $(call config_but,config_url)
LIBS_test_config       = -lyaml
LIBS_test_config_print = -lyaml
LIBS_test_config_url   = -lyaml
TEST_test_stream = $(patsubst %,$(BUILD)/obs_agent/%.o,file_hash log_open)
TEST_test_doctor = $(patsubst %,$(BUILD)/obs_agent/%.o,$(CONFIG) doctor_agent doctor_logs doctor_unit log_open)
LIBS_test_doctor = -lyaml
TEST_test_check = $(patsubst %,$(BUILD)/obs_agent/%.o,$(filter-out src_check,$(CHECK_SRC)) proc_parse sample)
TEST_test_check_schedule = $(TEST_test_check)
LIBS_test_check = -lcurl -lsystemd -pthread
LIBS_test_check_schedule = $(LIBS_test_check)
TEST_test_proc_source = $(BUILD)/obs_agent/sample.o
LIBS_test_proc_source = -lsystemd -ljson-c
# The hub's.
TEST_test_template = $(BUILD)/fleet_hub/template_parse.o
LIBS_test_template = -ljson-c
TEST_test_format   = $(HUB_PURE)
LIBS_test_format   = -ljson-c
TEST_fuzz_template = $(BUILD)/fleet_hub/template.o $(BUILD)/fleet_hub/template_parse.o
TEST_fuzz_query    = $(BUILD)/fleet_hub/http.o $(BUILD)/fleet_hub/search.o
LIBS_fuzz_template = -ljson-c
LIBS_fuzz_query    = -ljson-c
LIBS_fuzz_logcore  = -ljson-c
TEST_fuzz_config = $(CONFIG:%=$(BUILD)/obs_agent/%.o)
LIBS_fuzz_config = -lyaml
TEST_fuzz_http   = $(patsubst %,$(BUILD)/obs_agent/%.o,$(filter-out src_check check_attempt,$(CHECK_SRC)) proc_parse json_scan) $(ROWS)
LIBS_fuzz_http   = -lcurl -lsystemd
TEST_fuzz_outbox = $(patsubst %,$(BUILD)/obs_agent/%.o,batch queue segment) $(ROWS)

.DEFAULT_GOAL := all
.PHONY: all
all: ## build everything
all: $(BUILD)/obs_agent/obs_agent $(BUILD)/fleet_hub/fleet_hub $(BUILD)/fleet_hub/fleet_hub_admin $(BUILD)/logcore/logcore $(BUILD)/liblogcore.a $(BUILD)/$(SONAME)

# Rebuild when flags or compiler change.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(CFLAGS) $(LDFLAGS)' | cmp -s - $@ || echo '$(CC) $(CFLAGS) $(LDFLAGS)' > $@
.PHONY: FORCE
FORCE:

schema.sql: FORCE ## from the parts in schema/ and METRICS of the agent; commit the result
	$(Q)scripts/schema

# One sentence instead of a page of "no such file". Only once: these do not go away.
HEADERS := libpq-fe.h openssl/ssl.h yaml.h curl/curl.h systemd/sd-event.h json-c/json.h fcgiapp.h sodium.h
$(BUILD)/deps.ok:
	@mkdir -p $(@D)
	@printf '#include <%s>\n' $(HEADERS) | $(CC) $(PG_CFLAGS) -x c -fsyntax-only - 2>/dev/null || { \
	  echo "make: the compiler ($(CC)) or headers of libraries are missing; as root, run: scripts/deps build" >&2; exit 1; }
	@touch $@

$(BUILD)/%.o: %.c $(BUILD)/flags | $(BUILD)/deps.ok
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS) $(PG_CFLAGS) -c $< -o $@

$(BUILD)/obs_agent/pg_call.o $(BUILD)/obs_agent/pg_doctor.o $(BUILD)/obs_agent/pg_enroll.o: $(wildcard obs_agent/sql/*.sql)
$(BUILD)/fleet_hub/main.o: $(wildcard fleet_hub/pages/*.html fleet_hub/sql/*.sql)
$(BUILD)/fleet_hub/admin.o: $(wildcard fleet_hub/admin/*)
$(BUILD)/fleet_hub/page.o: fleet_hub/pages/error.html
$(BUILD)/fleet_hub/assets.o: $(wildcard fleet_hub/pages/_*.html fleet_hub/static/* fleet_hub/static/vendor/*)

$(BUILD)/obs_agent/obs_agent: $(AGENT_OBJS) $(COMMON_OBJS) $(LOGCORE_OBJS)
	$(call say,LD,$@)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(AGENT_LIBS) -o $@

$(BUILD)/fleet_hub/fleet_hub: $(HUB_OBJS) $(COMMON_OBJS) $(LOGCORE_OBJS)
	$(call say,LD,$@)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(HUB_LIBS) -o $@

$(BUILD)/fleet_hub/fleet_hub_admin: $(ADMIN_OBJS) $(COMMON_OBJS) $(LOGCORE_OBJS)
	$(call say,LD,$@)$(CC) $(CFLAGS) $(LDFLAGS) $^ -lpq -ljson-c -lm -o $@

# The library shows its users nothing but what the header marks.
$(LOGCORE_OBJS): private override CFLAGS += -fvisibility=hidden

$(BUILD)/liblogcore.a: $(LOGCORE_OBJS)
	$(call say,AR,$@)$(AR) rcs $@ $^

$(BUILD)/$(SONAME): $(LOGCORE_OBJS) logcore/logcore.map
	$(call say,LD,$@)$(CC) $(CFLAGS) $(LDSAN) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=logcore/logcore.map \
	  -Wl,-z,relro,-z,now,-z,noexecstack,-z,nodelete,--as-needed $(LOGCORE_OBJS) -pthread -o $@
	@ln -sf $(SONAME) $(BUILD)/liblogcore.so

# Of the library's own objects, so that it needs nothing installed.
$(BUILD)/logcore/logcore: $(BUILD)/logcore/logcore_cli.o $(BUILD)/liblogcore.a
	$(call say,LD,$@)$(CC) $(CFLAGS) $(LDFLAGS) $^ -pthread -o $@

# ---- examples: built as an application would be, against the static library ----------
SHOP_OBJS    := $(patsubst %,$(BUILD)/examples/shop/%.o,http main pages worker)
EXAMPLE_OBJS := $(SHOP_OBJS) $(BUILD)/examples/quickstart.o
$(EXAMPLE_OBJS): private override CFLAGS += -Ilogcore

.PHONY: examples
examples: ## the example applications, against the library in the tree
examples: $(BUILD)/examples/shop/shop $(BUILD)/examples/quickstart $(BUILD)/examples/quickstart_cxx

$(BUILD)/examples/shop/shop: $(SHOP_OBJS) $(BUILD)/liblogcore.a
	$(call say,LD,$@)$(CC) $(CFLAGS) $(LDFLAGS) $^ -pthread -o $@

$(BUILD)/examples/quickstart: $(BUILD)/examples/quickstart.o $(BUILD)/liblogcore.a
	$(call say,LD,$@)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@

$(BUILD)/examples/quickstart_cxx: examples/quickstart.cc logcore/logcore.h logcore/logcore.hpp $(BUILD)/liblogcore.a
	@mkdir -p $(@D)
	$(call say,CXX,$<)$(CXX) -std=c++17 -Wall -Wextra $(OPT) $(LDSAN) -Ilogcore $< $(BUILD)/liblogcore.a -pthread -o $@

# ---- tests --------------------------------------------------------------------------
LIBS_test_log            = -ljson-c
LIBS_test_logcore        = -ljson-c -Wl,--wrap=clock_gettime
LIBS_test_logcore_fields = -ljson-c -rdynamic
LIBS_test_logcore_property = -ljson-c
LIBS_test_redact         = -ljson-c
LIBS_test_logcore_logger = -ljson-c
LIBS_test_logcore_journal = -ljson-c
LIBS_test_logcore_sink   = -ljson-c -pthread -Wl,--wrap=write,--wrap=malloc,--wrap=calloc,--wrap=realloc
LIBS_test_logcore_files  = -ljson-c -pthread
LIBS_test_logcore_modes  = -ljson-c -pthread -Wl,--wrap=clock_gettime,--wrap=write,--wrap=posix_fallocate,--wrap=malloc,--wrap=calloc,--wrap=realloc
LIBS_test_logcore_killed = -ljson-c -pthread -Wl,--wrap=write
LIBS_test_logcore_edges  = -ljson-c -pthread
LIBS_test_logcore_rotation = -ljson-c -pthread -Wl,--wrap=clock_gettime
TEST_test_logcore_abi    = $(BUILD)/tests/logcore_c11.o $(BUILD)/tests/logcore_cxx.o
LIBS_test_logcore_abi    = -ljson-c -lstdc++ -DSHARED_LIBRARY='"$(abspath $(BUILD)/$(SONAME))"'
$(BUILD)/tests/test_logcore_abi: | $(BUILD)/$(SONAME)

TEST_test_logcore_hpp    = $(BUILD)/tests/logcore_hpp.o
LIBS_test_logcore_hpp    = -ljson-c -lstdc++

# logcore.h as others compile it: by itself, strictly, without our flags.
STRICT := -pedantic-errors -Wall -Wextra -Wshadow -Wconversion -Wdouble-promotion -Werror -g -fPIC -MMD -MP
$(BUILD)/tests/logcore_c11.o: tests/unit/logcore_c11.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) -std=c11 $(STRICT) $(OPT) $(LDSAN) -c $< -o $@
$(BUILD)/tests/logcore_%.o: tests/unit/logcore_%.cc $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CXX,$<)$(CXX) -std=c++17 $(STRICT) -Wold-style-cast $(OPT) $(LDSAN) -c $< -o $@

# Every runner goes through scripts/check, which counts; `make check` adds up.
RESULTS = $(BUILD)/results
CHECK   = $(Q)V=$(V) scripts/check $(RESULTS)
CHECKS := check-unit check-sql check-system check-browser check-san check-tsan check-valgrind lint

.PHONY: check
check: ## all of the tests below and lint; installs what they need (scripts/deps); the last line counts
	$(Q)scripts/deps build demo test lint deb
	$(Q)rm -rf $(RESULTS)
	$(Q)for t in $(CHECKS); do $(MAKE) --no-print-directory -s $$t; done; \
	  $(PYTHON) tests/system/oracle.py $(BUILD)/faults.jsonl; \
	  scripts/check $(RESULTS) --sum unit sql system system-alone browser san san-system tsan valgrind lint

$(BUILD)/tests/%: tests/unit/%.c $(COMMON_OBJS) $(LOGCORE_OBJS) $(BUILD)/flags | $(BUILD)/deps.ok
	@mkdir -p $(@D)
	$(call say,TEST,$<)$(CC) $(CFLAGS) $(PG_CFLAGS) $(LDFLAGS) $< $(TEST_$*) $(COMMON_OBJS) $(LOGCORE_OBJS) \
	  -lcmocka $(LIBS_$*) -lm -o $@

$(foreach t,$(UNIT_TESTS),$(eval $(BUILD)/tests/$t: $(TEST_$t)))

# What the system and browser tests run.
PARTS := all examples
PYTEST = $(PYTHON) -m pytest -q --tb=short -p no:cacheprovider --basetemp=$(OBSERV_BUILD)/t
export PYTHONDONTWRITEBYTECODE := 1
export OBSERV_BUILD := $(abspath $(BUILD))

.PHONY: check-unit check-sql check-system check-browser check-san check-tsan check-valgrind
check-unit: ## unit tests (cmocka)
check-unit: $(UNIT_TESTS:%=$(BUILD)/tests/%)
	$(CHECK) -q unit scripts/each $^

check-sql: ## schema.sql on a private PostgreSQL (pgTAP)
	$(CHECK) sql env BUILD='$(BUILD)' tests/sql/run

check-system: ## agent, hub, unit and schema together, on real PostgreSQL, lighttpd and systemd (pytest)
# Most of their time is waiting: several at once, then those that measure time.
check-system: $(PARTS)
ifeq ($(PYTEST_ARGS),)
	$(Q)rm -f $(BUILD)/faults.jsonl
	$(Q)export OBSERV_FAULT_REPORT=$(OBSERV_BUILD)/faults.jsonl V=$(V); r=0; \
	  scripts/check $(RESULTS) system $(PYTEST) -n $(TEST_WORKERS) --dist loadgroup -m 'not soak and not alone' tests/system || r=1; \
	  scripts/check $(RESULTS) system-alone $(PYTEST) -m 'alone and not soak' tests/system || r=1; exit $$r
else
	$(CHECK) system $(PYTEST) $(PYTEST_ARGS) tests/system
endif

check-browser: ## the pages in a browser (Selenium, Chromium)
check-browser: $(PARTS)
	$(CHECK) browser $(PYTEST) $(PYTEST_ARGS) tests/browser

check-san: ## unit tests and the shorter system tests under AddressSanitizer and UBSan
	$(Q)$(MAKE) --no-print-directory -s BUILD=$(BUILD)/san SAN=address,undefined san-parts
	$(CHECK) -q san scripts/each $(UNIT_TESTS:%=$(BUILD)/san/tests/%)
	$(CHECK) san-system env OBSERV_BUILD=$(OBSERV_BUILD)/san $(PYTEST) -m smoke tests/system

.PHONY: san-parts
san-parts: $(PARTS) $(UNIT_TESTS:%=$(BUILD)/tests/%)

# logcore promises to be used from any thread, and nothing else here is.
TSAN_TESTS := $(filter test_logcore test_logcore_logger test_logcore_sink test_logcore_files test_logcore_modes test_logcore_killed test_logcore_edges test_logcore_rotation,$(UNIT_TESTS))
check-tsan: ## logcore's unit tests under ThreadSanitizer
	$(Q)$(MAKE) --no-print-directory -s BUILD=$(BUILD)/tsan SAN=thread tsan-parts
	$(CHECK) -q tsan env TSAN_OPTIONS=die_after_fork=0 scripts/each $(TSAN_TESTS:%=$(BUILD)/tsan/tests/%)

.PHONY: tsan-parts
tsan-parts: $(TSAN_TESTS:%=$(BUILD)/tests/%)

# Without those that measure time: valgrind is twenty times slower. The sanitizers watch them.
VALGRIND_TESTS := $(filter-out test_check test_check_schedule,$(UNIT_TESTS))
check-valgrind: ## unit tests under valgrind
check-valgrind: $(VALGRIND_TESTS:%=$(BUILD)/tests/%)
	$(CHECK) -q valgrind scripts/each --valgrind $^

.PHONY: lint format
lint: all
lint: ## include layers, clang-tidy, cppcheck, shellcheck, the unit's verdict by systemd, the README's tables, manual pages, the ABI
	$(CHECK) lint env CC='$(CC)' CXX='$(CXX)' BUILD='$(BUILD)' scripts/lint

format: ## clang-format on the lines that differ from the last commit
	$(Q)git clang-format-14 --binary clang-format-14 --extensions c,h HEAD -- '*.c' '*.h'

# A fuzz target is tests/fuzz/fuzz_X.c, its seeds are in tests/fuzz/corpus/X. New
# finds are kept below $(BUILD) and tried first the next time.
FUZZ_TARGETS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

.PHONY: fuzz fuzz-parts
fuzz: ## each fuzz target for FUZZ_SECONDS (libFuzzer, ASan, UBSan)
	$(Q)scripts/deps build fuzz
	$(Q)$(MAKE) --no-print-directory -s BUILD=$(BUILD)/fuzz CC=clang-14 SAN=fuzzer-no-link,address,undefined fuzz-parts
	$(Q)scripts/fuzz $(BUILD)/fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS)

fuzz-parts: $(FUZZ_TARGETS:%=$(BUILD)/%)
$(BUILD)/fuzz_%: tests/fuzz/fuzz_%.c $(COMMON_OBJS) $(LOGCORE_OBJS) $(BUILD)/flags | $(BUILD)/deps.ok
	$(call say,FUZZ,$<)$(CC) $(CFLAGS) $(PG_CFLAGS) $(LDFLAGS) -fsanitize=fuzzer $< $(TEST_fuzz_$*) $(COMMON_OBJS) \
	  $(LOGCORE_OBJS) $(LIBS_fuzz_$*) -lm -o $@
$(foreach t,$(FUZZ_TARGETS),$(eval $(BUILD)/$t: $(TEST_$t)))

.PHONY: bench
bench: ## what an idle agent and a million lines cost, beside peers from Debian; the scanner, ns a line; the units' exposure
bench: all $(BUILD)/bench/scan
	$(Q)scripts/deps bench
	$(Q)$(PYTHON) bench/tail.py
	$(Q)bench/scan.py
	$(Q)$(PYTHON) bench/sandbox.py
	$(Q)$(MAKE) --no-print-directory -s bench-log
	$(Q)$(PYTHON) bench/idle.py $(BENCH_SECONDS)

# A peer that can't be installed or built takes no part; why is in peers.err.
BENCH_LOG := $(BUILD)/bench/log
.PHONY: bench-log bench-log-peers
bench-log: ## what a log line costs: logcore, a floor by hand, peers from Debian
bench-log: $(BENCH_LOG)/floor $(BENCH_LOG)/logcore
	$(Q)scripts/deps bench || :
	$(Q)$(MAKE) --no-print-directory -sk bench-log-peers 2> $(BENCH_LOG)/peers.err || :
	$(Q)$(PYTHON) bench/log.py

bench-log-peers: $(BENCH_LOG)/spdlog $(BENCH_LOG)/glog $(BENCH_LOG)/golog

# As an application is built, without our flags; but the floor with them: what is asked is how much more logcore does,
# not what the flags cost.
BENCH_LOG_FLAGS := $(OPT) -g -Wall -Wextra -D_GNU_SOURCE
$(BENCH_LOG)/floor: private BENCH_LOG_FLAGS += $(HARDEN)
PC_spdlog := spdlog
PC_glog   := libglog
$(BENCH_LOG)/%: bench/log/%.c $(wildcard bench/log/*.h) $(BUILD)/liblogcore.a $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) -std=gnu11 $(BENCH_LOG_FLAGS) -Ilogcore $< $(BUILD)/liblogcore.a -pthread -o $@
$(BENCH_LOG)/%: bench/log/%.cc $(wildcard bench/log/*.h) $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CXX) -std=c++17 $(BENCH_LOG_FLAGS) $< $$(pkg-config --cflags --libs $(PC_$*)) -pthread -o $@
$(BENCH_LOG)/golog: bench/log/golog.go
	@mkdir -p $(@D)
	$(call say,GO,$@)GOPATH=/usr/share/gocode GO111MODULE=off go build -o $@ $<

$(BUILD)/bench/scan: bench/scan.c $(patsubst %,$(BUILD)/obs_agent/%.o,line json_scan) $(COMMON_OBJS) $(LOGCORE_OBJS) $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.c %.o,$^) -ljson-c -o $@

$(BUILD)/soak/logcore_many: tests/soak/logcore_many.c $(LOGCORE_OBJS) $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.c %.o,$^) -pthread -o $@

.PHONY: soak
soak: ## random faults for SOAK_SECONDS, then the long fault tests; prints the table of faults
soak: $(PARTS) $(BUILD)/soak/logcore_many
	$(Q)scripts/deps build demo test
	$(Q)rm -f $(BUILD)/soak.jsonl
	$(CHECK) soak env SOAK_SECONDS=$(SOAK_SECONDS) OBSERV_FAULT_REPORT=$(OBSERV_BUILD)/soak.jsonl \
	  $(PYTEST) -m soak $(PYTEST_ARGS) tests/system/test_soak.py tests/system

# ---- see it run -----------------------------------------------------------------------
.PHONY: demo demo-clean
demo: ## the whole of Observ on this machine; installs what it needs, prints the URL; Ctrl-C stops it
	$(Q)DEMO_PORT=$(DEMO_PORT) scripts/demo check
	$(Q)scripts/deps build demo
	$(Q)$(MAKE) --no-print-directory -s all examples
	$(Q)DEMO_PORT=$(DEMO_PORT) BUILD=$(BUILD) exec scripts/demo

demo-clean: ## remove what the demo keeps (demo-data)
	$(Q)scripts/demo clean

# ---- install ---------------------------------------------------------------------------
# Templates name the paths of a package (/usr/bin ...); here they become the real ones.
INSTALL := install -D
EXEC_PATHS := $(if $(filter-out /usr /usr/%,$(prefix)),s|^ExecPaths=/usr$$|& $(prefix)|)
# By the shell's number: several may install from one BUILD at once.
put = sed -e 's,/usr/bin/,$(bindir)/,g; s,/usr/libexec/observ,$(hubdir),g; s,/usr/share/,$(datadir)/,g; $(EXEC_PATHS)' $(1) > $(BUILD)/put.$$$$ && \
      $(INSTALL) -m 644 $(BUILD)/put.$$$$ $(DESTDIR)$(2) && rm $(BUILD)/put.$$$$

UNITS := fleet-hub.socket fleet-hub.service observ-maintain.service observ-maintain.timer

PAGES := logcore/logcore.1 logcore/logcore.3 obs_agent/obs_agent.yml.5 docs/observ-schema.7 obs_agent/obs_agent.8 fleet_hub/fleet_hub.8 fleet_hub/fleet_hub_admin.8

.PHONY: install
install: ## to DESTDIR and prefix; the units to unitdir, obs-agent.service as obs-agent@.service
install: all
	$(Q)$(INSTALL) -m 755 -t $(DESTDIR)$(bindir) $(BUILD)/obs_agent/obs_agent $(BUILD)/logcore/logcore
	$(Q)$(INSTALL) -m 755 -t $(DESTDIR)$(hubdir) $(BUILD)/fleet_hub/fleet_hub
	$(Q)$(INSTALL) -m 755 -t $(DESTDIR)$(prefix)/sbin $(BUILD)/fleet_hub/fleet_hub_admin
	$(Q)$(call put,templates/obs-agent.service,$(unitdir)/obs-agent@.service)
	$(Q)$(foreach u,$(UNITS),$(call put,templates/$u,$(unitdir)/$u) && ):
	$(Q)$(INSTALL) -m 644 -t $(DESTDIR)$(prefix)/lib/sysusers.d templates/sysusers.d/*.conf
	$(Q)[ -e $(DESTDIR)$(sysconfdir)/observ/hub.conf ] || $(INSTALL) -m 600 -t $(DESTDIR)$(sysconfdir)/observ templates/hub.conf
	$(Q)$(INSTALL) -m 644 -t $(DESTDIR)$(datadir)/observ schema.sql templates/observ-harden.sql templates/observ-maintain.cron templates/nginx-observ.conf \
	  templates/obs_agent.schema.json
	$(Q)$(INSTALL) -m 755 -t $(DESTDIR)$(datadir)/observ templates/install.sh
	$(Q)$(INSTALL) -m 644 templates/obs_agent.bash $(DESTDIR)$(datadir)/bash-completion/completions/obs_agent
	$(Q)$(INSTALL) -m 644 templates/tmpfiles.d/obs-agent.conf $(DESTDIR)$(prefix)/lib/tmpfiles.d/obs-agent.conf
	$(Q)$(call put,templates/lighttpd-observ.conf,$(datadir)/observ/lighttpd-observ.conf)
	$(Q)$(INSTALL) -m 644 -t $(DESTDIR)$(datadir)/observ/drop-ins templates/drop-ins/*.conf
	$(Q)$(INSTALL) -m 644 -t $(DESTDIR)$(datadir)/doc/observ README.md NEWS.md LICENSE
	$(Q)$(INSTALL) -m 644 -t $(DESTDIR)$(datadir)/doc/observ/docs $(wildcard docs/*.md docs/*.png)
	$(Q)$(INSTALL) -m 644 -t $(DESTDIR)$(libdir) $(BUILD)/liblogcore.a
	$(Q)$(INSTALL) -m 755 -t $(DESTDIR)$(libdir) $(BUILD)/$(SONAME)
	$(Q)ln -sf $(SONAME) $(DESTDIR)$(libdir)/liblogcore.so
	$(Q)$(INSTALL) -m 644 -t $(DESTDIR)$(includedir) logcore/logcore.h logcore/logcore.hpp
	$(Q)$(INSTALL) -m 644 -t $(DESTDIR)$(pythondir) logcore/logcore.py
	$(Q)sed -e 's,@prefix@,$(prefix),; s,@libdir@,$(libdir),; s,@includedir@,$(includedir),; s,@version@,$(VERSION),' \
	  logcore/logcore.pc.in > $(BUILD)/put.$$$$ && $(INSTALL) -m 644 $(BUILD)/put.$$$$ $(DESTDIR)$(libdir)/pkgconfig/logcore.pc && rm $(BUILD)/put.$$$$
	$(Q)$(foreach f,$(PAGES),$(call put,$f,$(datadir)/man/man$(lastword $(subst ., ,$f))/$(notdir $f)) && ):
	$(Q)for f in $$(sed -n 's/^\.Nm \(logcore_[a-z_]*\).*/\1/p' logcore/logcore.3); do \
	  ln -sf logcore.3 $(DESTDIR)$(datadir)/man/man3/$$f.3; done
	$(Q)[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || ldconfig

.PHONY: deb
deb: ## Debian packages, into BUILD/deb
	$(Q)scripts/deps build deb
	$(Q)rm -rf $(BUILD)/deb && mkdir -p $(BUILD)/deb/observ
	$(Q){ git ls-files -z 2>/dev/null | grep -z . || find . \( -path ./build -o -path ./demo-data -o -path ./.git \) -prune -o -type f -print0; } | \
	  tar c --null -T - | tar x -C $(BUILD)/deb/observ
	$(Q)cd $(BUILD)/deb/observ && env -u MAKEFLAGS -u MAKELEVEL dpkg-buildpackage -us -uc -b > ../log 2>&1 || \
	  { tail -n 20 ../log; exit 1; }
	$(Q)rm -rf $(BUILD)/deb/observ && ls $(BUILD)/deb/*.deb

-include $(wildcard $(BUILD)/*.d $(BUILD)/*/*.d $(BUILD)/*/*/*.d)

.PHONY: help clean
help: ## this list
	@sed -n '/^# Knobs/,/^$$/s/^# \{0,1\}//p' Makefile
	@echo Targets:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' Makefile

clean: ## remove what was built (the demo's data stay: demo-clean)
	rm -rf $(BUILD)
