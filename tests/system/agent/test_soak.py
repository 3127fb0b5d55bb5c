"""`make soak`: random faults for SOAK_SECONDS, from SOAK_SEED. Nothing is lost or doubled, and nothing grows.

Three agents write: one that lives from the beginning to the end, under the heavy load (its memory and
descriptors are watched), one that is killed again and again, and one whose log is rotated by copytruncate.
Every ROUND_S seconds the writers stop, everything is counted, and what was counted is deleted.
"""
import contextlib
import glob
import http.server
import os
import random
import shutil
import signal
import statistics
import threading
import time
from pathlib import Path

import pytest
from harness import wait_for
from oracle import judge, record, rows_again
from writer import Writer

SECONDS = float(os.environ.get("SOAK_SECONDS", 3600))
SEED = int(os.environ.get("SOAK_SEED", 1))
ROUND_S = 120
SAMPLE_S = 3
RSS_SLACK_KB = 1024             # variation of the allocator
WARM_S = 60                     # of the long-lived agent, before its memory counts


class Usage(threading.Thread):
    """Memory and descriptors of a process, each SAMPLE_S seconds."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.proc, self.done = Path(f"/proc/{pid}"), threading.Event()
        self.rss_kb, self.descriptors = [], []

    def run(self):
        with contextlib.suppress(FileNotFoundError):    # it ended, which the test notices, too
            while not self.done.wait(SAMPLE_S):
                self.rss_kb.append(int((self.proc / "statm").read_text().split()[1]) * 4)
                self.descriptors.append(len(os.listdir(self.proc / "fd")))

    def medians(self, values):
        """Values of the first and the last quarter after the warm-up (in a short run, half of it)."""
        values = values[min(WARM_S // SAMPLE_S, len(values) // 2):]
        quarter = max(1, len(values) // 4)
        return statistics.median(values[:quarter]), statistics.median(values[-quarter:])


class Scene:
    """The parts that the faults hit."""

    def __init__(self, cluster, make_agent, folder, url, chance):
        self.cluster, self.chance, self.written, self.copied, self.rotations = cluster, chance, 0, 0, 0
        self.db, self.copy_db = cluster.new_database(), cluster.new_database()
        self.logs = {app: folder / app / "app.log" for app in ("steady", "killed", "copied")}
        self.agents = {}
        for app, log in self.logs.items():
            log.parent.mkdir()
            self.agents[app] = make_agent(self.copy_db if app == "copied" else self.db, app=app, name=app,
                                          log_files=[str(log)], health_checks=[{"url": url, "interval": 5}])
        self.rates = {"steady": 5000, "killed": 1000, "copied": 500}

    def begin_round(self):
        first = {"steady": self.written, "killed": self.written, "copied": self.copied}
        self.writers = {app: Writer(log, self.rates[app], seed=self.chance.randrange(1 << 30),
                                    first=first[app]).start()
                        for app, log in self.logs.items()}

    def end_round(self):
        """Count the rows, then delete them, in the database and on disk. A row that arrives again is one too
        many."""
        wrote = {app: writer.stop() for app, writer in self.writers.items()}
        new = {app: writer.written - writer.first for app, writer in self.writers.items()}
        recovery = max(self.recoveries, default=None)
        judge("soak", self.db, new["steady"] + new["killed"], seed=SEED, recovery=recovery, timeout=120)
        judge("soak copytruncate", self.copy_db, new["copied"], seed=SEED, gap_lines=new["copied"],
              timeout=120)
        self.written = max(wrote["steady"], wrote["killed"])
        self.copied = wrote["copied"]
        for db in (self.db, self.copy_db):
            db.query("TRUNCATE log_entries, gaps")
        for log in self.logs.values():
            for old in glob.glob(f"{log}.*"):
                os.unlink(old)

    # ---- the faults ----

    def kill_agent(self):
        self.agents["killed"].kill()
        self.agents["killed"].start()

    def restart_server(self):
        self.db.close()
        self.copy_db.close()
        self.cluster.stop(self.chance.choice(["fast", "immediate"]))
        time.sleep(self.chance.uniform(0, 8))           # the length of the outage: any will do
        self.cluster.start()

    def backends(self):
        return [pid for (pid,) in self.db.query("SELECT pid FROM pg_stat_activity WHERE usename = 'agents'")]

    def terminate_backends(self):
        self.db.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'agents'")

    def kill_backend(self):
        """After that, all of the server's processes except the first start again."""
        pids, began = (self.backends(),
                       "SELECT backend_start FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
        if pids:
            before = self.db.one(began)
            os.kill(self.chance.choice(pids), signal.SIGKILL)
            self.db.wait(f"SELECT ({began}) > %s", before, timeout=60)

    def stop_and_continue_server(self):
        pids = self.backends() + [int((self.cluster.folder / "data/postmaster.pid").read_text().split()[0])]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(self.chance.choice([1, 3, 18]))      # shorter and longer than the agent's patience
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    def rotate(self):
        self.rotations += 1
        for app in ("steady", "killed"):
            self.writers[app].rotate(f"{self.logs[app]}.{self.rotations}")

    def copytruncate(self):
        self.rotations += 1
        log, writer = self.logs["copied"], self.writers["copied"]
        with writer.lock:
            shutil.copy(log, f"{log}.{self.rotations}")
            os.truncate(log, 0)

    FAULTS = [kill_agent, restart_server, terminate_backends, kill_backend, stop_and_continue_server, rotate,
              rotate, copytruncate]

    def one_fault(self):
        fault = self.chance.choice(self.FAULTS)
        fault(self)
        before = self.db.wait("SELECT 1 + count(*) FROM log_entries", timeout=60)
        self.recoveries.append(rows_again(self.db, before - 1, timeout=90))
        return fault.__name__


@pytest.fixture
def url():
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.soak
def test_soak_random_faults(own_cluster, make_agent, tmp_path, url):
    chance, happened = random.Random(SEED), {}
    scene = Scene(own_cluster, make_agent, tmp_path, url, chance)
    began = time.monotonic()
    for agent in scene.agents.values():
        agent.start()
    usage = Usage(scene.agents["steady"].process.pid)
    usage.start()
    while time.monotonic() - began < SECONDS:
        scene.recoveries = []
        scene.begin_round()
        end = min(time.monotonic() + ROUND_S, began + SECONDS)
        rows_again(scene.db)
        while time.monotonic() < end:
            time.sleep(chance.uniform(0.2, 6))          # the instant: any will do
            name = scene.one_fault()
            happened[name] = happened.get(name, 0) + 1
        scene.end_round()
    usage.done.set()
    elapsed = time.monotonic() - began
    steady = scene.agents["steady"]
    assert steady.running()
    rss, descriptors = usage.medians(usage.rss_kb), usage.medians(usage.descriptors)
    note = f"{elapsed:.0f} s; {', '.join(f'{n} {name}' for name, n in sorted(happened.items()))}; " \
           f"RSS {rss[0]:.0f} -> {rss[1]:.0f} kB (peak {max(usage.rss_kb)}), " \
           f"descriptors {descriptors[0]:g} -> {descriptors[1]:g}"
    record(row="soak, growth", seed=SEED, written=None, good=True, note=note)
    print(note)
    assert rss[1] <= rss[0] + RSS_SLACK_KB, f"memory grows: {note}"
    assert descriptors[1] <= descriptors[0] + 2, f"descriptors grow: {note}"
    # All metrics (each 10 s) and checks (each 5 s) of the agent that was not killed, each once.
    wait_for(lambda: scene.db.count("vps_metrics", "app_name = 'steady'") >= elapsed / 10 - 3,
             "metrics of the outages", 70)
    for table, interval, key in (("vps_metrics", 10, "timestamp"), ("health_checks", 5, "url, timestamp")):
        rows, distinct = scene.db.query(f"SELECT count(*), count(DISTINCT ({key})) FROM {table} "
                                        "WHERE app_name = 'steady'")[0]
        assert rows == distinct
        assert rows >= elapsed / interval - 15, f"{table}: {rows} rows in {elapsed:.0f} s"
