#!/usr/bin/python3
"""Structured logging, metrics and health checks in one run: python3 examples/monitoring-demo.py [--url URL]

An application logs with logcore.py and answers HTTP requests; obs_agent does one round over it. What the
agent would write to PostgreSQL is printed, one JSON object a row. With --url it writes the same to the
database as well, for the server "monitoring-demo": URL is a login that may write as any server, or as this
one; its password belongs into PGPASSWORD, since others see arguments. Needs `make` and nothing installed.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
AGENT = Path(os.environ.get("OBSERV_BUILD") or os.environ.get("BUILD")
             or TOP / "build") / "obs_agent/obs_agent"
sys.path.insert(0, str(TOP / "logcore"))
import logcore  # noqa: E402

SERVER = APP = "monitoring-demo"
NOBODY = "http://127.0.0.1:9/health"            # the discard port, where nothing listens: a check that fails
NOWHERE = "postgresql://nobody@127.0.0.1:9/nothing"     # a dry round connects to nothing
ROUND_S = 90                    # the agent itself gives up on a database after 60 s


def say(title):
    print(f"\n== {title}", flush=True)


class Health(BaseHTTPRequestHandler):
    """The application's health page. Each request is a line of its log."""

    def do_GET(self):
        start = time.monotonic()
        body = b'{"status":"ok"}\n'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        logcore.get_logger(f"{APP}.http").info("Request", extra={"context": {
            "path": self.path, "status": 200, "took_ms": round(1000 * (time.monotonic() - start), 3)}})

    def log_message(self, *_):
        pass


def charge(card):
    raise RuntimeError(f"card {card} was refused")


def work(log):
    """What happens in an application: a login, something slow, a failure."""
    log.info("User action", extra={"context": {"user_id": 123, "action": "login"}})
    order = log.getChild("orders").bind(order_id=4711, user_id=123)
    order.info("Order placed", extra={"context": {"items": 3, "total": 59.9}})
    order.warning("Payment provider is slow", extra={"context": {"took_ms": 2310}})
    try:
        charge("ending in 42")
    except RuntimeError:
        order.exception("Payment failed")


def configuration(log, port, url):
    return json.dumps({"monitoring": {               # JSON is YAML
        "enabled": True, "vps_name": SERVER, "postgres_url": url or NOWHERE, "log_files": [str(log)],
        "health_checks": [{"url": f"http://127.0.0.1:{port}/health"}, {"url": NOBODY, "retries": 0}]}})


def one_round(folder, *options):
    """One round of the agent, to its end; returns what it printed."""
    (folder / "state").mkdir(exist_ok=True)
    environment = {**os.environ, "STATE_DIRECTORY": str(folder / "state"),
                   "RUNTIME_DIRECTORY": str(folder / "state")}
    done = subprocess.run([AGENT, "--app", APP, "--config", folder / "config.yml", "--once", *options],
                          env=environment, stdout=subprocess.PIPE, text=True, timeout=ROUND_S, check=False)
    if done.returncode != 0:
        sys.exit(f"{sys.argv[0]}: obs_agent ended with status {done.returncode}; what it said is above")
    return done.stdout


def show(rows):
    for table, title in [("vps_metrics", "Metrics of this machine"),
                         ("health_checks", "Health checks: one answers, one can't"),
                         ("log_entries", "The log lines, as rows")]:
        mine = [line for line in rows if f'"table":"{table}"' in line]
        say(f"{title} ({len(mine)} in {table})")
        print("\n".join(mine))


def demo(folder, url):
    log_file = folder / "app.log"
    log = logcore.get_logger(APP, path=log_file)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (folder / "config.yml").write_text(configuration(log_file, server.server_port, url))
    (folder / "config.yml").chmod(0o600)
    work(log)
    say("Structured logging: the application's log, one JSON line an event")
    print(log_file.read_text(), end="")
    show(one_round(folder, "--dry-run").splitlines())
    if url:
        one_round(folder)
        say(f"Written to the database, as server {SERVER}")
    server.shutdown()


def main():
    arguments = argparse.ArgumentParser(description=__doc__,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--url",
                           help="write to this database, too: postgresql://LOGIN@HOST/observ_metrics")
    url = arguments.parse_args().url
    if not os.access(AGENT, os.X_OK):
        sys.exit(f"{sys.argv[0]}: {AGENT} is missing; run: make")
    with tempfile.TemporaryDirectory(prefix="monitoring-demo-") as folder:
        demo(Path(folder), url)


if __name__ == "__main__":
    main()
