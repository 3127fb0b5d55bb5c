# Fuzzing (libFuzzer) and soaking: what runs as long as it is told to.
# A fuzz target is tests/fuzz/fuzz_X.c, its seeds are in tests/fuzz/corpus/X. New
# finds are kept below $(BUILD) and tried first the next time.
FUZZ_TARGETS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

.PHONY: fuzz fuzz-parts
fuzz: ## each fuzz target for FUZZ_SECONDS (libFuzzer, ASan, UBSan)
	$(Q)scripts/deps build fuzz
	$(Q)$(MAKE) --no-print-directory -s BUILD=$(BUILD)/fuzz CC=clang-14 \
	  SAN=fuzzer-no-link,address,undefined fuzz-parts
	$(Q)scripts/fuzz $(BUILD)/fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS)

fuzz-parts: $(FUZZ_TARGETS:%=$(BUILD)/%)
$(BUILD)/fuzz_%: tests/fuzz/fuzz_%.c $(ARCHIVES) $(BUILD)/flags | $(BUILD)/deps.ok
	$(call say,FUZZ,$<)$(CC) $(CFLAGS) $(PG_CFLAGS) $(LDFLAGS) -fsanitize=fuzzer \
	  $< $(ARCHIVES) $(LIBS) -o $@

$(BUILD)/soak/logcore_many: tests/soak/logcore_many.c $(BUILD)/liblogcore.a $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.c %.a,$^) -pthread -o $@

.PHONY: soak
soak: ## random faults for SOAK_SECONDS, then the long fault tests; prints the table of faults
soak: $(PARTS) $(BUILD)/soak/logcore_many
	$(Q)scripts/deps build demo test
	$(Q)rm -f $(BUILD)/soak.jsonl
	$(CHECK) soak env SOAK_SECONDS=$(SOAK_SECONDS) OBSERV_FAULT_REPORT=$(OBSERV_BUILD)/soak.jsonl \
	  $(PYTEST) -m soak $(PYTEST_ARGS) tests/system/agent/test_soak.py tests/system
