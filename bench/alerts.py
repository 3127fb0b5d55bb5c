#!/usr/bin/python3
"""What an evaluation of many alert rules costs: CPU of PostgreSQL, and time.

    bench/alerts.py [--agents 1000,10000,50000] [--rules 200] [--rounds 5] [--check]

Each agent has a server of its own, and sends a sample and the result of a check a minute. Half an hour of
that
is there, and roll-ups, and log lines. The rules are those that schema.sql installs,
and more on all metrics, with
other windows, thresholds and matchers. A round is one evaluate_alerts(), a minute after the one before:

    quiet     new samples have come, no alert changes
    all due   the same at a full hour, when also the rules are due that are asked hourly
    busy      a tenth of the servers goes beyond thresholds, or comes back: alerts begin and end

`values` is relevant_values() of a quiet round alone. CPU is that of the backend,
which the load of the machine
changes little; ms is the time of the best round, with the load beside it. --check fails if 10,000 agents
are over
a bar: CPU of a quiet round 200 ms, of one with all rules due 1 s, of a busy one 2 s,
that is 1 s on two cores.
"""
import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from idle import Cluster                                    # it also sets the path of the tests' modules


SETTINGS = ("shared_buffers=1GB", "max_wal_size=4GB", "synchronous_commit=off")
MINUTES = 31
BEGIN = "2026-11-30 11:27:00+00"        # of the first sample; the third round is at 12:00
BARS_MS = {"quiet": 200, "all due": 1000, "busy": 2000}
BAR_AGENTS = 10_000

AGENTS = """
INSERT INTO agents (vps_name, app_name, epoch, last_seq, version, interval_s, skew_ms, first_seen_at,
    last_seen_at, state)
SELECT 'srv-' || lpad(i::text, 5, '0'), 'app-' || lpad((i %% 200)::text, 3, '0'), 1, 1, '0.1.0', 60, i %% 40,
    %(now)s::timestamptz - interval '90 days', %(now)s::timestamptz - i %% 58 * interval '1 s',
    '{"rss_kb": 13800, "pending": 0, "lost": 0, "rejects": 0, "tail": {"files": 2, "lag_bytes": 70,
    "lag_s": 0}}'
FROM generate_series(0, %(agents)s - 1) i
"""
# A sample of each agent, %(minute)s minutes after the first one. %(hot)s: a tenth of the servers is busy.
SAMPLES = """
INSERT INTO vps_metrics (timestamp, received_at, vps_name, app_name, cpu_percent, memory_percent, memory_mb,
    disk_percent, disk_gb, load_avg_1m, load_avg_5m, load_avg_15m, cpu_user_percent, cpu_system_percent,
    cpu_iowait_percent, cpu_steal_percent, memory_total_mb, swap_percent, swap_mb, disk_total_gb,
    inode_percent,
    net_rx_bytes_per_s, net_tx_bytes_per_s, disk_read_bytes_per_s, disk_write_bytes_per_s, tcp_connections,
    psi_cpu_percent, psi_memory_percent, psi_io_percent, uptime_s, processes, cpu_count, app_cpu_percent,
    app_memory_mb, app_restarts, app_processes, details)
SELECT t, t, vps_name, app_name, CASE WHEN %(hot)s AND h %% 10 = 0 THEN 99 ELSE cpu END, 30 + h %% 50,
    2400 + h,
    20 + h %% 60, 32 + h / 10, cpu / 25, cpu / 26, cpu / 27, cpu * 0.6, cpu * 0.2, cpu / 12, 0.3, 8000, 4,
    40, 160,
    11, cpu * 4000, cpu * 9000, h * 100, h * 900, 180 + cpu, cpu / 4, 0, cpu / 9, 3456000 + m * 60, 210, 4,
    cpu * 0.8,
    240 + h %% 300, 0, 12, CASE WHEN (m + h) %% 15 = 0 THEN jsonb_build_object('boot_id', 'b', 'mounts',
    jsonb_build_array(
        jsonb_build_object('mount', '/', 'fs', 'ext4', 'percent', 20 + h %% 60, 'total_gb', 160, 'used_gb',
        80,
            'inode_percent', 11),
        jsonb_build_object('mount', '/var', 'fs', 'ext4', 'percent', 30 + h %% 50, 'total_gb', 160,
        'used_gb', 80,
            'inode_percent', 12))) END
FROM (SELECT a.*, m, h, %(start)s::timestamptz + m * interval '1 min' - h %% 58 * interval '1 s' AS t,
        least(70, greatest(1, 14 + h %% 41 + 9 * random())) AS cpu
    FROM agents a, generate_series(%(minute)s, %(minute)s + %(minutes)s - 1) m,
        LATERAL (SELECT abs(hashtext(vps_name)) %% 1000) h (h)) x
"""
ROLLUPS = """
INSERT INTO {table} (vps_name, app_name, timestamp, samples, disk_percent_avg, mounts)
SELECT vps_name, app_name, date_trunc('hour', %(now)s::timestamptz) - n * interval '{step}', 60, p,
    CASE WHEN n %% {told} = 0 THEN jsonb_build_object('/', p, '/var', p) END
FROM agents, generate_series(0, {buckets}) n, LATERAL (SELECT 20 + abs(hashtext(vps_name)) %% 60) x(p)
"""
CHECKS = """
INSERT INTO health_checks (timestamp, received_at, vps_name, app_name, url, status_code, response_time_ms,
success,
    interval_s, cert_expires_at)
SELECT t, t, vps_name, app_name, 'https://' || app_name || '.example/', 200, 20 + random() * 50, true, 60,
    %(start)s::timestamptz + interval '60 days'
FROM agents, generate_series(%(minute)s, %(minute)s + %(minutes)s - 1) m,
    LATERAL (SELECT %(start)s::timestamptz + m * interval '1 min' - abs(hashtext(vps_name)) %% 58 *
    interval '1 s') x(t)
"""
LATEST = """
INSERT INTO latest_checks SELECT vps_name, app_name, md5(u)::uuid, u, %(now)s, true, NULL, 60,
    %(now)s::timestamptz + interval '60 days'
FROM agents, LATERAL (SELECT 'https://' || app_name || '.example/') x(u)
"""
LINES = """
INSERT INTO log_entries (timestamp, received_at, vps_name, app_name, level, message)
SELECT t, t, vps_name, app_name, 'INFO', 'request done in ' || n || ' ms' FROM agents, generate_series(1,
    5) n,
    LATERAL (SELECT %(now)s::timestamptz - n * interval '90 s') x(t)
"""
# Thresholds that no quiet sample is beyond; values of a metric are below 1e7.
RULES = """
INSERT INTO alert_rules (name, kind, metric, params, warning, critical, match)
SELECT 'bench ' || row_number() OVER (), 'threshold', m, jsonb_build_object('agg', agg, 'window_s', w),
    CASE WHEN m LIKE '%%percent' THEN 90 ELSE 1e7 END, CASE WHEN m LIKE '%%percent' THEN 98 ELSE 2e7 END,
    CASE WHEN n %% 5 = 0 THEN '[{"label": "app", "op": "=~", "value": "app-0.*"}]'::jsonb ELSE '[]' END
FROM unnest(metric_columns()) WITH ORDINALITY u(m, n),
    (VALUES ('last', 1), ('avg', 300), ('avg', 600), ('max', 600), ('min', 300), ('avg', 900)) v(agg, w)
ORDER BY md5(m || agg || w) LIMIT greatest(0, %(rules)s - (SELECT count(*) FROM alert_rules))
"""


class Fleet:
    """A database with that many agents; its time goes on by a minute a round."""

    def __init__(self, cluster, agents, rules):
        self.database = cluster.new_database()
        self.minute = MINUTES
        self.values = {"start": BEGIN, "agents": agents, "rules": rules}
        self.connection = self.database.connect()
        self.cursor = self.connection.cursor()
        pid = self.ask("SELECT pg_backend_pid()")
        self.schedstat = Path(f"/proc/{pid}/schedstat")
        self.run("SET max_parallel_workers_per_gather = 0")     # what workers do would not be counted
        self.run(AGENTS)
        self.run(SAMPLES, minute=0, minutes=MINUTES, hot=False)
        self.run(CHECKS, minute=0, minutes=MINUTES)
        for table, step, buckets, told in (("metrics_5m", "5 min", 12, 3), ("metrics_1h", "1 hour", 6, 1)):
            self.run(ROLLUPS.format(table=table, step=step, buckets=buckets, told=told))
        for sql in (LATEST, LINES, RULES, "VACUUM ANALYZE"):
            self.run(sql)
        self.evaluate()

    def run(self, sql, **values):
        self.cursor.execute("SELECT %s::timestamptz + %s * interval '1 min'", (BEGIN, self.minute - 1))
        now = self.cursor.fetchone()[0]
        self.cursor.execute(sql, {**self.values, "now": now, **values})

    def ask(self, sql, *parameters):
        self.cursor.execute(sql, parameters)
        return self.cursor.fetchone()[0]

    def measured(self, sql):
        """CPU ms, ms and the answer of a query of the present time."""
        def cpu():
            return int(self.schedstat.read_text().split()[0])
        spent, began = cpu(), time.monotonic()
        self.run(sql)
        answer = self.cursor.fetchone()[0]
        return (cpu() - spent) / 1e6, (time.monotonic() - began) * 1e3, answer

    def evaluate(self):
        return self.measured("SELECT evaluate_alerts(%(now)s)")

    def minute_later(self, hot):
        """What the agents send in a minute, and nothing of vacuum within a measurement."""
        self.run(SAMPLES, minute=self.minute, minutes=1, hot=hot)
        self.run(CHECKS, minute=self.minute, minutes=1)
        self.minute += 1
        self.run("UPDATE agents SET last_seen_at = %(now)s - abs(hashtext(vps_name)) %% 58 * interval '1 s'")
        self.run("VACUUM agents")

    def round(self, hot):
        self.minute_later(hot)
        return self.evaluate()


def row(name, agents, measures, note=""):
    cpu, took = min(m[0] for m in measures), min(m[1] for m in measures)
    print(f"{agents:8} {name:10} {cpu:9.0f} {took:9.0f} {os.getloadavg()[0]:6.1f}  {note}")
    return cpu


def measure(cluster, agents, options):
    fleet = Fleet(cluster, agents, options.rules)
    over = []
    quiet = [fleet.round(False) for _ in range(2)]
    due = fleet.round(False)
    quiet += [fleet.round(False) for _ in range(options.rounds - 2)]
    values = [fleet.measured("SELECT count(*) FROM relevant_values("
                             "(SELECT array_agg(r) FROM alert_rules r), %(now)s)")
              for _ in range(2)]
    busy = [fleet.round(n % 2 == 0) for n in range(options.rounds)]
    cost = {"values": row("values", agents, values), "quiet": row("quiet", agents, quiet, quiet[-1][2]),
            "all due": row("all due", agents, [due], due[2]),
            "busy": row("busy", agents, [max(busy)], f"{[b[2]['changes'] for b in busy]} changes")}
    if agents == BAR_AGENTS:
        over = [f"{name}: {cost[name]:.0f} ms, at most {bar}"
                for name, bar in BARS_MS.items() if cost[name] > bar]
    fleet.connection.close()
    return over


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", default="1000,10000,50000")
    parser.add_argument("--rules", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="observ-bench-") as folder:
        Path(folder).chmod(0o755)
        cluster = Cluster(Path(folder) / "pg")
        cluster.start(*SETTINGS)
        try:
            print(f"{'agents':>8} {'round':10} {'CPU ms':>9} {'best ms':>9} {'load':>6}  "
                  f"{options.rules} rules")
            over = [o for n in options.agents.split(",") for o in measure(cluster, int(n), options)]
        finally:
            cluster.stop("immediate")
    print("over their bars: " + ("; ".join(over) or "none"))
    return options.check and bool(over)


if __name__ == "__main__":
    sys.exit(main())
