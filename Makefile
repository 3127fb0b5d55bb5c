# Observ: build, test, install. `make help` lists the targets.
#
# Knobs (on the command line or in the environment), with their defaults:
#   V=             1: show each command
#   CC=cc CXX=c++  compilers; gcc and clang are supported
#   CFLAGS=-g      added to; OPT=-O2 is apart
#   SAN=           sanitizers, e.g. address,undefined
#   BUILD=build    where everything that is made goes
#   PYTHON=/usr/bin/python3, PYTEST_ARGS=   for the system and browser tests, e.g. PYTEST_ARGS='-k reload'
#   TEST_WORKERS=6   system tests that run at once
#   FUZZ_SECONDS=60   how long `make fuzz` spends on each target
#   BENCH_SECONDS=600 how long `make bench` measures
#   SOAK_SECONDS=3600 how long `make soak` goes on
#   DEMO_PORT=8080 DEMO_FLEET=1   where `make demo` listens on loopback; 0: without the simulated servers
#   DESTDIR= prefix=/usr/local sysconfdir=/etc bindir libdir includedir datadir hubdir unitdir
#   pythondir=     where logcore.py goes; default: where PYTHON looks for what is below prefix

VERSION := 0.1.0
SONAME  := liblogcore.so.0

BUILD      ?= build
CC         ?= cc
ifeq ($(origin CXX),default)
  CXX := c++
endif
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
python_minor = $(shell $(PYTHON) -c 'import sys; print(".%d" % sys.version_info[1])')
pythondir  ?= $(prefix)/lib/python3$(if $(filter-out /usr,$(prefix)),$(python_minor))/dist-packages
PYTHON       ?= /usr/bin/python3
PYTEST_ARGS  ?=
TEST_WORKERS ?= 6
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
ifneq ($(findstring clang,$(shell $(CC) --version 2>/dev/null)),)
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
                   -iquote . -include common/banned.h -MMD -MP
override LDFLAGS += $(LDSAN) -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,nodlopen -Wl,--as-needed

PG_CFLAGS   := $(shell pkg-config --cflags libpq 2>/dev/null || echo -I/usr/include/postgresql)

include modules.mk programs.mk

# Where the linker looks for a symbol, in this order: each archive may use those behind it.
ARCHIVES := $(patsubst %,$(BUILD)/lib%.a,agent hub watch wire common_channels common_loop common_pg \
            common_json common logcore)
LIBS     := -lpq -lssl -lcrypto -lyaml -lcurl -lidn2 -lsystemd -ljson-c -lsodium -lfcgi -lm -pthread

.DEFAULT_GOAL := all
.PHONY: all
all: ## build everything
all: $(BUILD)/obs_agent/obs_agent $(BUILD)/fleet_hub/fleet_hub $(BUILD)/fleet_hub/fleet_hub_admin \
     $(BUILD)/fleet_watch/fleet_watch $(BUILD)/logcore/logcore $(BUILD)/liblogcore.a $(BUILD)/$(SONAME)

# Rebuild when flags or compiler change.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(CFLAGS) $(LDFLAGS)' | cmp -s - $@ || echo '$(CC) $(CFLAGS) $(LDFLAGS)' > $@
.PHONY: FORCE
FORCE:

.PHONY: schema
schema: ## schema.sql from the parts in schema/ and METRICS of the agent; commit the result
	$(Q)scripts/schema

# The same before anything embeds it, where a part is newer.
$(BUILD)/schema.made: $(wildcard schema/*.sql) wire/sample.h schema.sql scripts/schema
	@mkdir -p $(@D)
	$(Q)scripts/schema && touch $@

# One sentence instead of a page of "no such file". Only once: these do not go away.
HEADERS := libpq-fe.h openssl/ssl.h yaml.h curl/curl.h systemd/sd-event.h json-c/json.h fcgiapp.h sodium.h
$(BUILD)/deps.ok:
	@mkdir -p $(@D)
	@printf '#include <%s>\n' $(HEADERS) | $(CC) $(PG_CFLAGS) -x c -fsyntax-only - 2>/dev/null || { \
	  echo "make: the compiler ($(CC)) or headers of libraries are missing;" \
	    "as root, run: scripts/deps build" >&2; exit 1; }
	@touch $@

$(BUILD)/%.o: %.c $(BUILD)/flags | $(BUILD)/deps.ok
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS) $(PG_CFLAGS) -c $< -o $@

# A source that embeds files is compiled again when one of them changes.
EMBEDDING := $(shell grep -lE '"(common/embed|routes)\.h"' --include='*.c' -r common wire \
                     obs_agent fleet_hub fleet_watch)
EMBEDDED  := $(wildcard obs_agent/sql/* fleet_watch/sql/* common/channels/*.txt) \
             $(wildcard $(addprefix fleet_hub/,*/*.sql */*.html */*.txt */*.yaml)) \
             $(wildcard fleet_hub/static/* fleet_hub/static/vendor/*) \
             $(BUILD)/schema.made templates/observ-harden.sql templates/install.sh \
             $(addprefix templates/,nginx-observ.conf lighttpd-observ.conf)
$(EMBEDDING:%.c=$(BUILD)/%.o): $(EMBEDDED)

$(BUILD)/libcommon.a:    $(COMMON:%=$(BUILD)/common/%.o)
$(BUILD)/libcommon_pg.a: $(COMMON_PG:%=$(BUILD)/common/pg/%.o)
$(BUILD)/libcommon_json.a: $(COMMON_JSON:%=$(BUILD)/common/json/%.o)
$(BUILD)/libcommon_channels.a: $(COMMON_CHANNELS:%=$(BUILD)/common/channels/%.o)
$(BUILD)/libcommon_loop.a: $(COMMON_LOOP:%=$(BUILD)/common/loop/%.o)
$(BUILD)/libwire.a:      $(WIRE:%=$(BUILD)/wire/%.o)
$(BUILD)/libagent.a:     $(AGENT:%=$(BUILD)/obs_agent/%.o)
$(BUILD)/libhub.a:       $(HUB:%=$(BUILD)/fleet_hub/%.o)
$(BUILD)/libwatch.a:     $(WATCH:%=$(BUILD)/fleet_watch/%.o)
$(BUILD)/liblogcore.a:   $(LOGCORE:%=$(BUILD)/logcore/%.o)

$(BUILD)/lib%.a: Makefile modules.mk programs.mk
	$(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

$(BUILD)/obs_agent/obs_agent:       $(BUILD)/obs_agent/main.o
$(BUILD)/fleet_hub/fleet_hub:       $(BUILD)/fleet_hub/main.o
$(BUILD)/fleet_hub/fleet_hub_admin: $(BUILD)/fleet_hub/admin/admin.o
$(BUILD)/fleet_watch/fleet_watch:   $(BUILD)/fleet_watch/main.o
PROGRAMS := $(BUILD)/obs_agent/obs_agent $(BUILD)/fleet_hub/fleet_hub $(BUILD)/fleet_hub/fleet_hub_admin \
            $(BUILD)/fleet_watch/fleet_watch
$(PROGRAMS): $(ARCHIVES)
	$(call say,LD,$@)$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(ARCHIVES) $(LIBS) -o $@

# The library shows its users nothing but what the header marks.
LOGCORE_OBJS := $(LOGCORE:%=$(BUILD)/logcore/%.o)
$(LOGCORE_OBJS): private override CFLAGS += -fvisibility=hidden

$(BUILD)/$(SONAME): $(LOGCORE_OBJS) logcore/logcore.map
	$(call say,LD,$@)$(CC) $(CFLAGS) $(LDSAN) -shared \
	  -Wl,-soname,$(SONAME) -Wl,--version-script=logcore/logcore.map \
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

$(BUILD)/examples/quickstart_cxx: $(addprefix logcore/,logcore.h logcore.hpp) $(BUILD)/liblogcore.a
$(BUILD)/examples/quickstart_cxx: examples/quickstart.cc
	@mkdir -p $(@D)
	$(call say,CXX,$(filter %.cc,$^))$(CXX) -std=c++17 -Wall -Wextra $(OPT) $(LDSAN) -Ilogcore \
	  $(filter %.cc %.a,$^) -pthread -o $@

# ---- see it run -----------------------------------------------------------------------
.PHONY: demo demo-clean
demo: ## the whole of Observ on this machine; installs what it needs, prints the URL; Ctrl-C stops it
	$(Q)DEMO_PORT=$(DEMO_PORT) scripts/demo check
	$(Q)scripts/deps build demo
	$(Q)$(MAKE) --no-print-directory -s $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$$(nproc)) \
	  all $(BUILD)/examples/shop/shop
	$(Q)DEMO_PORT=$(DEMO_PORT) BUILD=$(BUILD) exec scripts/demo

demo-clean: ## remove what the demo keeps (demo-data)
	$(Q)scripts/demo clean

.PHONY: format
format: ## clang-format on the lines that differ from the last commit
	$(Q)git clang-format-14 --binary clang-format-14 --extensions c,h HEAD -- '*.c' '*.h'

include unit.mk tests.mk fuzz.mk bench.mk install.mk

# Of our own folders: other trees below BUILD have files of such names (sysusers.d, invoke-rc.d).
MADE := $(addprefix $(BUILD)/,common wire logcore obs_agent fleet_hub fleet_watch examples tests bench soak)
-include $(wildcard $(BUILD)/*.d $(MADE:%=%/*.d) $(MADE:%=%/*/*.d))

.PHONY: help clean
help: ## this list
	@sed -n '/^# Knobs/,/^$$/s/^# \{0,1\}//p' Makefile
	@echo Targets:
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

clean: ## remove what was built (the demo's data stay: demo-clean)
	rm -rf $(BUILD)
