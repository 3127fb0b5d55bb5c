#!/usr/bin/env python3
"""Replay cases of alert rules on the engine's own functions.

    tests/alerts/replay.py FILE...       "passed N of M" last; the exit status is 1 if a case fails
    tests/alerts/replay.py -v FILE...    also one line for each case

A file is a JSON array of cases (cases/README.md). Each case becomes a rule and rows as agents write them,
in a private PostgreSQL with schema.sql. evaluate_alerts() then runs over its time, and alert_changes is
compared with what the case expects. Time is a parameter: nothing sleeps. No case is known by its name.
"""
import json
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "alerts"))
import clock_cases      # noqa: E402
import grid_cases       # noqa: E402
import notify_cases     # noqa: E402
from engine import Engine       # noqa: E402

KINDS = {
    "threshold": grid_cases.threshold,
    "hysteresis": grid_cases.threshold,
    "rule_change": grid_cases.threshold,
    "chained": grid_cases.chained,
    "restart": grid_cases.restart,
    "cron": clock_cases.cron,
    "window": clock_cases.window,
    "dedup": notify_cases.dedup,
    "script": notify_cases.script,
}


def replay(engine, case):
    """What is wrong with the engine's answer, as sentences; none: the case passes."""
    kind = KINDS.get(case.get("kind"))
    if not kind:
        return [f"kind {case.get('kind')!r} is not known; known are {', '.join(KINDS)}"]
    engine.forget()
    return list(kind(engine, case))


def main(arguments):
    verbose = "-v" in arguments
    files = [a for a in arguments if a != "-v"]
    if not files:
        sys.exit(__doc__)
    cases = [(name, case) for name in files for case in json.loads(Path(name).read_text(encoding="utf-8"))]
    passed = 0
    with Engine() as engine:
        for name, case in cases:
            wrong = replay(engine, case)
            passed += not wrong
            if verbose or wrong:
                verdict = "FAILED" if wrong else "passed"
                print(f"{verdict} {Path(name).name} {case.get('id')} {case.get('kind')}")
            for sentence in wrong[:5]:
                print(f"    {sentence}")
    print(f"passed {passed} of {len(cases)}")
    return passed != len(cases)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
