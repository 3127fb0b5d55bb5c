#!/usr/bin/python3
"""The corpus of real loggers, read by lnav (with the formats that it comes with) and by the agent: which
times, levels and records are right. Debian 12's lnav is 0.11.1. Of its formats only journald_json_log reads
JSON: bunyan's and others came later. So text and JSON are counted apart. docs/log-formats.md has the table.

    bench/lnav.py
"""
import csv
import io
import os
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "system/logs")]
from harness import Agent, Cluster  # noqa: E402
from test_corpus import CORPUS, EXPECTED, NEAR, judge, read_corpus, record_ends  # noqa: E402

WHATS = ("record", "time", "level")
# lnav's names for what the database calls otherwise.
LEVELS = {"trace": "TRACE", "debug": "DEBUG", "debug2": "DEBUG", "debug3": "DEBUG", "debug4": "DEBUG",
          "debug5": "DEBUG",
          "info": "INFO", "notice": "INFO", "stats": "INFO", "warning": "WARNING", "error": "ERROR",
          "critical": "CRITICAL",
          "fatal": "CRITICAL"}
ZONE = timedelta(hours=5, minutes=30)           # lnav shows the time as it stands, in whatever zone


def lnav(file, home):
    """{offset: (time, level)} of the lines that lnav takes for the beginning of a record."""
    done = subprocess.run(["lnav", "-n", "-q", "-c", ";SELECT log_line, log_time, log_level FROM all_logs",
                           "-c", ":write-csv-to -", file],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=60, env={**os.environ, "HOME": home, "TZ": "Asia/Kolkata"})
    offsets, at = [], 0
    for line in file.read_bytes().split(b"\n"):
        offsets.append(at)
        at += len(line) + 1
    if not done.stdout.startswith("log_line"):
        return {}
    return {offsets[int(r["log_line"])]: (datetime.fromisoformat(r["log_time"]), LEVELS.get(r["log_level"]))
            for r in csv.DictReader(io.StringIO(done.stdout))}


def right_by_lnav(want, row, whole):
    if row is None:
        return
    time, level = row
    if whole:
        yield "record"
    if want["time"]:
        own = datetime.fromisoformat(want["time"].rstrip("Z"))
        if abs(time - own) <= NEAR or abs(time - own - ZONE) <= NEAR:
            yield "time"
    if want["level"] and level in want["level"].split("/"):
        yield "level"


def right_by_us(want, row, whole):
    wrong = set(judge(want, row, whole))
    for what in WHATS:
        if row is not None and what not in wrong and (what == "record" or want[what]):
            yield what


def count(rows, right):
    """{(kind, what): so many are right}"""
    counts = Counter()
    for file, records in EXPECTED.items():
        mine = rows.get(file, {})
        for record, end in zip(records, record_ends(records)):
            whole = not any(record["offset"] < offset < end for offset in mine)
            counts.update((record["kind"], what) for what in right(record, mine.get(record["offset"]), whole))
    return counts


def print_table(theirs, ours):
    version = subprocess.run(["lnav", "-V"], capture_output=True, text=True, check=True).stdout.split()[-1]
    print(f"| of the corpus | lnav {version} | Observ |\n|---|---|---|")
    for kind in ("text", "json"):
        for what in WHATS:
            of = sum(r["kind"] == kind and (what == "record" or bool(r[what]))
                     for records in EXPECTED.values() for r in records)
            mine, other = ours[kind, what], theirs[kind, what]
            name = {"text": "text", "json": "JSON"}[kind]
            print(f"| {name}: {what}s, {of} | {other}, {100 * other / of:.1f} % "
                  f"| {mine}, {100 * mine / of:.1f} % |")


def main():
    with tempfile.TemporaryDirectory(prefix="observ-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        theirs = count({f: lnav(CORPUS / "logs" / f, name) for f in EXPECTED}, right_by_lnav)
        cluster = Cluster(folder / "pg")
        cluster.start()
        try:
            ours = count(read_corpus(cluster, folder), right_by_us)
        finally:
            cluster.stop("immediate")
    print_table(theirs, ours)


if __name__ == "__main__":
    main()
