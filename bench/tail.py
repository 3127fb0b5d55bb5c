#!/usr/bin/python3
"""Deliver a backlog of log lines to PostgreSQL, end to end: the agent, its peers from Debian, and COPY as the
limit.

    bench/tail.py [--lines 1000000] [--rounds 3] [--only copy,agent,...]
    bench/tail.py --backlog 10000000           the agent alone: is its memory flat?

All write into the tables and indexes of schema.sql, each into a new database of one private server, over
TCP without TLS (agent-tls: with). The clock runs from the shipper's start until its last row is
committed. The order turns from round to round. COPY sends rows that are already
parsed (binary, 5,000 a transaction with the position, what is constant as column defaults): it reads no
file. rsyslog (imfile, mmjsonparse, ompgsql) gets a tenth of the lines. Fluent Bit takes part where there is
a fluent-bit, with its table, which it requires. CPU is that of the shipper's process, and of all of
PostgreSQL's; bytes are those of IP packets both ways, MTU 65,536.
"""
import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import log_lines
from idle import AGENT, tcp_bytes, tls_cluster
from harness import wait_for

MILLION = 1_000_000
TICKS = os.sysconf("SC_CLK_TCK")
BATCH_ROWS = 5000               # the agent's
SLOW_PART = 10                  # rsyslog gets a tenth
PATIENCE_S = 500
# Autovacuum would slow down one contestant and not the next.
SETTINGS = ("shared_buffers=2GB", "max_wal_size=8GB", "jit=off", "fsync=on", "autovacuum=off",
            "checkpoint_timeout=1h")


# ---- what is measured ---------------------------------------------------------------------------

def stat_seconds(pid, fields):
    with contextlib.suppress(OSError):
        values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(values[i]) for i in fields) / TICKS
    return 0.0


def server_seconds(postmaster):
    """CPU of the postmaster and its children, including ended ones."""
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return stat_seconds(postmaster, (11, 12, 13, 14)) + sum(stat_seconds(c, (11, 12)) for c in children)


def shipper_seconds(pid):
    return stat_seconds(pid, (11, 12))


def peak_mb(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) / 1024


class Bench:
    """The server, and the input of all contestants."""

    def __init__(self, folder, stack):
        self.folder = folder
        self.cluster, self.port = tls_cluster(folder, stack, *SETTINGS)
        self.postmaster = int((folder / "pg/data/postmaster.pid").read_text().split()[0])
        self.database = None

    def new_database(self):
        if self.database:
            self.database.drop()
        self.database = self.cluster.new_database()
        self.database.query("ALTER ROLE agents PASSWORD 'bench'")
        self.database.query("ALTER ROLE postgres PASSWORD 'bench'")
        self.database.query("CHECKPOINT")

    def url(self, user="postgres", sslmode="disable"):
        return (f"host=127.0.0.1 port={self.port} user={user} password=bench sslmode={sslmode} "
                f"dbname={self.database.name}")

    def run(self, name, lines, path):
        """One run of a contestant."""
        contestant = CONTESTANTS[name]
        lines //= contestant.part
        self.new_database()
        command = contestant.prepare(self, lines, path)
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        (self.folder / "state").mkdir()
        with open(self.folder / f"{name}.log", "wb") as log:
            server, began = server_seconds(self.postmaster), time.monotonic()
            process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=log,
                                       env={**os.environ, "STATE_DIRECTORY": str(self.folder / "state")})
            try:
                self.wait_committed(contestant, lines, process, log.name)
                took = time.monotonic() - began
                result = {"lines/s": lines / took, "shipper": shipper_seconds(process.pid) / lines * MILLION,
                          "server": (server_seconds(self.postmaster) - server) / lines * MILLION,
                          "peak": peak_mb(process.pid), "wire": tcp_bytes(self.port) / lines}
            finally:
                process.terminate()
                process.wait(30)
        result["rows"], result["lines"] = self.database.count(contestant.table), lines
        return result

    def wait_committed(self, contestant, lines, process, log):
        """Wait until that many rows exist and no transaction is open. Costs the server almost nothing."""
        def made():
            if process.poll() is not None:
                sys.exit(f"ended early:\n{Path(log).read_text(errors='replace')[-2000:]}")
            return self.database.one(f"SELECT last_value FROM {contestant.sequence}") >= lines
        if contestant.sequence:
            wait_for(made, f"{lines} rows; {log}", PATIENCE_S, every=0.02)
        else:
            self.database.wait(f"SELECT count(*) >= {lines} FROM {contestant.table}", timeout=PATIENCE_S)
        self.database.wait("SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND "
                           "state <> 'idle' AND pid <> pg_backend_pid()", timeout=60)


# ---- contestants ----------------------------------------------------------------------------------

class Contestant:
    part = 1                                # of the lines: 1 / part
    table = "log_entries"
    sequence = "log_entries_id_seq"

    @staticmethod
    def available():
        return True


class Agent(Contestant):
    def __init__(self, sslmode):
        self.sslmode = sslmode

    def prepare(self, bench, _lines, path):
        config = bench.folder / "config.yml"
        config.write_text(json.dumps({"monitoring": {
            "enabled": True, "vps_name": "bench", "log_files": [str(path)],
            "postgres_url": bench.url("agents", self.sslmode)}}))
        return [AGENT, "--app", "bench", "--config", config]


class Copy(Contestant):
    """Runs this program with --copy, which waits when it is done."""

    def prepare(self, bench, lines, _path):
        bench.database.query(
            """ALTER TABLE log_entries ALTER vps_name SET DEFAULT 'bench', ALTER app_name SET DEFAULT 'bench',
            ALTER stream_id SET DEFAULT 1""")
        rows = bench.folder / "rows"
        if not rows.exists() or rows.stat().st_size == 0:
            write_copy_rows(rows, lines)
        return [sys.executable, __file__, "--copy", rows, "--url", bench.url()]


class Rsyslog(Contestant):
    part = SLOW_PART
    QUEUE = 'queue.type="LinkedList" queue.size="50000" queue.dequeueBatchSize="1000"'

    @staticmethod
    def available():
        return shutil.which("rsyslogd") and Path("/usr/lib/x86_64-linux-gnu/rsyslog/ompgsql.so").exists()

    def prepare(self, bench, lines, path):
        few = bench.folder / "few.log"
        with open(path, "rb") as source, open(few, "wb") as f:
            f.writelines(line for _, line in zip(range(lines), source))
        work = bench.folder / "rsyslog"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        config = bench.folder / "rsyslog.conf"
        config.write_text(f"""
            global(workDirectory="{work}")
            module(load="imfile" mode="inotify")
            module(load="mmjsonparse")
            module(load="ompgsql")
            template(name="insert" type="list" option.stdsql="on") {{
                constant(value="INSERT INTO log_entries (timestamp, vps_name, app_name, level, logger,
                    message, context) VALUES ('")
                property(name="$!timestamp") constant(value="','bench','bench','")
                property(name="$!level") constant(value="','")
                property(name="$!logger") constant(value="','")
                property(name="$!message") constant(value="','")
                property(name="$!context") constant(value="')")
            }}
            input(type="imfile" file="{few}" tag="bench" ruleset="ship")
            ruleset(name="ship" {self.QUEUE}) {{
                action(type="mmjsonparse" cookie="")
                action(type="ompgsql" server="127.0.0.1" port="{bench.port}" user="postgres" pass="bench"
                       db="{bench.database.name}" template="insert")
            }}
            """)
        return ["rsyslogd", "-n", "-f", config, "-i", work / "pid"]


class FluentBit(Contestant):
    table = "fluentbit"                     # (tag, time, data jsonb): it accepts no other table
    sequence = None

    @staticmethod
    def available():
        return shutil.which("fluent-bit")

    def prepare(self, bench, _lines, path):
        bench.database.query("""CREATE TABLE fluentbit (tag varchar, time timestamp, data jsonb);
            CREATE INDEX ON fluentbit USING gin (to_tsvector('simple', data->>'message'));
            CREATE INDEX ON fluentbit (time); CREATE INDEX ON fluentbit (tag, time)""")
        parsers, config = bench.folder / "parsers.conf", bench.folder / "fluent-bit.conf"
        parsers.write_text("[PARSER]\n    Name json\n    Format json\n")
        config.write_text(f"""[SERVICE]
    Flush 1
    Parsers_File {parsers}
[INPUT]
    Name tail
    Path {path}
    Parser json
    Read_from_Head on
[OUTPUT]
    Name pgsql
    Match *
    Host 127.0.0.1
    Port {bench.port}
    User postgres
    Password bench
    Database {bench.database.name}
    Table fluentbit
""")
        return ["fluent-bit", "-c", config]


CONTESTANTS = {"copy": Copy(), "agent": Agent("disable"), "agent-tls": Agent("require"), "rsyslog": Rsyslog(),
               "fluent-bit": FluentBit()}


# ---- COPY -----------------------------------------------------------------------------------------

PG_EPOCH_US = 946_684_800_000_000


def copy_row(us, offset, *texts):
    """In COPY's binary format: timestamp, offset, level, logger, message, context."""
    *plain, context = (t.encode() for t in texts)
    return b"".join([struct.pack("!hiqiq", 2 + len(texts), 8, us - PG_EPOCH_US, 8, offset),
                     *(struct.pack("!i", len(t)) + t for t in plain), struct.pack("!ib", len(context) + 1, 1),
                     context])


def write_copy_rows(path, lines):
    """A file of COPY streams, each preceded by its length and with the rows of one batch of the agent."""
    batch, offset = [], 0
    with open(path, "wb") as f:
        for n, row in enumerate(log_lines.rows(lines), 1):
            batch.append(copy_row(row[0], offset, *row[1:]))
            offset += 226
            if n % BATCH_ROWS == 0 or n == lines:
                data = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join(batch) + b"\xff\xff"
                f.write(struct.pack("!q", len(data)) + data)
                batch = []


def copy_loop(path, url):
    import io
    import psycopg2
    connection = psycopg2.connect(url)
    cursor = connection.cursor()
    cursor.execute("""INSERT INTO log_streams
        VALUES ('bench', 'bench', 1, 'rows', '', '', '', 0, false, now())""")
    with open(path, "rb") as f:
        while size := f.read(8):
            data = f.read(*struct.unpack("!q", size))
            cursor.copy_expert('COPY log_entries ("timestamp", stream_offset, level, logger, message, '
                               'context) '
                               "FROM STDIN WITH (FORMAT binary)", io.BytesIO(data), size=1 << 18)
            cursor.execute('UPDATE log_streams SET "position" = "position" + 1, updated_at = now() WHERE '
                           'stream_id = 1')
            connection.commit()
    while True:
        time.sleep(1)                       # count the connection's bytes while it exists


# ---- tables ---------------------------------------------------------------------------------------

COLUMNS = (("lines/s", 10, 0), ("of COPY", 9, 2), ("shipper s/M", 13, 2), ("PostgreSQL s/M", 16, 2),
           ("of COPY", 9, 2), ("peak MB", 9, 1), ("bytes/line", 12, 0), ("rows", 11, 0))


def report(results, bytes_per_line):
    """Medians over the rounds; ratios are taken within a round, since the machine's speed may change."""
    def median(name, key):
        return statistics.median(r[key] for r in results[name])

    def ratio(name, other, key):
        return statistics.median(a[key] / b[key] for a, b in zip(results[name], results[other]))

    print(f"\n{'':12}" + "".join(f"{c:>{w}}" for c, w, _ in COLUMNS))
    for name, runs in results.items():
        copy = "copy" if "copy" in results else name
        cells = (median(name, "lines/s"), ratio(name, copy, "lines/s"), median(name, "shipper"),
                 median(name, "server"), ratio(name, copy, "server"), median(name, "peak"),
                 median(name, "wire"), median(name, "rows"))
        missing = "" if all(r["rows"] == r["lines"] for r in runs) else "  NOT ALL ROWS"
        print(f"{name:12}" + "".join(f"{v:{w},.{d}f}" for v, (_, w, d) in zip(cells, COLUMNS)) + missing)
    print(f"lines of {bytes_per_line:.0f} bytes; medians of {len(next(iter(results.values())))} rounds")
    if {"agent", "rsyslog"} <= results.keys():
        print(f"agent / rsyslog: {ratio('agent', 'rsyslog', 'lines/s'):.1f}")
    print("aims: 0.85 of COPY, 8 times rsyslog; shipper 0.9 s/M; PostgreSQL 1.15 of COPY; 180 bytes/line; "
          "16 MB")


def compare(bench, names, lines, rounds):
    for name in [n for n in names if not CONTESTANTS[n].available()]:
        print(f"{name} is not here, and takes no part")
        names.remove(name)
    size = log_lines.write(bench.folder / "app.log", log_lines.rows(lines))
    results = {name: [] for name in names}
    for n in range(rounds):
        for name in names[n % len(names):] + names[:n % len(names)]:
            results[name].append(bench.run(name, lines, bench.folder / "app.log"))
            print(f"round {n + 1}: {name:12}"
                  + "".join(f"{key} {value:,.1f}  " for key, value in results[name][-1].items()), flush=True)
    report(results, size / lines)


def backlog(bench, lines):
    """A file of the requested length, which repeats one million lines."""
    part = min(lines, MILLION)
    log_lines.write(bench.folder / "part.log", log_lines.rows(part))
    for n in (part, lines):
        with open(bench.folder / "app.log", "wb") as f:
            for _ in range(n // part):
                f.write((bench.folder / "part.log").read_bytes())
        result = bench.run("agent", n // part * part, bench.folder / "app.log")
        print(f"backlog of {result['lines']:,} lines: peak {result['peak']:.1f} MB, {result['lines/s']:,.0f} "
              "lines/s, "
              f"shipper {result['shipper']:.2f} s/M, rows {result['rows']:,}", flush=True)
        (bench.folder / "app.log").unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=MILLION)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--backlog", type=int)
    parser.add_argument("--copy", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.copy:
        copy_loop(options.copy, options.url)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))       # still stop the server
    with tempfile.TemporaryDirectory(prefix="observ-bench-") as folder, contextlib.ExitStack() as stack:
        bench = Bench(Path(folder), stack)
        if options.backlog:
            backlog(bench, options.backlog)
        else:
            names = options.only.split(",") if options.only else list(CONTESTANTS)
            compare(bench, names, options.lines, options.rounds)


if __name__ == "__main__":
    main()
