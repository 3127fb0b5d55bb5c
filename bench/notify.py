#!/usr/bin/python3
"""How long it takes from the commit of a row that breaks a rule to the message that the peer has accepted.

    bench/notify.py [--servers 300] [--interval 10] [--seconds 60] [--own] [--check]

Each server sends a sample every 10 s, and at a random time goes beyond the threshold of one rule, which is
evaluated each --interval seconds. Each makes a message of its own (the route groups by server and does not
wait), for one webhook, which needs 20 ms for its answer over a real socket. The rules that schema.sql
installs are evaluated, too; --own switches them off. PostgreSQL writes to the disk, with fsync. --check fails
if the 99th percentile is over the interval and 2 s.
"""
import argparse
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TOP / "tests"), str(TOP / "tests/system/watch")]
from harness import Cluster, wait_for  # noqa: E402
from peers import READ, HttpPeer, Wait, answer  # noqa: E402
from watching import Watcher, add_channel, watch_role  # noqa: E402

SPARE_S = 2.0
SAMPLE_S = 10
RULE = """INSERT INTO alert_rules (name, kind, metric, op, warning, interval_s)
    VALUES ('bench', 'threshold', 'load_avg_1m', '>', 80, %s)"""
AGENTS = """INSERT INTO agents (vps_name, app_name, epoch, first_seen_at, last_seen_at, interval_s, skew_ms)
    SELECT 'srv-' || n, 'app', 1, now() - interval '1 day', now(), 10, 0 FROM generate_series(0, %s - 1) n"""
SAMPLE = """WITH seen AS (UPDATE agents SET last_seen_at = clock_timestamp() WHERE vps_name = %s)
    INSERT INTO vps_metrics ("timestamp", received_at, vps_name, app_name, cpu_percent, memory_percent,
        disk_percent, load_avg_1m)
    SELECT t, t, %s, 'app', 20, 30, 40, %s FROM clock_timestamp() t"""


class Fleet(threading.Thread):
    """Writes the samples, a server after the other, and notes the commit of the first bad one of each."""

    def __init__(self, database, servers, seconds):
        super().__init__(daemon=True)
        self.database, self.servers, self.done = database, servers, threading.Event()
        begin = time.monotonic() + SAMPLE_S
        self.fails_at = [begin + random.uniform(0, seconds) for _ in range(servers)]
        self.committed = {}

    def run(self):
        due = [time.monotonic() + SAMPLE_S * n / self.servers for n in range(self.servers)]
        bad = [False] * self.servers
        while not self.done.is_set():
            now = time.monotonic()
            for n in range(self.servers):
                fails = now >= self.fails_at[n]
                if due[n] <= now or (fails and not bad[n]):
                    self.database.query(SAMPLE, f"srv-{n}", f"srv-{n}", 99 if fails else 1)
                    due[n] = now + SAMPLE_S
                    if fails:
                        self.committed.setdefault(f"srv-{n}", time.monotonic())
                        bad[n] = True
            self.done.wait(0.01)


def accepted(peer):
    """When the first message about each server was accepted."""
    first = {}
    for request in list(peer.requests):
        for alert in request.json["data"].get("alerts", []):
            if alert["rule"] == "bench" and alert["status"] == "firing":
                first.setdefault(alert["subject"]["server"], request.at + peer.takes_s)
    return first


def measure(database, options, folder):
    watch_role(database)
    if options.own:
        database.query("UPDATE alert_rules SET is_active = false")
    database.query(RULE, options.interval)
    database.query(AGENTS, options.servers)
    database.query("UPDATE alert_routes SET group_by = '{rule,server}', group_wait_s = 0")
    with HttpPeer([[READ, Wait(0.02), answer()]]) as peer:
        peer.takes_s = 0.02
        add_channel(database, "hook", "webhook", {"url": peer.url})
        watcher = Watcher(folder, database, evaluate_every_s=min(options.interval, 10)).start().leads()
        fleet = Fleet(database, options.servers, options.seconds)
        fleet.start()
        try:
            wait_for(lambda: len(accepted(peer)) >= options.servers, "all messages",
                     options.seconds + 20 * options.interval, every=0.5)
        finally:
            fleet.done.set()
            fleet.join()
            watcher.kill()
        got = accepted(peer)
    return sorted(got[server] - fleet.committed[server] for server in fleet.committed), len(peer.requests)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--servers", type=int, default=300)
    parser.add_argument("--interval", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--own", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    random.seed(1)
    with tempfile.TemporaryDirectory(prefix="obs-bench-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o711)
        cluster = Cluster(Path(folder) / "pg")
        cluster.start("fsync=on", "synchronous_commit=on")
        try:
            late, messages = measure(cluster.new_database(), options, Path(folder) / "watch")
        finally:
            cluster.stop("immediate")
    p = {q: late[min(len(late) - 1, int(len(late) * q / 100))] for q in (50, 95, 99)}
    bar = options.interval + SPARE_S
    print(f"{options.servers} servers fail within {options.seconds} s, {messages} messages; "
          f"load {os.getloadavg()[0]:.1f}")
    print(f"commit to accepted: p50 {p[50]:.2f} s, p95 {p[95]:.2f} s, p99 {p[99]:.2f} s, "
          f"max {late[-1]:.2f} s; interval {options.interval} s, bar {bar:g} s")
    return 1 if options.check and p[99] > bar else 0


if __name__ == "__main__":
    sys.exit(main())
