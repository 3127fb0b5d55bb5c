#!/usr/bin/python3
"""Tables of scenarios, evaluated in two ways: is the history the same?

    tests/alerts/turns.py [-s SEED] FILE...     "N changes, M differ" last; the exit status is 1 if some do

One evaluation after the other, and in bursts by two watchers in turn: alert_changes must be the same, but for
its place in time.
"""
import random
from collections import Counter
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from engine import Engine                       # noqa: E402
from table_cases import batches, histories      # noqa: E402
from tables import read_tables                  # noqa: E402


def difference(one, other):
    """What is in one history only."""
    for n, (a, b) in enumerate(((one, other), (other, one)), 1):
        for change in list((Counter(a) - Counter(b)).elements())[:5]:
            yield f"    only in way {n}: {change}"


def main(arguments):
    seed = random.randrange(1 << 32)
    if arguments[:1] == ["-s"]:
        seed, arguments = int(arguments[1]), arguments[2:]
    if not arguments:
        sys.exit(__doc__)
    sections = [s for name in arguments for s in read_tables(Path(name).read_text(encoding="utf-8"))]
    print(f"seed {seed}")
    changes = differ = 0
    with Engine() as engine:
        for batch in batches(sections):
            found = list(histories(engine, [sections[n] for n in batch], seed))
            changes += len(found[0])
            if found[0] != found[1]:
                differ += 1
                print(sections[batch[0]].title, "...", *difference(*found), sep="\n")
    print(f"{changes} changes, {differ} differ")
    return differ > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
