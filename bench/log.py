#!/usr/bin/python3
"""What a log line with three context fields costs: logcore, the same line by hand (the floor), and peers from
Debian.

    bench/log.py [--rounds 9] [--seconds 0.1] [--only floor,logcore,...] [--folder DIR]
                                    after `make bench-log`

All write the same lines of JSON, every text escaped, to a file on disk below the build folder, empty before
each run. The clock runs from the first line until the logger is closed. CPU is user and system time of the
whole process, the threads of the logger included. Latencies come from separate runs, each call timed, the
timer's cost included: back to back, and ("paced") one thread with a call each 5 us, which a logger's thread
can follow. Each run goes through all cases in turn, each round begins with the next one; figures are medians
over the rounds, ratios are taken within each round. Each case is first run once for its lines to be read: all
there, valid, each with its fields; later, lines are counted.
"""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BUILD = Path(os.environ.get("OBSERV_BUILD", Path(__file__).resolve().parents[1] / "build"))
PROGRAMS = {"floor": "the floor", "logcore": "logcore", "spdlog": "spdlog", "glog": "glog",
            "golog": "zerolog and zap"}
THREADS = (1, 4)
CHECKED_LINES = 20_000
PACED_LINES = 30_000
BELOW_CALLS = 5_000_000
FEWEST, MOST = 20_000, 600_000          # lines of a run
PATIENCE_S = 60

# The kinds of runs with their numbers of threads, and the names of their columns.
RUNS = (("rate", 1), ("rate", 4), ("latency", 1), ("latency", 4), ("paced", 1), ("below", 1))
NAMES = {"rate": {"cpu": "cpu", "wall": "wall"},
         "latency": {key: key for key in ("p50", "p99", "p99.9", "timer")},
         "paced": {key: f"paced {key}" for key in ("p50", "p99", "p99.9")}, "below": {"below": "below"}}

# As in driver.h.
MESSAGE = "order stored, the confirmation is on its way"
USERS = ("maria.santos@example.org", "li.wei@example.org", "jürgen@example.org", '"tim" <tim@example.org>',
         "olivia@example.org", "noah.fischer@example.org", "amara.okafor@example.org", "b@example.org")


class Case:
    def __init__(self, program, name, file):
        self.program, self.name, self.file = program, name, file
        self.banner = 4 if name.startswith("glog") else 0       # lines of its own header
        self.lines = {}                                         # lines of a run, by number of threads
        self.results = []                                       # a dict for each round

    def run(self, mode, threads, lines):
        command = [self.program, self.name, mode, self.file, threads, lines]
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=PATIENCE_S)
        if done.returncode != 0:
            sys.exit(f"{self.name}: {mode}: exit {done.returncode}\n{done.stderr}")
        return json.loads(done.stdout)

    def check(self, threads):
        """Check that all lines are there, once and whole; returns the run's figures and the bytes a line."""
        result = self.run("rate", threads, CHECKED_LINES)
        written = self.file.read_bytes().split(b"\n")[self.banner:-1]
        seen = {check_line(self.name, line) for line in written}
        if len(written) != CHECKED_LINES or seen != set(range(CHECKED_LINES)):
            sys.exit(f"{self.name}, {threads} threads: {len(written)} lines, {len(seen)} orders of "
                     f"{CHECKED_LINES}")
        return result, sum(map(len, written)) / len(written) + 1

    def measure(self, mode, threads):
        """One run; adds its figures to the last of the results."""
        lines = {"paced": PACED_LINES, "below": BELOW_CALLS}.get(mode, self.lines[threads])
        figures = self.run(mode, threads, lines)
        if mode == "rate" and count_lines(self.file) != lines + self.banner:
            sys.exit(f"{self.name}, {threads} threads: not all lines were written")
        into = self.results[-1].setdefault(threads, {})
        into.update({NAMES[mode][key]: value for key, value in figures.items() if key in NAMES[mode]})

    def median(self, threads, key):
        return statistics.median(r[threads][key] for r in self.results)


# ---- checks of the lines ----------------------------------------------------------------------------

def check_line(name, line):
    """The order number of a line; ends the program if the line is wrong."""
    try:
        o = json.loads(line)
        n = o["context"]["order"]
        expected = {"timestamp": o["timestamp"], "level": o["level"], "logger": "shop.orders",
                    "message": MESSAGE,
                    "context": {"order": n, "user": USERS[n % 8], "ms": n * 7919 % 1000}}
        good = o == expected and o["level"].upper() == "INFO" and \
            re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", o["timestamp"])
    except (ValueError, KeyError, TypeError):
        good = False
    if not good:
        sys.exit(f"{name}: a line that it should not have written:\n{line.decode(errors='replace')}")
    return n


def count_lines(path):
    count = 0
    with open(path, "rb", buffering=0) as f:
        while piece := f.read(1 << 20):
            count += piece.count(b"\n")
    return count


# ---- instructions ---------------------------------------------------------------------------------

def instructions(case, folder):
    """Instructions a line, outside of the kernel, by callgrind: the difference between two runs."""
    def total(lines):
        out = folder / "callgrind"
        subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", case.program,
                        case.name, "rate",
                        case.file, "1", str(lines)], check=True, capture_output=True, timeout=PATIENCE_S)
        return int(re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.M)[1])
    return (total(6000) - total(1000)) / 5000


# ---- tables ---------------------------------------------------------------------------------------

COLUMNS = (("CPU ns", "cpu", 0), ("wall ns", "wall", 0), ("p50", "p50", 0), ("p99", "p99", 0),
           ("p99.9", "p99.9", 0))
ALONE = (("paced p50", "paced p50", 0), ("p99", "paced p99", 0), ("p99.9", "paced p99.9", 0),
         ("below", "below", 1), ("timer", "timer", 0))


def table(cases, threads, columns):
    print(f"\n{f'{threads} thread' + 's' * (threads > 1):18}{'lines/s':>11}"
          + "".join(f"{c:>11}" for c, _, _ in columns))
    for c in cases:
        cells = "".join(f"{c.median(threads, key):11,.{decimals}f}" for _, key, decimals in columns)
        print(f"{c.name:18}{1e9 / c.median(threads, 'wall'):11,.0f}{cells}")


def own(threads, key):
    return lambda a, _: a[threads][key]


def cost(threads, key):
    """The ratio of logcore's figure to the peer's."""
    return lambda a, b: a[threads][key] / b[threads][key]


def speed(threads):
    """The ratio of logcore's lines a second to the peer's."""
    return lambda a, b: b[threads]["wall"] / a[threads]["wall"]


# Label, case, peer, function that compares a round of both, and the aim, if there is one.
AIMS = (
    ("direct: CPU / floor, 1 thread", "logcore-direct", "floor", cost(1, "cpu"), "<= 1.1"),
    ("direct: CPU / floor, 4 threads", "logcore-direct", "floor", cost(4, "cpu"), "<= 1.1"),
    ("direct: lines/s / floor, 4 threads", "logcore-direct", "floor", speed(4), ""),
    ("direct: lines/s / spdlog flushed, 1 thread", "logcore-direct", "spdlog-flushed", speed(1), ""),
    ("direct: lines/s / spdlog flushed, 4 threads", "logcore-direct", "spdlog-flushed", speed(4), ">= 2"),
    ("direct: lines/s / zerolog, 4 threads", "logcore-direct", "zerolog-direct", speed(4), ""),
    ("buffered: CPU ns a line", "logcore-buffered", "logcore-buffered", own(1, "cpu"), "<= 180"),
    ("buffered: p50 ns", "logcore-buffered", "logcore-buffered", own(1, "p50"), "<= 70"),
    ("buffered: p99 ns", "logcore-buffered", "logcore-buffered", own(1, "p99"), "<= 120"),
    ("buffered: million lines/s, 4 threads", "logcore-buffered", "logcore-buffered",
     lambda a, _: 1e3 / a[4]["wall"], ">= 8"),
    ("buffered: CPU / buffered floor, 1 thread", "logcore-buffered", "floor-buffered", cost(1, "cpu"), ""),
    ("buffered: lines/s / buffered floor, 4 threads", "logcore-buffered", "floor-buffered", speed(4), ""),
    ("buffered: CPU / spdlog buffered, 1 thread", "logcore-buffered", "spdlog-buffered", cost(1, "cpu"), ""),
    ("buffered: CPU / zerolog buffered, 1 thread", "logcore-buffered", "zerolog-buffered",
     cost(1, "cpu"), ""),
    ("asynchronous: CPU ns a line", "logcore-async", "logcore-async", own(1, "cpu"), ""),
    ("asynchronous: p99.9 ns, back to back", "logcore-async", "logcore-async", own(1, "p99.9"), "<= 300"),
    ("asynchronous: p99.9 ns, paced", "logcore-async", "logcore-async", own(1, "paced p99.9"), "<= 300"),
    ("asynchronous: CPU / spdlog asynchronous, 1 thread", "logcore-async", "spdlog-async",
     cost(1, "cpu"), ""),
    ("below the level: ns a call", "logcore-direct", "logcore-direct", own(1, "below"), "<= 2"),
)


def report(cases):
    by_name = {c.name: c for c in cases}
    for threads in THREADS:
        table(cases, threads, COLUMNS + (ALONE if threads == 1 else ()))
    print(f"medians of {len(cases[0].results)} rounds; ns a line or a call, the timer's own in the "
          "latencies\n")
    print(f"{'':54}{'measured':>9}  {'lowest..highest':22}aim")
    for what, name, other, measure, aim in AIMS:
        if name in by_name and other in by_name:
            values = [measure(a, b) for a, b in zip(by_name[name].results, by_name[other].results)]
            spread = f"{min(values):,.2f}..{max(values):,.2f}"
            print(f"{what:54}{statistics.median(values):9,.2f}  {spread:22}{aim}")


# ---- running --------------------------------------------------------------------------------------

def find_cases(only, file):
    cases = []
    for name, what in PROGRAMS.items():
        program = BUILD / "bench" / "log" / name
        if program.exists():
            names = subprocess.run([str(program)], capture_output=True, text=True,
                                   timeout=PATIENCE_S).stdout.split()
            cases += [Case(program, n, file) for n in names if not only or any(n.startswith(o) for o in only)]
        else:
            print(f"not built, without part: {what}; see {BUILD}/bench/log/peers.err")
    return sorted(cases, key=lambda c: ("async" in c.name, "buffered" in c.name))


def measure_round(cases):
    """The same run for each case in turn, so that compared runs are close in time."""
    for case in cases:
        case.results.append({})
    for mode, threads in RUNS:
        for case in cases:
            case.measure(mode, threads)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.1, help="about what one run takes")
    parser.add_argument("--only", default="", help="how the cases' names begin, with commas between")
    parser.add_argument("--folder", default=BUILD, help="where the file is written")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-log-", dir=args.folder) as name:
        folder = Path(name)
        cases = find_cases([o for o in args.only.split(",") if o], folder / "app.log")
        if not cases:
            sys.exit("nothing to measure; `make bench-log` builds it")
        for case in cases:
            for threads in THREADS:
                result, size = case.check(threads)
                case.lines[threads] = int(min(max(args.seconds * 1e9 / result["wall"], FEWEST),
                                              MOST)) // 4 * 4
            print(f"{case.name}: {CHECKED_LINES:,} lines of {size:.0f} bytes are right, with 1 and 4 threads",
                  flush=True)
        for n in range(args.rounds):
            measure_round(cases[n % len(cases):] + cases[:n % len(cases)])
        report(cases)
        if shutil.which("valgrind"):
            for case in cases:
                if case.name in ("floor", "logcore-direct", "floor-buffered", "logcore-buffered"):
                    print(f"{case.name}: {instructions(case, folder):,.0f} instructions a line, the kernel's "
                          "not counted")


if __name__ == "__main__":
    main()
