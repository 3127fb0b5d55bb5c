#!/usr/bin/python3
"""What a post costs, by FastCGI behind lighttpd, on a private PostgreSQL.

    bench/ingest.py [SECONDS]      default 20; needs build/bench/post

Each of 200 servers posts the second form of API.md in turn: six metrics, an event of Docker and three log
lines, 700 bytes. Eight connections of bench/post.c send one post after the other, each a new one. CPU is user
and system time of the processes (/proc/PID/stat). The generator takes its part of the machine, so the last
line tells how many posts two cores take that do nothing else.
"""
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TOP / "tests")]
from harness import BUILD, Cluster  # noqa: E402
from hub_server import Hub  # noqa: E402

SERVERS, CONNECTIONS, HUBS, PROMISED = 200, 8, 4, 1000
PAYLOAD = {"host": "web-1", "env": "production", "timestamp": 0,
           "metrics": {"cpu_usage": 71.5, "memory_usage": 62, "disk_usage": 90,
                       "network_rx_bytes_per_sec": 1200, "network_tx_bytes_per_sec": 800,
                       "tcp_connections": 42},
           "docker_events": [{"type": "container", "action": "start", "container": "pg",
                              "image": "postgres:15", "timestamp": "2026-11-30T06:00:00Z"}],
           "logs": [{"container": "pg", "timestamp": "2026-11-30T06:00:00Z",
                     "message": "2026-11-30 05:59:59 UTC [7] LOG: checkpoint complete: wrote 44"},
                    {"container": "api", "timestamp": "2026-11-30T06:00:00Z",
                     "message": '{"level":"info","msg":"GET /orders","status":200,"ms":12}'},
                    {"container": "api", "message": "2026-11-30T05:59:58Z WARN retry 2 of 5"}],
           "local_alerts": [], "score": 87.5}


def cpu_s(pid, seen):
    """CPU seconds of a process and its children, dead ones included."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    with open(f"/proc/{pid}/comm", encoding="ascii") as f:
        name = f.read().strip()
    seen[name] = seen.get(name, 0) + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            cpu_s(int(child), seen)
    return seen


def measure(hub, postmaster, tokens, seconds, payload):
    """(posts, seconds, CPU seconds by process, those of the generator)"""
    before = cpu_s(postmaster, cpu_s(hub.process.pid, {}))
    used, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run([BUILD / "bench/post", str(hub.port), str(seconds), str(CONNECTIONS), payload],
                          input="\n".join(tokens) + "\n", stdout=subprocess.PIPE, text=True, check=True)
    took, now = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    after = cpu_s(postmaster, cpu_s(hub.process.pid, {}))
    return (int(done.stdout), took, {name: after[name] - before.get(name, 0) for name in after},
            now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime)


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory(prefix="obs-") as folder:
        os.chmod(folder, 0o755)
        cluster = Cluster(Path(folder) / "pg")
        cluster.start("fsync=on", "synchronous_commit=on", "shared_buffers=256MB", "max_wal_size=4GB")
        try:
            db = cluster.new_database()
            db.query("CREATE ROLE hub LOGIN IN ROLE observ_hub")
            db.query("UPDATE limit_policy SET burst = 1000000")
            tokens = [row[0] for row in db.query(
                "WITH s AS (INSERT INTO servers (vps_name, created_by) SELECT 'web-' || n, 'bench' "
                "FROM generate_series(1, %s) n RETURNING vps_name) "
                "SELECT new_server_token(vps_name, 'bench', '0') FROM s", SERVERS)]
            (Path(folder) / "hub").mkdir()
            hub = Hub(Path(folder) / "hub", db.url("hub"), "fastcgi", procs=HUBS).start()
            postmaster = int((Path(folder) / "pg/data/postmaster.pid").read_text().split()[0])
            payload = Path(folder) / "payload.json"
            payload.write_text(json.dumps(PAYLOAD))
            measure(hub, postmaster, tokens, 2, payload)
            posts, took, cpu, generator = measure(hub, postmaster, tokens, seconds, payload)
            rows = db.count("log_entries")
            hub.stop()
            db.close()
        finally:
            cluster.stop("immediate")
    print(f"{'':24}{'us a post':>10}")
    for name, spent in sorted(cpu.items()):
        print(f"{name:24}{spent / posts * 1e6:>10.0f}")
    total = sum(cpu.values()) / posts
    print(f"{'together':24}{total * 1e6:>10.0f}")
    print(f"{'(the generator)':24}{generator / posts * 1e6:>10.0f}")
    print(f"\n{posts} posts in {took:.1f} s: {posts / took:.0f} a second beside the generator, load "
          f"{os.getloadavg()[0]:.1f}; {rows} log lines")
    print(f"two cores take {2 / total:.0f} posts a second; {PROMISED} are promised: "
          f"{2 / total / PROMISED:.2f} of it")


if __name__ == "__main__":
    main()
