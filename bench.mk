# Benchmarks: each prints a table with ratios against peers and the floor of the machine.
.PHONY: bench
bench: ## what an idle agent and a million lines cost, beside peers from Debian; the scanner; the units
bench: all $(BUILD)/bench/scan $(BUILD)/bench/post
	$(Q)scripts/deps bench
	$(Q)$(PYTHON) bench/tail.py
	$(Q)bench/scan.py
	$(Q)bench/scan.py --text
	$(Q)$(PYTHON) bench/sandbox.py
	$(Q)$(PYTHON) bench/ingest.py
	$(Q)$(MAKE) --no-print-directory -s bench-log
	$(Q)$(PYTHON) bench/idle.py $(BENCH_SECONDS)

# Fills a database once and keeps it. BENCH_HUB='--lines 1000000' for work.
BENCH_HUB := --agents 10000 --lines 10000000
.PHONY: bench-hub
bench-hub: ## every page of the hub with 10,000 agents and ten million lines (20 GB), by CGI and FastCGI
bench-hub: all
	$(Q)$(PYTHON) bench/hub.py $(BENCH_HUB)

.PHONY: bench-alerts
bench-alerts: ## an evaluation of 200 alert rules over 1,000, 10,000 and 50,000 agents
bench-alerts: all
	$(Q)$(PYTHON) bench/alerts.py --check

.PHONY: bench-signed-in
bench-signed-in: ## what a sign-in adds to a page by CGI, in ms of the database's CPU; 1 at most
bench-signed-in: all
	$(Q)$(PYTHON) bench/signed_in.py

.PHONY: bench-notify
bench-notify: ## from the commit of a row that breaks a rule to the message that its peer has accepted
bench-notify: all
	$(Q)$(PYTHON) bench/notify.py --check

.PHONY: bench-text
bench-text: ## what a line of each text format of tests/corpus costs, in ns and instructions
bench-text: $(BUILD)/bench/scan
	$(Q)scripts/deps test
	$(Q)bench/scan.py --text

# A peer that can't be installed or built takes no part; why is in peers.err.
BENCH_LOG := $(BUILD)/bench/log
.PHONY: bench-log bench-log-peers
bench-log: ## what a log line costs: logcore, a floor by hand, peers from Debian
bench-log: $(BENCH_LOG)/floor $(BENCH_LOG)/logcore
	$(Q)scripts/deps bench || :
	$(Q)$(MAKE) --no-print-directory -sk bench-log-peers 2> $(BENCH_LOG)/peers.err || :
	$(Q)$(PYTHON) bench/log.py

bench-log-peers: $(BENCH_LOG)/spdlog $(BENCH_LOG)/glog $(BENCH_LOG)/golog

# Built as an application is, without our flags. The floor has them: the question is how much more
# logcore does, not what the flags cost.
BENCH_LOG_FLAGS := $(OPT) -g -Wall -Wextra -D_GNU_SOURCE
$(BENCH_LOG)/floor: private BENCH_LOG_FLAGS += $(HARDEN)
PC_spdlog := spdlog
PC_glog   := libglog
$(BENCH_LOG)/%: bench/log/%.c $(wildcard bench/log/*.h) $(BUILD)/liblogcore.a $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) -std=gnu11 $(BENCH_LOG_FLAGS) -Ilogcore $< $(BUILD)/liblogcore.a -pthread -o $@
$(BENCH_LOG)/%: bench/log/%.cc $(wildcard bench/log/*.h) $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CXX) -std=c++17 $(BENCH_LOG_FLAGS) $< \
	  $$(pkg-config --cflags --libs $(PC_$*)) -pthread -o $@
$(BENCH_LOG)/golog: bench/log/golog.go
	@mkdir -p $(@D)
	$(call say,GO,$@)GOPATH=/usr/share/gocode GO111MODULE=off go build -o $@ $<

$(BUILD)/bench/scan $(BUILD)/bench/post: $(BUILD)/bench/%: bench/%.c $(ARCHIVES) $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(CFLAGS) $(LDFLAGS) $< $(ARCHIVES) $(LIBS) -o $@
