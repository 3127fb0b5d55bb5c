#!/usr/bin/python3
"""Replay cases of alert rules on the engine's own functions.

    tests/alerts/replay.py FILE...       "passed N of M" last
    tests/alerts/replay.py -v FILE...    also one line for each case

The exit status is 1 if a case fails, and 2 if a file or a case can't be replayed as it stands.

A file is a JSON array of cases (cases/README.md), or tables of them (.txt: tables.py, message_cases.py). Each
case becomes a rule and rows as agents write them, in a private PostgreSQL with schema.sql. evaluate_alerts()
then runs over its time, and alert_changes is compared with what the case expects. Time is a parameter:
nothing sleeps. No case is known by its name. Each processor has a process with a copy of the database.
"""
import functools
import itertools
import json
import multiprocessing
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import case_form                # noqa: E402
import clock_cases              # noqa: E402
import grid_cases               # noqa: E402
import input_cases              # noqa: E402
import message_cases            # noqa: E402
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
ASKED = 20                      # cases that are one unit of work
NOT_PLAYED = "it can't be replayed: "


class Case:
    """A case of a file, or why it is none; and what is wrong with the engine's answer: nothing, it passes."""

    def __init__(self, file, content, problem=None, line=None):
        self.file, self.content, self.line = file, content, line
        known = isinstance(content, dict)
        self.name = f"{content.get('id')} {content.get('kind')}" if known else ""
        self.kind = content.get("kind") if known else None
        problems = [problem] if problem else [] if line else self.problems()
        self.wrong = [NOT_PLAYED + p for p in problems] or [NOT_PLAYED + "its process has ended"]
        self.played = not problems

    def problems(self):
        if not isinstance(self.kind, str) or self.kind not in KINDS:
            return [f"its kind is {self.kind!r}; known are {', '.join(KINDS)}"]
        return case_form.problems(self.content)

    def length(self):
        """Evaluations, more or less."""
        expect = self.content.get("expect") or []
        ends = [p.get("at_s", 0) for p in expect if isinstance(p, dict)]
        return max([e for e in ends if isinstance(e, (int, float))], default=0) / self.interval()

    def interval(self):
        interval_s = self.content.get("interval_s")
        known = isinstance(interval_s, (int, float)) and interval_s > 0
        return interval_s if known else grid_cases.INTERVAL_S

    def how(self):
        return "alone" if "send_ok" in self.content else KINDS[self.kind][1]


def load(name):
    """The cases of a file: JSON, or tables in a .txt. A file that can't be read is a case that fails."""
    try:
        text = Path(name).read_text(encoding="utf-8-sig")
        if Path(name).suffix == ".txt":
            lines = message_cases.read(text) if text.startswith(message_cases.MARK) else [
                line for section in tables.read_tables(text) for line in section.lines]
            cases = [Case(name, {"id": line.name, "kind": line.section.kind}, line=line) for line in lines]
        else:
            rows = json.loads(text)
            if not isinstance(rows, list):
                raise ValueError("it is no JSON array of cases")
            cases = [Case(name, row) for row in rows]
        if not cases:
            raise ValueError("it has no case")
        return cases
    except (OSError, ValueError, RecursionError, tables.TableError) as e:
        return [Case(name, None, f"the file can't be read: {e}")]


# ---- units of work: what one process plays at a time ---------------------------------------------
def guarded(play, items, failed=lambda item, sentence: [sentence]):
    """play(items): for each what is wrong. A case that can't be played fails by itself, not with others."""
    try:
        return play(items)
    except Exception as e:      # whatever a file may say
        if len(items) == 1:
            return [failed(items[0], f"{NOT_PLAYED}{type(e).__name__}: {str(e).strip()}")]
        return [sentences for item in items for sentences in guarded(play, [item], failed)]


def ask(engine, cases):
    """Cases that are a question to one function."""
    def one(one_case):
        engine.begin()
        return [list(KINDS[one_case[0].kind][0](engine, one_case[0].content))]

    return [sentences for case in cases for sentences in guarded(one, [case])]


def play_together(engine, cases):
    """Cases that are replayed on one line of time."""
    def play(some):
        return replay_together(engine, [
            (functools.partial(KINDS[c.kind][0], row=c.content), c.interval()) for c in some])

    return guarded(play, cases)


def play_tables(engine, cases):
    """The lines of some sections."""
    sections = list(dict.fromkeys(c.line.section for c in cases))
    found = guarded(lambda some: table_cases.play(engine, some), sections,
                    lambda section, sentence: [[sentence]] * len(section.lines))
    lines = itertools.chain(*[s.lines for s in sections])
    wrong = {id(line): sentences for line, sentences in zip(lines, itertools.chain(*found))}
    return [wrong[id(c.line)] for c in cases]


def play_messages(engine, cases):
    """The lines of one section about messages."""
    section = cases[0].line.section

    def play(_):
        engine.begin()
        return [message_cases.play(engine, section)]

    found, = guarded(play, [section], lambda _, sentence: [[sentence]] * len(cases))
    return found


def chunks(items, size):
    items = list(items)
    return [items[n:n + size] for n in range(0, len(items), size)]


def units(cases):
    """(how, cases), those that take longest first. Of the same interval and a like length are together."""
    played = [c for c in cases if c.played]
    grid = sorted((c for c in played if not c.line and c.how() != "asked"),
                  key=lambda c: (c.interval(), c.how(), c.length()))
    found = []
    for (_, how), group in itertools.groupby(grid, key=lambda c: (c.interval(), c.how())):
        found += [(play_together, some) for some in chunks(group, len(METRICS) if how == "together" else 1)]
    found.sort(key=lambda unit: -max(c.length() for c in unit[1]))
    lines = [c for c in played if c.line and c.kind != "messages"]
    for _, some in itertools.groupby((c for c in played if c.kind == "messages"),
                                     key=lambda c: id(c.line.section)):
        found.append((play_messages, list(some)))
    sections = list(dict.fromkeys(c.line.section for c in lines))
    for batch in table_cases.batches(sections):
        chosen = {sections[n] for n in batch}
        found.append((play_tables, [c for c in lines if c.line.section in chosen]))
    asked = [c for c in played if not c.line and c.how() == "asked"]
    return found + [(ask, some) for some in chunks(asked, ASKED)]


def work(first, work_units, next_unit, pipe):
    """Plays units until there are none left, and sends {number of the unit: sentences of each case}."""
    found = {}
    with first.copy() as engine:
        while True:
            with next_unit.get_lock():
                n = next_unit.value
                next_unit.value += 1
            if n >= len(work_units):
                break
            play, cases = work_units[n]
            found[n] = play(engine, cases)
    pipe.send(found)


def replay(cases):
    """Sets what is wrong with each case. A process that dies leaves its cases as not replayed."""
    fork = multiprocessing.get_context("fork")
    work_units, next_unit, pipes = units(cases), fork.Value("i", 0), []
    with Engine(connect=False) as first:
        for _ in range(min(len(os.sched_getaffinity(0)), len(work_units))):
            pipe, other = fork.Pipe(duplex=False)
            fork.Process(target=work, args=(first, work_units, next_unit, other)).start()
            other.close()
            pipes.append(pipe)
        collect(pipes, work_units)


def collect(pipes, work_units):
    """What each process has found."""
    for pipe in pipes:
        try:
            for n, sentences in pipe.recv().items():
                for case, wrong in zip(work_units[n][1], sentences):
                    case.wrong = wrong
        except EOFError:
            print("a process of the replay died", file=sys.stderr)


def main(arguments):
    verbose = "-v" in arguments
    files = [a for a in arguments if a != "-v"]
    if not files:
        print(__doc__, file=sys.stderr)
        return 2
    cases = [case for name in files for case in load(name)]
    replay(cases)
    for case in cases:
        if verbose or case.wrong:
            print(f"{'FAILED' if case.wrong else 'passed'} {case.file} {case.name}")
        for sentence in case.wrong[:5]:
            print(f"    {sentence}")
    passed = sum(not case.wrong for case in cases)
    print(f"passed {passed} of {len(cases)}")
    return 2 if any(c.wrong and c.wrong[0].startswith(NOT_PLAYED) for c in cases) else passed != len(cases)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
