#!/usr/bin/python3
"""What an idle agent costs, beside its peers from Debian, all at once on this machine.

    bench/idle.py [SECONDS]        default 600; the first 30 s of settling are not counted

One agent with the defaults (metrics and one health check each 60 s, one log file that stays silent)
writes over TLS on TCP to a private PostgreSQL. prometheus-node-exporter is scraped each 15 s,
collectd sends to a socket here with its default interval of 10 s, monit checks a file system and an
HTTP server every 120 s. CPU is the scheduler's own count (/proc/PID/schedstat, nanoseconds), wake-ups
are voluntary context switches, bytes are those of IP packets both ways.
"""
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TOP / "tests"), str(TOP / "tests/system")]
from harness import AGENT, BUILD, Cluster, run, wait_for  # noqa: E402,F401
from https_server import serve  # noqa: E402

SETTLE = 30
COLLECTD = "cpu df disk interface load memory processes swap network".split()
HEADERS = 40 + 12       # header bytes of a packet: IPv4, TCP with timestamps


def usage(pid):
    """CPU ns, voluntary context switches and memory in kB of a process with its threads."""
    cpu = switches = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        cpu += int((task / "schedstat").read_text().split()[0])
        switches += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(),
                                  re.M)[1])
    memory = {key: int(kb) for key, kb in re.findall(r"^(\w+):\s+(\d+) kB",
                                                     Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)}
    return cpu, switches, memory


def tcp_bytes(port):
    """IP bytes in both directions of established connections to a local port, counted at the client's end."""
    text = run("ss", "-tinH", "state", "established", "dport", "=", f":{port}")
    total = 0
    for sent, received, out, into in zip(re.findall(r"bytes_sent:(\d+)", text),
                                         re.findall(r"bytes_received:(\d+)", text),
                                         re.findall(r"segs_out:(\d+)", text),
                                         re.findall(r"segs_in:(\d+)", text)):
        total += int(sent) + int(received) + HEADERS * (int(out) + int(into))
    return total


class Collector(threading.Thread):
    """Receives and counts collectd's packets."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.bytes = 0

    def run(self):
        while True:
            self.bytes += len(self.socket.recv(65536)) + 28


class Scraper(threading.Thread):
    """Scrapes node_exporter like Prometheus: each 15 s, compressed, on a kept connection or a new one."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.url, self.bytes = f"http://127.0.0.1:{port}/metrics", 0

    def run(self):
        while True:
            with contextlib.suppress(OSError):
                request = urllib.request.Request(self.url, headers={"Accept-Encoding": "gzip"})
                with urllib.request.urlopen(request, timeout=10) as answer:
                    body = len(answer.read()) + len(str(answer.headers)) + 200
                    self.bytes += body + HEADERS * (body // 1400 * 2 + 8)
            time.sleep(15)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    with tempfile.TemporaryDirectory(prefix="observ-bench-") as name, contextlib.ExitStack() as stack:
        measure(Path(name), seconds, stack)


def tls_cluster(folder, stack, *settings):
    """A private server with TLS on loopback; returns it and its port."""
    port = free_port()
    cluster = Cluster(folder / "pg")
    key, certificate = folder / "server.key", folder / "server.crt"
    run("openssl", "req", "-new", "-x509", "-days", "30", "-nodes", "-subj", "/CN=localhost",
        "-out", certificate, "-keyout", key)
    if os.getuid() == 0:
        there = subprocess.run(["id", "postgres"], capture_output=True).returncode == 0
        owner = "postgres" if there else "nobody"
        run("chown", f"{owner}:", key, certificate)
    key.chmod(0o600)
    folder.chmod(0o755)
    cluster.start("listen_addresses=127.0.0.1", f"port={port}", "ssl=on", f"ssl_cert_file={certificate}",
                  f"ssl_key_file={key}", *settings)
    stack.callback(cluster.stop, "immediate")
    return cluster, port


def start(stack, name, *command):
    log = tempfile.TemporaryFile("w+")
    process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    time.sleep(2)                               # long enough to fail at the start
    if process.poll() is not None:
        log.seek(0)
        sys.exit(f"{name} did not run:\n{log.read()}")
    return name, process.pid


def start_agent(folder, database, port, health, stack):
    database.query("ALTER ROLE agents PASSWORD 'bench'")
    (folder / "app.log").touch()
    config = folder / "config.yml"
    config.write_text(json.dumps({"monitoring": {
        "enabled": True, "vps_name": "bench", "log_files": [str(folder / "app.log")],
        "postgres_url": f"host=127.0.0.1 port={port} user=agents password=bench sslmode=require "
                        f"dbname={database.name}",
        "health_checks": [{"url": f"http://127.0.0.1:{health}/health"}]}}))
    agent = start(stack, "obs_agent", AGENT, "--app", "bench", "--config", config)
    database.wait("SELECT count(*) > 0 FROM vps_metrics", timeout=30)
    assert database.one("SELECT bool_or(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                        "WHERE usename = 'agents'")
    return agent


def start_peers(folder, health, stack):
    exporter = free_port()
    collector = Collector()
    collector.start()
    (folder / "collectd.conf").write_text(f"""
        BaseDir "{folder}"
        PIDFile "{folder}/collectd.pid"
        {"".join(f"LoadPlugin {plugin}{chr(10)}" for plugin in COLLECTD)}
        <Plugin network>
            Server "127.0.0.1" "{collector.socket.getsockname()[1]}"
        </Plugin>
        """)
    monitrc = folder / "monitrc"
    monitrc.write_text(f"""set daemon 120
        set pidfile {folder}/monit.pid
        set idfile {folder}/monit.id
        set statefile {folder}/monit.state
        check system $HOST if loadavg (5min) > 40 then alert
        check filesystem root with path / if space usage > 99% then alert
        check host local with address 127.0.0.1
            if failed port {health} protocol http request "/health" then alert
        """)
    monitrc.chmod(0o600)
    peers = [start(stack, "node-exporter, 15 s", "prometheus-node-exporter",
                   f"--web.listen-address=127.0.0.1:{exporter}"),
             start(stack, "collectd, 10 s", "collectd", "-f", "-C", folder / "collectd.conf"),
             start(stack, "monit, 120 s", "monit", "-I", "-c", monitrc)]
    scraper = Scraper(exporter)
    scraper.start()
    return peers, scraper, collector


def measure(folder, seconds, stack):
    server = serve(0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cluster, port = tls_cluster(folder, stack)
    database = cluster.new_database()
    agent = start_agent(folder, database, port, server.server_port, stack)
    peers, scraper, collector = start_peers(folder, server.server_port, stack)
    processes = [agent, *peers]
    wait_for(lambda: all(Path(f"/proc/{pid}/smaps_rollup").exists() for _, pid in processes), "all run")
    time.sleep(SETTLE)

    def wire():
        return [tcp_bytes(port), scraper.bytes, collector.bytes, 0]

    before, wire_before, began = [usage(pid) for _, pid in processes], wire(), time.monotonic()
    time.sleep(seconds)
    after, wire_after, took = [usage(pid) for _, pid in processes], wire(), time.monotonic() - began
    report(processes, before, after, wire_before, wire_after, took)


def report(processes, before, after, wire_before, wire_after, took):
    print(f"idle for {took:.0f} s: one application, metrics and one check each 60 s, TLS")
    print(f"{'':22}{'RSS MB':>8}{'PSS MB':>8}{'dirty MB':>9}{'CPU %':>9}{'s/hour':>8}{'wake-ups/s':>11}"
          f"{'bytes/min':>11}{'CPU ratio':>10}")
    ours = after[0][0] - before[0][0]
    for (name, _), b, a, wb, wa in zip(processes, before, after, wire_before, wire_after):
        cpu = a[0] - b[0]
        print(
            f"{name:22}{a[2]['Rss'] / 1024:8.1f}{a[2]['Pss'] / 1024:8.1f}{a[2]['Private_Dirty'] / 1024:9.1f}"
              f"{cpu / took / 1e7:9.4f}{cpu / took * 3600 / 1e9:8.2f}{(a[1] - b[1]) / took:11.2f}"
              f"{(wa - wb) / took * 60:11.0f}{cpu / ours:10.1f}")
    print("aims: RSS 15 MB, dirty 3 MB, CPU 0.01 %, 1 wake-up/s, 500 bytes/min")


if __name__ == "__main__":
    main()
