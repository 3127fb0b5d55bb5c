# Tests: unit (cmocka, unit.mk), schema (pgTAP), system and browser (pytest), sanitizers, valgrind, lint,
# fuzzing.

# Of what is built for the tests; a -j of the user is followed.
JOBS = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))

# Every runner goes through scripts/check, which counts; `make check` adds up.
RESULTS = $(BUILD)/results
CHECK   = $(Q)V=$(V) scripts/check $(RESULTS)
SUMMED := unit sql system system-alone browser san san-system tsan valgrind lint
# The machines of the system tests come over the network meanwhile, so what needs none is first. The system
# tests wait for half of their time: what only computes runs behind them, with the lowest priority.
FIRST_CHECKS  := check-unit check-san
BEHIND_CHECKS := check-sql check-tsan check-valgrind lint

.PHONY: check
check: ## all of the tests below and lint; installs what they need (scripts/deps); the last line counts
	$(Q)scripts/deps build demo test lint deb
	$(Q)rm -rf $(RESULTS) && mkdir -p $(BUILD)
	$(Q)env --default-signal=INT $(PYTHON) tests/system/machine.py > $(BUILD)/machines.log 2>&1 & \
	  $(MAKE) $(JOBS) --no-print-directory -s test-parts; \
	  for t in $(FIRST_CHECKS); do $(MAKE) --no-print-directory -s $$t; done; \
	  for t in $(BEHIND_CHECKS); do nice -n 19 $(MAKE) --no-print-directory -s $$t; done \
	    > $(BUILD)/behind.out 2>&1 & behind=$$!; \
	  $(MAKE) --no-print-directory -s check-system; \
	  wait $$behind; cat $(BUILD)/behind.out; \
	  $(MAKE) --no-print-directory -s check-browser; \
	  $(PYTHON) tests/system/oracle.py $(BUILD)/faults.jsonl; \
	  scripts/check $(RESULTS) --sum $(SUMMED)

# The agent with a toy in place of a source, and the hub with one address that takes bodies: what they bring
# is not taken from the archives.
$(BUILD)/tests/toy_agent:   tests/system/toy_source.c $(BUILD)/obs_agent/main.o
$(BUILD)/tests/posting_hub: tests/system/posting_routes.c $(BUILD)/fleet_hub/main.o
$(BUILD)/tests/toy_agent $(BUILD)/tests/posting_hub: $(ARCHIVES)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.c %.o,$^) $(ARCHIVES) $(LIBS) -o $@

# What the system and browser tests run.
PARTS := all examples $(BUILD)/tests/toy_agent $(BUILD)/tests/posting_hub
PYTEST = $(PYTHON) -m pytest -q --tb=short -p no:cacheprovider --basetemp=$(OBSERV_BUILD)/t
AT_ONCE = -n $(TEST_WORKERS) --dist loadgroup
TWO_AT_ONCE = -n 2 --dist loadgroup
export PYTHONDONTWRITEBYTECODE := 1
export OBSERV_BUILD := $(abspath $(BUILD))

.PHONY: check-unit check-sql check-system check-browser check-san check-tsan check-valgrind
check-unit: ## unit tests (cmocka)
check-unit: $(UNIT_PROGRAMS)
	$(CHECK) -q unit scripts/each $^

check-sql: ## schema.sql on a private PostgreSQL (pgTAP)
	$(CHECK) sql env BUILD='$(BUILD)' tests/sql/run

check-system: ## agent, hub, unit and schema together, on real PostgreSQL, lighttpd and systemd (pytest)
# Most of their time is waiting: several at once, then those that measure time, which leave half of the
# machine to each other.
check-system: $(PARTS)
ifeq ($(PYTEST_ARGS),)
	$(Q)rm -f $(BUILD)/faults.jsonl
	$(Q)export OBSERV_FAULT_REPORT=$(OBSERV_BUILD)/faults.jsonl V=$(V); r=0; \
	  scripts/check $(RESULTS) system \
	    $(PYTEST) $(AT_ONCE) -m 'not soak and not alone' tests/system || r=1; \
	  scripts/check $(RESULTS) system-alone \
	    $(PYTEST) $(TWO_AT_ONCE) -m 'alone and not soak' tests/system || r=1; \
	  exit $$r
else
	$(CHECK) system $(PYTEST) $(PYTEST_ARGS) tests/system
endif

check-browser: ## the pages in a browser (Selenium, Chromium)
check-browser: $(PARTS)
	$(CHECK) browser $(PYTEST) $(or $(PYTEST_ARGS),-n 2 --dist loadfile) tests/browser

check-san: ## unit tests and the shorter system tests under AddressSanitizer and UBSan
	$(Q)$(MAKE) $(JOBS) --no-print-directory -s BUILD=$(BUILD)/san SAN=address,undefined test-parts
	$(CHECK) -q san scripts/each $(UNIT_PROGRAMS:$(BUILD)/%=$(BUILD)/san/%)
	$(CHECK) san-system env OBSERV_BUILD=$(OBSERV_BUILD)/san $(PYTEST) $(AT_ONCE) -m smoke tests/system

.PHONY: test-parts
test-parts: $(PARTS) $(UNIT_PROGRAMS)

# logcore promises to be used from any thread, and nothing else here is.
TSAN_TESTS := test_logcore $(addprefix test_logcore_,logger sink files modes killed edges rotation)
check-tsan: ## logcore's unit tests under ThreadSanitizer
	$(Q)$(MAKE) $(JOBS) --no-print-directory -s BUILD=$(BUILD)/tsan SAN=thread tsan-parts
	$(CHECK) -q tsan env TSAN_OPTIONS=die_after_fork=0 scripts/each $(TSAN_TESTS:%=$(BUILD)/tsan/tests/%)

.PHONY: tsan-parts
tsan-parts: $(TSAN_TESTS:%=$(BUILD)/tests/%)

# Without those that measure time or read much: valgrind is twenty times slower. In test_check_up iconv
# loads its tables by dlopen(), which valgrind takes for a fault; in test_tail_* it takes a logger's
# memmove() for memcpy(), which libc has at the same place. The sanitizers watch them.
NO_VALGRIND    := test_check test_check_schedule test_check_up test_hostile test_records \
                  test_tail_look test_tail_positions test_tail_search
VALGRIND_TESTS := $(filter-out $(NO_VALGRIND:%=$(BUILD)/tests/%),$(UNIT_PROGRAMS))
check-valgrind: ## unit tests under valgrind
check-valgrind: $(VALGRIND_TESTS)
	$(CHECK) -q valgrind scripts/each --valgrind $^

.PHONY: lint
lint: all
lint: ## layers, clang-tidy, cppcheck, shellcheck, units by systemd, printed tables, manual pages, the ABI
	$(CHECK) lint env CC='$(CC)' CXX='$(CXX)' BUILD='$(BUILD)' scripts/lint
