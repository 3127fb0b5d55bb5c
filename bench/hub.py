#!/usr/bin/python3
"""What the hub's pages cost at scale: p50 and p95 of every page, by CGI and FastCGI.

    bench/hub.py [--agents 10000] [--lines 10000000] [--days 7] [--data build/bench/hub]
                 [--rounds 20] [--only WORD] [--modes fastcgi,cgi] [--no-grep] [--no-viewers]

The rows are made inside a private PostgreSQL. The folder of --data keeps them, so the next run with the same
numbers only measures. Two agents share a server. Log lines are spread evenly over the days: a word that is in
each second line, one in 3 % of them, one in 1 of 200,000, 50,000 values of a key, 200 applications, 40
loggers. All agents have an hour of metrics and checks. Twenty servers have all days of samples, and 90 days
of roll-ups: a server's page is measured on them.

Every request has other names and values than the one before it. Pages are warm: all tables and indexes are
read first, so 10 million lines need 16 GB of memory. CPU is PostgreSQL's, of a request. grep counts the same
word in the same lines in files, which are warm too.
"""
import argparse
import contextlib
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg2

from idle import BUILD, TOP, Cluster                        # it also sets the path of the tests' modules
from tail import server_seconds
from harness import Database
from hub_server import Hub

SETTINGS = ("shared_buffers=4GB", "max_wal_size=16GB", "maintenance_work_mem=1GB", "checkpoint_timeout=30min",
            "synchronous_commit=off", "max_connections=60")
CHART_SERVERS = 20
APPS, USERS = 200, 50_000
FRESH_S = 240                   # older metrics are made anew before pages are measured
VIEWERS, VIEWERS_S = 10, 20
BARS_MS = {"first page": 50, "with counts": 300, "fleet": 300, "server": 150, "viewers": 1000}

# ---- filling ------------------------------------------------------------------------------------

AGENTS = """
INSERT INTO agents (vps_name, app_name, epoch, last_seq, version, interval_s, skew_ms, first_seen_at,
    last_seen_at, state)
SELECT 'srv-' || lpad((i / 2)::text, 5, '0'), 'app-' || lpad(((i / 2 * 7 + i %% 2) %% %(apps)s)::text, 3,
    '0'),
    1, 1, '0.1.0', 60, i %% 40, now() - interval '90 days', now() - i %% 58 * interval '1 s',
        jsonb_build_object(
    'rss_kb', 13800, 'pending', 0, 'lost', 0, 'rejects', 0, 'last_commit', to_char(now() AT TIME ZONE 'UTC',
    'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'outbox', '{"bytes": 1204}'::jsonb, 'tail', jsonb_build_object('files',
        2,
    'lag_bytes', 70, 'lag_s', 0, 'streams', jsonb_build_array(jsonb_build_object('path',
    '/opt/deployments/app/current/log/app.log', 'lag_bytes', 70, 'lag_s', 0))))
FROM generate_series(0, %(agents)s - 1) i
"""
# Rows of the agents that a condition names, each minute of some hours before each agent was seen.
METRICS = """
INSERT INTO vps_metrics (timestamp, vps_name, app_name, received_at, cpu_percent, memory_percent, memory_mb,
    disk_percent, disk_gb, load_avg_1m, load_avg_5m, load_avg_15m, cpu_iowait_percent, cpu_steal_percent,
    memory_total_mb, swap_percent, disk_total_gb, inode_percent, net_rx_bytes_per_s, net_tx_bytes_per_s,
    disk_read_bytes_per_s, disk_write_bytes_per_s, tcp_connections, psi_cpu_percent, psi_memory_percent,
    psi_io_percent, uptime_s, processes, cpu_count, app_cpu_percent, app_memory_mb)
SELECT t, vps_name, app_name, t, cpu, 30 + h %% 50, 2400 + h * 4, 20 + h %% 70, 32 + h / 10, cpu / 25,
    cpu / 26,
    cpu / 27, cpu / 12, 0.3, 8000, 4, 160, 11, cpu * 4000, cpu * 9000, h * 100, h * 900, 180 + cpu, cpu / 4,
        0,
    cpu / 9, 3456000 + s * 60, 210, 4, cpu * 0.8, 240 + h %% 300
FROM (SELECT a.*, s, h, a.last_seen_at - s * interval '1 min' AS t,
        least(99, greatest(1, 14 + h %% 41 + 20 * sin(s / 140.0 + h) + 9 * random())) AS cpu
    FROM agents a, generate_series(0, %(minutes)s - 1) s,
        LATERAL (SELECT abs(hashtext(vps_name)) %% 1000) h (h)
    WHERE %(which)s) x
"""
CHECKS = """
INSERT INTO health_checks (timestamp, vps_name, app_name, received_at, url, status_code, response_time_ms,
    success, error_class, error_message, dns_ms, connect_ms, tls_ms, first_byte_ms, attempts, interval_s)
SELECT last_seen_at - s * interval '1 min', vps_name, app_name, last_seen_at, url, CASE WHEN ok THEN 200 END,
    24 + 90 * random() ^ 3, ok, CASE WHEN NOT ok THEN 'timeout' END, CASE WHEN NOT ok THEN
    'no answer within 5 s' END, 1, 4, 9, 20, 1, 60
FROM agents a, generate_series(0, %(minutes)s - 1) s,
    unnest(ARRAY['http://127.0.0.1:8000/health', 'https://www.example.com/' || app_name]) url,
    LATERAL (SELECT hashtext(vps_name || url) %% 100 <> 0 OR s > 9) o (ok) WHERE %(which)s
"""
ROLLUPS = """
INSERT INTO %(table)s (vps_name, app_name, "timestamp", samples, %(columns)s)
SELECT vps_name, app_name, t, %(samples)s, %(values)s
FROM agents, generate_series(date_bin('%(step)s', now() - interval '90 days', '2000-01-01Z'),
    now() - interval '%(days)s days', '%(step)s') t,
    LATERAL (SELECT 40 + 30 * sin(extract(epoch FROM t) / 9000)) x (v)
WHERE %(which)s ON CONFLICT DO NOTHING
"""
# Lines %(first)s to %(last)s, in the order of their time.
LINES = """
INSERT INTO log_entries (timestamp, vps_name, app_name, level, logger, message, context, stream_id,
    stream_offset, received_at)
SELECT t, 'srv-' || lpad((agent / 2)::text, 5, '0'),
    'app-' || lpad(((agent / 2 * 7 + agent %% 2) %% %(apps)s)::text, 3, '0'), level, 'com.example.' ||
    (ARRAY['http', 'orders', 'payments', 'jobs', 'cache', 'db', 'auth', 'mail'])[1 + n %% 8] || '.Service' ||
    dice %% 5, CASE WHEN dice %% 33 = 0 THEN 'upstream timeout after ' || dice %% 997 || ' ms, attempt '
        || dice %% 5
    WHEN dice %% 2 = 0 THEN 'request served: GET /v1/orders/' || dice %% 90000 || ' in ' || dice %% 997
        || ' ms'
    WHEN dice %% 5 < 2 THEN 'cache ' || (ARRAY['hit', 'miss', 'refreshed'])[1 + dice %% 3]
        || ' for key cart:' ||
    dice %% 70000 WHEN dice %% 7 < 4 THEN 'job ' || dice %% 500 || ' finished, ' || dice %% 40
        || ' rows written'
    ELSE 'user ' || n %% %(users)s || ' signed in from 10.' || dice %% 250 || '.' || n %% 250 || '.7' END ||
    CASE WHEN n %% 200000 = 77777 THEN ' quicksilver' ELSE '' END,
    jsonb_build_object('user_id', (n * 7919 + dice) %% %(users)s, 'request_id', md5(n::text), 'path',
    (ARRAY['/cart', '/checkout', '/orders/history', '/api/v2/items', '/login'])[1 + dice %% 5], 'status',
    (ARRAY[200, 200, 200, 200, 200, 200, 304, 404, 500])[1 + dice %% 9], 'ms', dice %% 997), agent, n * 230,
    t + interval '1 s'
FROM (SELECT n, ('x' || substr(md5(n::text || 'd'), 1, 7))::bit(28)::int AS dice,
        ('x' || substr(md5(n::text || 'a'), 1, 7))::bit(28)::int %% %(agents)s AS agent,
        '%(end)s'::timestamptz - (%(lines)s - n) * interval '%(days)s days' / %(lines)s AS t
    FROM generate_series(%(first)s::bigint, %(last)s) n) x,
    LATERAL (SELECT CASE WHEN dice %% 100 < 10 THEN 'DEBUG' WHEN dice %% 100 < 90 THEN 'INFO'
        WHEN dice %% 100 < 97 THEN 'WARNING' WHEN dice %% 1000 < 998 THEN 'ERROR'
            ELSE 'CRITICAL' END) l (level)
"""
FILES = """COPY (SELECT format('{"timestamp":"%%s","level":"%%s","logger":"%%s","message":%%s,"context":%%s}',
    to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), level, logger, to_json(message),
        context)
    FROM log_entries WHERE timestamp >= '%s'::timestamptz AND timestamp < '%s'::timestamptz) TO STDOUT"""
CHART_AGENTS = f"vps_name < 'srv-{CHART_SERVERS:05d}'"


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Data:
    """The database of the folder, made when it is not there as asked."""

    def __init__(self, options):
        self.folder = Path(options.data).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.agents, self.lines, self.days = options.agents, options.lines, options.days
        self.wanted = {"agents": self.agents, "lines": self.lines, "days": self.days}
        self.cluster = Cluster(self.folder / "pg")
        self.cluster.start(*SETTINGS)
        self.database = self.end = None

    def open(self):
        made = self.folder / "made.json"
        kept = json.loads(made.read_text()) if made.exists() else {}
        if {k: kept.get(k) for k in self.wanted} != self.wanted:
            made.unlink(missing_ok=True)
            self.fill()
            made.write_text(json.dumps({**self.wanted, "end": self.end}))
        else:
            self.database = self.attach()
            self.end = kept["end"]
        self.freshen()
        self.database.query("CREATE EXTENSION IF NOT EXISTS pg_prewarm SCHEMA public")
        self.database.query("""SELECT sum(public.pg_prewarm(oid, 'read')) FROM pg_class
            WHERE relkind IN ('r', 't', 'i')""")

    def attach(self):
        self.cluster.install("observ_bench")
        database = Database(self.cluster, "observ_bench")
        database.query("""DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bench_hub') THEN
            CREATE ROLE bench_hub LOGIN IN ROLE observ_hub; END IF; END $$""")
        return database

    def fill(self):
        began = time.monotonic()
        subprocess.run([TOP / "scripts/pg", "stop", self.cluster.folder], check=True)
        self.cluster.start(*SETTINGS)
        with self.cursor("postgres") as cursor:
            cursor.execute("DROP DATABASE IF EXISTS observ_bench WITH (FORCE)")
        self.database = self.attach()
        self.end = self.database.one("SELECT to_json(date_trunc('second', now())) #>> '{}'")
        say(f"filling {self.folder}: {self.agents:,} agents, {self.lines:,} lines")
        self.database.query(AGENTS % {"agents": self.agents, "apps": APPS})
        for day in range(self.days + 1):
            for table in ("log_entries", "vps_metrics", "health_checks"):
                self.database.query(
                    f"SELECT make_partition('{table}', (now() AT TIME ZONE 'UTC')::date - {day})")
        self.fill_lines()
        say("samples of the servers with charts")
        minutes = {"minutes": self.days * 1440, "which": CHART_AGENTS}
        self.database.query(METRICS % minutes)
        self.database.query(CHECKS % minutes)
        self.fill_rollups()
        say("roll-ups, statistics")
        for statement in ("SELECT maintain('1 hour')", "VACUUM ANALYZE", "CHECKPOINT"):
            self.database.query(statement)
        say("the same lines in files")
        self.write_files()
        say(f"filled in {time.monotonic() - began:.0f} s, "
            + self.database.one("SELECT pg_size_pretty(pg_database_size(current_database()))"))

    @contextlib.contextmanager
    def cursor(self, name="observ_bench"):
        """Of a connection of its own, for a thread."""
        with contextlib.closing(psycopg2.connect(self.cluster.url(name))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor

    def fill_lines(self):
        """Two connections fill partitions without indexes, which are made of the whole then."""
        indexes = self.database.query("""SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_index i
            JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = 'log_entries'::regclass""")
        for name, _ in indexes:
            self.database.query(f"DROP INDEX {name}")
        part = max(self.lines // 40, 1)
        parts = [(first, min(first + part - 1, self.lines)) for first in range(1, self.lines + 1, part)]
        lock = threading.Lock()

        def work():
            with self.cursor() as cursor:
                while True:
                    with lock:
                        if not parts:
                            return
                        first, last = parts.pop(0)
                    cursor.execute(LINES % {"first": first, "last": last, "lines": self.lines, "apps": APPS,
                                            "users": USERS, "agents": self.agents, "days": self.days,
                                            "end": self.end})
        self.at_once([work, work])
        say("lines are there; their indexes")
        todo = [re.sub(" ON ONLY ", " ON ", definition) for _, definition in indexes]

        def index():
            with self.cursor() as cursor:
                while todo:
                    cursor.execute(todo.pop())
        self.at_once([index])

    @staticmethod
    def at_once(functions):
        failures = []

        def guarded(function):
            try:
                function()
            except Exception as error:                      # the thread's; raised below
                failures.append(error)
        threads = [threading.Thread(target=guarded, args=(f,)) for f in functions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def fill_rollups(self):
        columns = self.database.one("SELECT rollup_columns()")
        names = [f"{c}_{f}" for c in columns for f in ("avg", "min", "max")]
        for table, step, samples in (("metrics_5m", "5 min", 5), ("metrics_1h", "1 hour", 60)):
            self.database.query(ROLLUPS % {
                "table": table, "step": step, "samples": samples, "columns": ", ".join(names),
                        "days": self.days,
                "values": ", ".join(["v", "v - 5", "v + 5"] * len(columns)), "which": CHART_AGENTS})

    def write_files(self):
        folder = self.folder / "files"
        folder.mkdir(exist_ok=True)
        with self.cursor() as cursor:
            for day in range(self.days):
                since, until = (self.database.one("SELECT %s::timestamptz - %s * interval '1 day'", self.end,
                        n)
                                for n in (day + 1, day))
                with open(folder / f"{day}.log", "wb") as f:
                    cursor.copy_expert(FILES % (since, until), f)

    def freshen(self):
        """The fleet as it is right after a minute of pushes: agents, the last hour, lines of 10 minutes."""
        age = self.database.one("SELECT extract(epoch FROM now() - max(last_seen_at)) FROM agents")
        fresh = self.database.one("""SELECT EXISTS (SELECT FROM vps_metrics
            WHERE vps_name = 'srv-00099' AND timestamp > now() - interval '10 min')""")
        if age < FRESH_S and fresh:
            return
        say("the last hour of all agents")
        self.database.query("UPDATE agents SET last_seen_at = last_seen_at + %s * interval '1 s'", float(age))
        for table in ("vps_metrics", "health_checks"):
            self.database.query(f"DELETE FROM {table} WHERE timestamp > now() - interval '70 min'")
        self.database.query(METRICS % {"minutes": 60, "which": "true"})
        self.database.query(CHECKS % {"minutes": 25, "which": "true"})
        lines = self.lines // (self.days * 144)
        self.database.query(
            f"DELETE FROM log_entries WHERE timestamp > '{self.end}'::timestamptz + interval '1 min'")
        now = self.database.one("SELECT to_json(now()) #>> '{}'")
        self.database.query(LINES % {
            "first": self.lines - lines + 1, "last": self.lines, "lines": self.lines, "apps": APPS,
            "users": USERS, "agents": self.agents, "days": self.days, "end": now})
        for statement in ("SELECT rebuild_latest()", "SELECT maintain('10 min')",
                          "VACUUM ANALYZE agents, vps_metrics, health_checks, latest_samples, latest_checks",
                          "CHECKPOINT"):
            self.database.query(statement)


# ---- pages --------------------------------------------------------------------------------------

class Pages:
    """The requests of each class; every call of a maker gives another one."""

    def __init__(self, data):
        self.data, self.dice = data, random.Random(7)
        self.end = data.end

    def server(self):
        return f"srv-{self.dice.randrange(self.data.agents // 2):05d}"

    def chart_server(self):
        return f"srv-{self.dice.randrange(CHART_SERVERS):05d}"

    def app(self):
        return f"app-{self.dice.randrange(APPS):03d}"

    def user(self):
        return self.dice.randrange(USERS)

    def since(self, hours):
        return self.data.database.one("SELECT to_json(%s::timestamptz - %s * interval '1 h') #>> '{}'",
                self.end, hours)

    def classes(self):
        """(bar, name, maker of path and query)"""
        yield "fleet", "fleet", lambda: ("/", {})
        yield "fleet", "fleet, page 2", lambda: ("/", {"page": "2"})
        yield "fleet", "fleet by cpu", lambda: ("/", {"sort": "cpu"})
        yield "fleet", "fleet, a word", lambda: ("/", {"q": f"-{self.dice.randrange(99):02d}"})
        yield "fleet", "fleet, wall", lambda: ("/", {"view": "wall"})
        yield None, "fleet, 1,000 servers", lambda: ("/", {"show": "1000"})
        yield None, "fleet, json", lambda: ("/", {"format": "json"})
        yield None, "fleet, csv", lambda: ("/", {"format": "csv"})
        for span in ("15m", "1h", "6h", "24h", "7d", "30d", "90d"):
            yield "server", f"server {span}", \
                lambda span=span: (f"/servers/{self.chart_server()}", {"range": span})
        terms = {
            "all": lambda: "", "common": lambda: "request", "3 %": lambda: "timeout",
            "rare": lambda: "quicksilver", "absent": lambda: f"xylophone{self.dice.randrange(1000)}",
            "prefix": lambda: "quicks*", "phrase": lambda: '"upstream timeout"',
            "server": lambda: f"vps:{self.server()}", "app": lambda: f"app:{self.app()}",
            "errors": lambda: "level>=error", "logger": lambda: "logger:com.example.mail.Service3",
            "ctx": lambda: f"ctx.user_id={self.user()}", "ctx common": lambda: "ctx.status=500",
            "app+3 %": lambda: f"app:{self.app()} timeout",
            "server+3 %": lambda: f"vps:{self.server()} timeout",
            "app+rare": lambda: f"app:{self.app()} quicksilver",
            "ctx+server": lambda: f"ctx.status=500 vps:{self.server()}",
            "OR": lambda: f"app:{self.app()} OR quicksilver", "NOT": lambda: f"-request app:{self.app()}",
            "absent OR rare": lambda: "xylophone OR quicksilver",
        }
        for hours, span in ((1, "1 h"), (24, "24 h"), (168, "7 d")):
            since = self.since(hours)
            for name, term in terms.items():
                for bar, more in (("first page", {"counts": "no"}), ("with counts", {})):
                    yield bar, f"{name}, {span}{'' if more else ', counts'}", \
                        lambda t=term, m=more, s=since: ("/logs", {"q": t(), "from": s, "to": self.end, **m})


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))]


class Bench:
    def __init__(self, data, options, folder):
        self.data, self.options, self.folder = data, options, folder
        pid = data.cluster.folder / "data/postmaster.pid"
        self.postmaster = int(pid.read_text().split()[0])
        self.over = []

    def hub(self, mode):
        folder = Path(self.folder) / mode
        folder.mkdir()
        return Hub(folder, self.data.database.url("bench_hub"), mode, procs=2).start()    # as the template

    def measure(self, hub, name, make):
        """ms of each request, PostgreSQL's CPU of one, bytes of the largest."""
        took, size = [], 0
        for n in range(self.options.rounds + 2):
            path, query = make()
            if n == 2:
                began = server_seconds(self.postmaster)
            answer, seconds = hub.timed(path, **query)
            if answer.status != 200:
                sys.exit(f"{name}: {path} {query}: {answer.status} {answer.text[:500]}")
            if n >= 2:
                took.append(seconds * 1000)
                size = max(size, len(answer.body))
        return took, (server_seconds(self.postmaster) - began) * 1000 / self.options.rounds, size

    def run(self, mode):
        hub = self.hub(mode)
        print(f"\n{mode:34} {'p50 ms':>8} {'p95 ms':>8} {'best ms':>8} {'CPU ms':>8} {'kB':>8} {'bar':>6}")
        try:
            for bar, name, make in Pages(self.data).classes():
                if self.options.only and not re.search(self.options.only, name):
                    continue
                took, cpu, size = self.measure(hub, name, make)
                p95, limit = quantile(took, 0.95), BARS_MS.get(bar)
                late = limit and p95 > limit
                if late:
                    self.over.append(f"{mode} {name}: {p95:.0f} ms of {limit}")
                print(f"{name:34} {statistics.median(took):8.1f} {p95:8.1f} {min(took):8.1f} {cpu:8.1f} "
                      f"{size / 1000:8.1f} {limit or '-':>6}{'  over' if late else ''}", flush=True)
            if not self.options.no_viewers:
                self.viewers(hub, mode)
        finally:
            hub.stop()

    def viewers(self, hub, mode):
        """Ten people, each of whom opens one page after the other."""
        took, end = [], time.monotonic() + VIEWERS_S
        makers = [make for bar, name, make in Pages(self.data).classes()
                  if bar in ("fleet", "server", "with counts")]

        def view(n):
            dice = random.Random(n)
            while time.monotonic() < end:
                path, query = dice.choice(makers)()
                answer, seconds = hub.timed(path, **query)
                took.append((seconds * 1000, answer.status))
        # PostgreSQL's connection of the makers is one.
        Data.at_once([lambda n=n: view(n) for n in range(VIEWERS)])
        ms = [t for t, _ in took]
        wrong = sum(status != 200 for _, status in took)
        p95 = quantile(ms, 0.95)
        if p95 > BARS_MS["viewers"]:
            self.over.append(f"{mode} ten viewers: {p95:.0f} ms of {BARS_MS['viewers']}")
        print(f"{'ten viewers, ' + str(len(ms)) + ' pages':34} {statistics.median(ms):8.1f} {p95:8.1f} "
              f"{min(ms):8.1f} {'':8} {'':8} {BARS_MS['viewers']:>6}{f'  {wrong} FAILED' if wrong else ''}",
                      flush=True)

    def grep(self):
        files = sorted((self.data.folder / "files").glob("*.log"))
        print(f"\n{'grep -c over the lines in files':34} {'ms':>8}  found")
        for span, days in (("24 h", 1), ("7 d", self.data.days)):
            for word in ("request", "timeout", "quicksilver", "xylophone", '"user_id": 4711,'):
                command = ["grep", "-c", "-F", "--", word, *files[:days]]
                subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
                began = time.monotonic()
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                took = time.monotonic() - began
                found = sum(int(line.rpartition(":")[2]) for line in done.stdout.split())
                print(f"{word + ', ' + span:34} {took * 1000:8.0f}  {found:,}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--data", default=BUILD / "bench" / "hub")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", default="", help="a regular expression: pages whose names it finds")
    parser.add_argument("--modes", default="fastcgi,cgi")
    parser.add_argument("--no-grep", action="store_true")
    parser.add_argument("--no-viewers", action="store_true")
    options = parser.parse_args()
    data = Data(options)
    try:
        data.open()
        with tempfile.TemporaryDirectory(prefix="observ-bench-") as folder:
            bench = Bench(data, options, folder)
            for mode in options.modes.split(","):
                bench.run(mode)
            if not options.no_grep:
                bench.grep()
        print("\nover their bars: " + ("; ".join(bench.over) or "none"))
    finally:
        data.cluster.stop()


if __name__ == "__main__":
    main()
