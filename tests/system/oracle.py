#!/usr/bin/python3
"""The oracle of the fault tests, and the table of their results.

judge() compares the written lines with the database, and adds one line to the report
(OBSERV_FAULT_REPORT, default BUILD/faults.jsonl). As a program it prints the table of a report:

    oracle.py REPORT
"""
import json
import os
import sys
import time
from pathlib import Path

import psycopg2

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import BUILD, wait_for  # noqa: E402

# Gaps about lines that are rows, or about no lines: they do not account for a missing line.
NOT_LINES = "(kind = 'line_cut' OR kind LIKE 'outbox%')"
TWICE = """SELECT (SELECT count(*) - count(DISTINCT (vps_name, app_name, stream_id, stream_offset))
      FROM log_entries
      WHERE stream_id IS NOT NULL),
    (SELECT count(*) - count(DISTINCT (vps_name, app_name, logger, context->>'n')) FROM log_entries
      WHERE context->>'n' IS NOT NULL)"""
COUNTS = f"""SELECT (SELECT count(*) FROM log_entries),
    (SELECT coalesce(sum(lines), 0)::bigint FROM gaps WHERE stream_id IS NOT NULL AND NOT {NOT_LINES}),
    (SELECT count(*) FROM gaps WHERE stream_id IS NOT NULL AND NOT {NOT_LINES} AND lines IS NULL),
    (SELECT count(*) FROM rejects)"""


def report_path():
    return Path(os.environ.get("OBSERV_FAULT_REPORT") or BUILD / "faults.jsonl")


def counts(db):
    return dict(zip(("delivered", "in_gaps", "gaps_of_unknown_size", "in_rejects"), db.query(COUNTS)[0]))


def judge(row, db, written, *, seed=1, recovery=None, gap_lines=0, note="", timeout=300.0):
    """Checks that every written line is a row, a reject, or counted in a gap, and none is there twice.

    Waits at most `timeout` seconds for that. gap_lines: the most lines that may be in gaps; 0: none. A gap
    with an unknown number of lines (a truncated file) may account for any of them. recovery: seconds from the
    end of the fault until rows arrived again. Returns the counts.
    """
    found = {}

    def accounted():
        found.update(counts(db))
        return found["delivered"] + found["in_rejects"] + found["in_gaps"] >= written or \
            (gap_lines and found["gaps_of_unknown_size"] and found["delivered"] + gap_lines >= written)

    try:
        wait_for(accounted, f"row {row}: {written} lines are accounted for", timeout, every=0.2)
    finally:
        duplicates = max(db.query(TWICE)[0])
        missing = written - found.get("delivered", 0) - found.get("in_rejects", 0)
        counted = missing == found.get("in_gaps") or (missing > 0
                                                      and found.get("gaps_of_unknown_size", 0) > 0)
        good = duplicates == 0 and 0 <= missing <= gap_lines and counted
        record(row=row, seed=seed, written=written, delivered=found.get("delivered", 0),
               duplicates=duplicates,
               in_gaps=max(missing, 0) if counted else found.get("in_gaps", 0),
               lost=0 if counted else max(missing, 0),
               in_rejects=found.get("in_rejects", 0), recovery=recovery, note=note, good=good)
    assert duplicates == 0, f"row {row}: rows that are there twice: {found}"
    assert good, f"row {row}: written {written}, missing {missing}, at most {gap_lines} may be in gaps: " \
                 f"{found}, {db.query('SELECT kind, lines, bytes, detail FROM gaps LIMIT 20')}"
    return found


def rows_again(db, before=None, timeout=30.0):
    """Seconds until there are more log rows than `before` (default: now); the server may be away
    meanwhile."""
    def rows():
        try:
            return db.count("log_entries")
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            return -1                           # the server is still away

    began = time.monotonic()
    before = db.count("log_entries") if before is None else before
    wait_for(lambda: rows() > before, "log rows come again", timeout)
    return time.monotonic() - began


def record(**line):
    """Add one line to the report; written=None for a fault without lines to count."""
    line["test"] = os.environ.get("PYTEST_CURRENT_TEST", "").split(" ")[0].rpartition("/")[2]
    with open(report_path(), "a", encoding="utf-8") as report:
        report.write(json.dumps(line) + "\n")


# ---- the table -----------------------------------------------------------------------------------

COLUMNS = ("row", "seeds run", "lines written", "delivered", "duplicates", "in gaps", "in rejects", "lost",
           "recovery, s", "")


def summary(lines):
    """The cells of one row of FAULTS: sums over its runs, and the worst time to recover."""
    def total(key):
        values = [line[key] for line in lines if line.get(key) is not None]
        return f"{sum(values):,}" if values else "-"

    times = [line["recovery"] for line in lines if line.get("recovery") is not None]
    notes = list(dict.fromkeys(line["note"] for line in lines if line.get("note")))
    bad = sum(not line["good"] for line in lines)
    return (str(lines[0]["row"]), str(len(lines)), total("written"), total("delivered"), total("duplicates"),
            total("in_gaps"), total("in_rejects"), total("lost"), f"{max(times):.1f}" if times else "-",
            "; ".join([f"{bad} FAILED"] * bool(bad) + notes[:2]))


def table(path):
    """The report as text; "" where there is none."""
    if not path.exists():
        return ""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = sorted({line["row"] for line in lines}, key=lambda row: (not isinstance(row, int), row))
    cells = [COLUMNS] + [summary([line for line in lines if line["row"] == row]) for row in rows]
    width = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    return "".join("  ".join([c.rjust(w) for c, w in zip(row[:-1], width)] + [row[-1]]).rstrip() + "\n"
                   for row in cells)


if __name__ == "__main__":
    print(table(Path(sys.argv[1])), end="")
