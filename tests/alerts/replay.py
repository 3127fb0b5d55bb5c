#!/usr/bin/python3
"""Replay cases of alert rules on the engine's own functions.

    tests/alerts/replay.py FILE...       "passed N of M" last; the exit status is 1 if a case fails
    tests/alerts/replay.py -v FILE...    also one line for each case

A file is a JSON array of cases (cases/README.md). Each case becomes a rule and rows as agents write them,
in a private PostgreSQL with schema.sql. evaluate_alerts() then runs over its time, and alert_changes is
compared with what the case expects. Time is a parameter: nothing sleeps. No case is known by its name.
Each processor has a worker with a copy of the database.
"""
import functools
import itertools
import json
import multiprocessing
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import clock_cases              # noqa: E402
import grid_cases               # noqa: E402
import input_cases              # noqa: E402
import notify_cases             # noqa: E402
import scenario_cases           # noqa: E402
import table_cases              # noqa: E402
import tables                   # noqa: E402
from engine import METRICS, Engine, replay_together         # noqa: E402

# Of each kind what replays a case, and how: `together` with others of the same interval, `alone` because it
# needs the whole engine, or `asked`: a question to one function.
KINDS = {
    "threshold": (grid_cases.threshold, "together"),
    "hysteresis": (grid_cases.threshold, "together"),
    "rule_change": (grid_cases.threshold, "together"),
    "chained": (grid_cases.chained, "together"),
    "count": (input_cases.count, "together"),
    "nodata": (input_cases.inputs, "together"),
    "missing": (input_cases.inputs, "together"),
    "restart": (grid_cases.restart, "alone"),
    "dedup": (notify_cases.dedup, "asked"),
    "script": (notify_cases.script, "asked"),
    "notify": (scenario_cases.notify, "asked"),
    "cron": (clock_cases.cron, "asked"),
    "window": (clock_cases.window, "asked"),
}


def interval_of(row):
    return row.get("interval_s", 60)


def batches(rows):
    """Rows of the same interval, and of a like length, in lists that are replayed together."""
    def length(row):
        return max((p.get("at_s", 0) for p in row.get("expect", []) if isinstance(p, dict)), default=0)

    def key(n):
        how = "alone" if "send_ok" in rows[n] else KINDS[rows[n]["kind"]][1]
        return interval_of(rows[n]), how, length(rows[n])

    numbers = sorted((n for n, row in enumerate(rows) if row["kind"] in KINDS
                      and KINDS[row["kind"]][1] != "asked"), key=key)
    for (_, how), group in itertools.groupby(numbers, key=lambda n: key(n)[:2]):
        group = list(group)
        size = len(METRICS) if how == "together" else 1
        for first in range(0, len(group), size):
            yield group[first:first + size]


def load(name):
    """The cases of a file: JSON, or tables in a .txt."""
    text = Path(name).read_text(encoding="utf-8")
    if Path(name).suffix == ".txt":
        return [{"id": line.name, "kind": "table", "line": line, "file": Path(name).name}
                for section in tables.read_tables(text) for line in section.lines]
    return [dict(row, file=Path(name).name) for row in json.loads(text)]


def guarded(play, items, failed=lambda item, sentence: [sentence]):
    """play(items): for each what is wrong. A case that can't be played fails by itself, not with others."""
    try:
        return play(items)
    except Exception as e:      # whatever a file may say
        if len(items) == 1:
            return [failed(items[0], f"{type(e).__name__}: {str(e).strip()}")]
        return [sentences for item in items for sentences in guarded(play, [item], failed)]


def play(engine, rows):
    """Cases that are replayed on one line of time."""
    return replay_together(engine, [(functools.partial(KINDS[row["kind"]][0], row=row), interval_of(row))
                                    for row in rows])


def play_tables(engine, sections):
    found = guarded(lambda s: table_cases.play(engine, s), sections,
                    lambda section, sentence: [[sentence]] * len(section.lines))
    return list(itertools.chain(*found))


def ask(engine, row):
    engine.begin()
    return guarded(lambda r: [list(KINDS[r[0]["kind"]][0](engine, r[0]))], [row])


def jobs(rows):
    """What is replayed by itself: (numbers of rows, function of an engine that gives what is wrong).

    The longest come first.
    """
    lines = [n for n, row in enumerate(rows) if row["kind"] == "table"]
    sections = list(dict.fromkeys(rows[n]["line"].section for n in lines))
    place = {id(rows[n]["line"]): n for n in lines}
    for numbers in reversed(list(batches(rows))):
        chosen = [rows[n] for n in numbers]
        yield numbers, lambda engine, chosen=chosen: guarded(lambda r: play(engine, r), chosen)
    for batch in table_cases.batches(sections):
        chosen = [sections[n] for n in batch]
        yield ([place[id(line)] for section in chosen for line in section.lines],
               functools.partial(play_tables, sections=chosen))
    for n, row in enumerate(rows):
        if row["kind"] in KINDS and KINDS[row["kind"]][1] == "asked":
            yield [n], functools.partial(ask, row=row)


def worker(engine, todo, queue, results):
    """Takes jobs until there is none, in a database of its own."""
    try:
        with engine.copy() as own:
            for n in iter(queue.get, None):
                results.put((n, todo[n][1](own)))
    finally:
        results.put(None)


def replay(engine, rows, workers=len(os.sched_getaffinity(0))):
    """Of each row what is wrong with the engine's answer, as sentences; none: the case passes."""
    wrong = [["it was not replayed"] if row["kind"] in {*KINDS, "table"} else
             [f"kind {row['kind']!r} is not known; known are {', '.join(KINDS)}"] for row in rows]
    fork = multiprocessing.get_context("fork")
    todo, queue, results = list(jobs(rows)), fork.Queue(), fork.Queue()
    for n in [*range(len(todo)), *[None] * workers]:
        queue.put(n)
    processes = [fork.Process(target=worker, args=(engine, todo, queue, results)) for _ in range(workers)]
    for process in processes:
        process.start()
    at_work = workers
    while at_work:
        found = results.get()
        if found is None:
            at_work -= 1
            continue
        for n, sentences in zip(todo[found[0]][0], found[1]):
            wrong[n] = sentences
    for process in processes:
        process.join()
    return wrong


def main(arguments):
    verbose = "-v" in arguments
    files = [a for a in arguments if a != "-v"]
    if not files:
        sys.exit(__doc__)
    rows = [row for name in files for row in load(name)]
    with Engine(connect=False) as engine:
        wrong = replay(engine, rows)
    for row, sentences in zip(rows, wrong):
        if verbose or sentences:
            print(f"{'FAILED' if sentences else 'passed'} {row['file']} {row.get('id')} {row['kind']}")
        for sentence in sentences[:5]:
            print(f"    {sentence}")
    print(f"passed {wrong.count([])} of {len(rows)}")
    return wrong.count([]) != len(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
