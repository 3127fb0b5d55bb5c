/*
 * sample.h - the one data type that flows through the agent.
 *
 * A source makes a sample, the batch copies it, a transaction stores it. A sample borrows all
 * its texts: they are valid only during the call that passes it on. Leaves out how it becomes a row
 * (row_json.h).
 */
#ifndef WIRE_SAMPLE_H
#define WIRE_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/level.h"
#include "common/text.h"

/*
 * The metrics: identifier, column of vps_metrics, unit, meaning. maintain() rolls
 * up those in R(). To add one, append a row and run `make schema.sql`.
 *
 * The order is the wire format (push_metrics reads values by position), so it
 * is append-only: an older schema ignores values it does not know, a newer one
 * finds NULL. scripts/schema makes the lists of schema.sql from here.
 */
#define METRICS(X, R)                                                                                        \
	R(CPU_PERCENT,     "cpu_percent",            "%",   "busy time of all cores since the last sample")  \
	R(MEMORY_PERCENT,  "memory_percent",         "%",   "memory that is not available to new programs")  \
	R(MEMORY_MB,       "memory_mb",              "MB",  "memory that is not available to new programs")  \
	R(DISK_PERCENT,    "disk_percent",           "%",   "space used on the root file system (as df)")    \
	R(DISK_GB,         "disk_gb",                "GB",  "space used on the root file system")            \
	R(LOAD_1M,         "load_avg_1m",            "",    "load average over 1 minute")                    \
	X(LOAD_5M,         "load_avg_5m",            "",    "load average over 5 minutes")                   \
	X(LOAD_15M,        "load_avg_15m",           "",    "load average over 15 minutes")                  \
	X(CPU_USER,        "cpu_user_percent",       "%",   "time in user code (nice included)")             \
	X(CPU_SYSTEM,      "cpu_system_percent",     "%",   "time in the kernel (interrupts included)")      \
	R(CPU_IOWAIT,      "cpu_iowait_percent",     "%",   "time idle while waiting for disks")             \
	R(CPU_STEAL,       "cpu_steal_percent",      "%",   "time the hypervisor gave to other machines")    \
	X(MEMORY_TOTAL_MB, "memory_total_mb",        "MB",  "memory of the machine")                         \
	R(SWAP_PERCENT,    "swap_percent",           "%",   "swap used")                                     \
	X(SWAP_MB,         "swap_mb",                "MB",  "swap used")                                     \
	X(DISK_TOTAL_GB,   "disk_total_gb",          "GB",  "size of the root file system")                  \
	R(INODE_PERCENT,   "inode_percent",          "%",   "inodes used on the root file system")           \
	R(NET_RX,          "net_rx_bytes_per_s",     "B/s", "received on all real interfaces")               \
	R(NET_TX,          "net_tx_bytes_per_s",     "B/s", "sent on all real interfaces")                   \
	R(DISK_READ,       "disk_read_bytes_per_s",  "B/s", "read from all disks")                           \
	R(DISK_WRITE,      "disk_write_bytes_per_s", "B/s", "written to all disks")                          \
	R(TCP_CONNECTIONS, "tcp_connections",        "",    "TCP sockets in use, IPv4 and IPv6")             \
	R(PSI_CPU,         "psi_cpu_percent",        "%",   "time some task waited for a CPU, last 60 s")    \
	R(PSI_MEMORY,      "psi_memory_percent",     "%",   "time some task waited for memory, last 60 s")   \
	R(PSI_IO,          "psi_io_percent",         "%",   "time some task waited for a disk, last 60 s")   \
	X(UPTIME,          "uptime_s",               "s",   "time since boot")                               \
	X(PROCESSES,       "processes",              "",    "processes and threads known to the scheduler")  \
	X(CPU_COUNT,       "cpu_count",              "",    "cores that are online")                         \
	R(APP_CPU,         "app_cpu_percent",        "% of 1 core", "CPU time of the application's unit")    \
	R(APP_MEMORY_MB,   "app_memory_mb",          "MB",  "memory of the unit without its page cache")     \
	X(APP_RESTARTS,    "app_restarts",           "",    "restarts of the unit since it was loaded")      \
	X(APP_PROCESSES,   "app_processes",          "",    "processes and threads in the application's unit")

enum metric {
#define METRIC_ID(id, column, unit, help) METRIC_##id,
	METRICS(METRIC_ID, METRIC_ID)
#undef METRIC_ID
	METRIC_COUNT
};

struct metric_info {
	const char *column;
	const char *unit;
	const char *help;
};

extern const struct metric_info metric_table[METRIC_COUNT];     /* sample.c */

struct metrics_sample {
	double value[METRIC_COUNT];     /* NaN: not known, becomes NULL */
	struct text details;            /* a JSON object (mounts, interfaces, boot id), or absent:
					 * as the last row that had them */
};

/* What went wrong with a check, in the order in which things can go wrong. */
enum check_error { CHECK_OK, CHECK_DNS, CHECK_REFUSED, CHECK_TIMEOUT, CHECK_TLS, CHECK_PROTOCOL,
		   CHECK_STATUS, CHECK_BODY };
extern const char *const check_error_names[];   /* by enum check_error; "" for CHECK_OK */

struct check_sample {
	struct text url;                /* as it is shown, with *** for secrets */
	int status_code;                /* 0: no answer */
	double response_ms;             /* whole time of the last attempt */
	enum check_error error;
	struct text error_message;      /* one sentence, absent when CHECK_OK */
	double dns_ms, connect_ms, tls_ms, first_byte_ms;       /* NaN: phase not reached */
	int64_t cert_starts_us, cert_expires_us;        /* 0: no certificate seen */
	int attempts;                   /* 1: the first one decided */
	int64_t interval_us;            /* between two runs; 0: not known */
	bool changed;                   /* good after bad, bad after good, or the first result */
};

struct log_sample {
	int64_t stream_id;
	int64_t offset;                 /* of the line's first byte in its stream */
	enum log_level level;
	struct text logger;             /* absent: unknown */
	struct text message;
	struct text context;            /* a JSON object, checked; absent: none */
	struct text raw;                /* the line as it stands in the file */
	bool own;                       /* of an agent's own log, as far as the agent has to know */
};

struct gap_sample {
	int64_t stream_id;              /* 0: not about a log stream */
	const char *kind;               /* "truncated", "line_cut", "outbox_full" ... */
	int64_t lines;                  /* how many samples or lines; -1: not known */
	int64_t bytes;                  /* -1: not known */
	struct text detail;             /* one sentence */
};

/* What the server refused of a stream, and why; made by the batch. */
struct reject_sample {
	int64_t stream_id, offset;
	const char *sqlstate, *reason;
	struct text raw;                /* its bytes as they were read */
};

/*
 * The kinds of samples: identifier, name (in push() of schema.sql, and in the agent's state and log), table,
 * kept, measured.
 *
 * Kept: nobody can read it again, so the outbox keeps it until it is committed. Measured: it counts as a
 * sample that waits or was lost, and its row says whether it is late. The order is the format of the outbox's
 * files, so it is append-only. ARCHITECTURE.md says what a new kind needs besides its line here.
 */
#define SAMPLE_KINDS(K)                                                                                      \
	K(METRICS, metrics, "vps_metrics",   true,  true)                                                    \
	K(CHECK,   checks,  "health_checks", true,  true)                                                    \
	K(GAP,     gaps,    "gaps",          true,  false)                                                   \
	K(LOG,     logs,    "log_entries",   false, false)                                                   \
	K(REJECT,  rejects, "rejects",       false, false)

enum sample_kind {
#define SAMPLE_ID(id, name, table, kept, measured) SAMPLE_##id,
	SAMPLE_KINDS(SAMPLE_ID)
#undef SAMPLE_ID
	SAMPLE_KIND_COUNT
};

struct sample {
	enum sample_kind kind;
	int64_t timestamp_us;           /* wall clock */
	union {
		struct metrics_sample metrics;
		struct check_sample check;
		struct gap_sample gap;
		struct log_sample log;
		struct reject_sample reject;
	};
};

#endif
