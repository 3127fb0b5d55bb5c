# Unit tests (cmocka): the list, what each links, and how they are built.
#
# A unit test includes the .c that it tests, and links the archives: what it includes or replaces by a
# fake of its own is not taken from there.
UNIT_TESTS := \
  agent/test_check \
  agent/test_check_schedule \
  agent/test_check_up \
  agent/test_config \
  agent/test_config_print \
  agent/test_deliver \
  agent/test_doctor \
  agent/test_explain \
  agent/test_log_name \
  agent/test_log_open \
  agent/test_outbox \
  agent/test_proc \
  agent/test_proc_source \
  agent/test_rate_limit \
  agent/test_status \
  agent/test_stream \
  agent/test_stream_life \
  agent/test_tail_cover \
  agent/test_tail_look \
  agent/test_tail_positions \
  agent/test_tail_search \
  agent/test_watches \
  common/test_common \
  common/test_line_start \
  common/test_log \
  common/test_near \
  common/test_notify \
  common/test_pg_message \
  common/test_pg_target \
  common/test_path_pattern \
  common/test_pg_tls \
  common/test_pg_verdict \
  common/test_template \
  common/test_url \
  common/test_zone \
  hub/test_body \
  hub/test_columns \
  hub/test_format \
  hub/test_http \
  hub/test_post_lines \
  hub/test_search \
  hub/test_setup \
  hub/test_times \
  logcore/test_logcore \
  logcore/test_logcore_abi \
  logcore/test_logcore_edges \
  logcore/test_logcore_fields \
  logcore/test_logcore_files \
  logcore/test_logcore_hpp \
  logcore/test_logcore_journal \
  logcore/test_logcore_killed \
  logcore/test_logcore_logger \
  logcore/test_logcore_modes \
  logcore/test_logcore_property \
  logcore/test_logcore_rotation \
  logcore/test_logcore_sink \
  logcore/test_redact \
  wire/test_batch \
  wire/test_hostile \
  wire/test_json_lenient \
  wire/test_log_level \
  wire/test_log_trace \
  wire/test_log_wrapper \
  wire/test_log_keys \
  wire/test_log_fields \
  wire/test_log_line \
  wire/test_log_text \
  wire/test_log_time \
  wire/test_multiline \
  wire/test_records

wrap = $(patsubst %,-Wl$(,)--wrap=%,$(1))
, := ,
LIBS_test_logcore          = $(call wrap,clock_gettime)
LIBS_test_logcore_fields   = -rdynamic
LIBS_test_logcore_sink     = $(call wrap,write malloc calloc realloc)
LIBS_test_logcore_modes    = $(call wrap,clock_gettime write posix_fallocate malloc calloc realloc)
LIBS_test_logcore_killed   = $(call wrap,write)
LIBS_test_logcore_rotation = $(call wrap,clock_gettime)
LIBS_test_logcore_abi      = -lstdc++ -DSHARED_LIBRARY='"$(abspath $(BUILD)/$(SONAME))"'
LIBS_test_logcore_hpp      = -lstdc++
$(BUILD)/tests/test_logcore_abi: $(addprefix $(BUILD)/tests/logcore_,c11.o cxx.o) | $(BUILD)/$(SONAME)
$(BUILD)/tests/test_logcore_hpp: $(BUILD)/tests/logcore_hpp.o

# logcore.h as others compile it: by itself, strictly, without our flags.
STRICT := -iquote . -pedantic-errors -Wall -Wextra -Wshadow -Wconversion -Wdouble-promotion -Werror \
          -g -fPIC -MMD -MP
$(BUILD)/tests/logcore_c11.o: tests/unit/logcore/logcore_c11.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) -std=c11 $(STRICT) $(OPT) $(LDSAN) -c $< -o $@
$(BUILD)/tests/logcore_%.o: tests/unit/logcore/logcore_%.cc $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CXX,$<)$(CXX) -std=c++17 $(STRICT) -Wold-style-cast $(OPT) $(LDSAN) -c $< -o $@

UNIT_PROGRAMS := $(addprefix $(BUILD)/tests/,$(notdir $(UNIT_TESTS)))
$(foreach t,$(UNIT_TESTS),$(eval $(BUILD)/tests/$(notdir $t): tests/unit/$t.c))
$(UNIT_PROGRAMS): $(ARCHIVES) $(BUILD)/flags | $(BUILD)/deps.ok
	@mkdir -p $(@D)
	$(call say,TEST,$(filter tests/%.c,$^))$(CC) $(CFLAGS) $(PG_CFLAGS) $(LDFLAGS) \
	  $(filter tests/%.c %.o,$^) $(ARCHIVES) -lcmocka $(LIBS) $(LIBS_$(@F)) -o $@
