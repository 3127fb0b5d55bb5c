#!/usr/bin/python3
"""The cost of the line scanner: ns a line by CPU time, instructions a line by callgrind. Aim: 200 ns; json-c
needs 1,587.

    bench/scan.py [LINES]           default 1000000; callgrind gets a tenth
    bench/scan.py --text            each file of tests/corpus that is no logcore line, as the agent reads it:
                                    records are found, then taken apart. Aim: 1,500 ns a line
"""
import json
import re
import sys
import tempfile
from pathlib import Path

import log_lines
from idle import BUILD, run

SCAN = BUILD / "bench" / "scan"
CORPUS = Path(__file__).resolve().parents[1] / "tests/corpus"
TEXT_LINES, COUNTED_LINES = 2000, 200
TEXT_NS = 1500


def instructions(folder, log, rounds, *options):
    run("valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", SCAN, *options, log, rounds,
        timeout=600)
    return int(re.search(r"^(?:totals|summary): (\d+)", (folder / "out").read_text(), re.M)[1])


def text_files():
    for name, records in json.loads((CORPUS / "expected.json").read_text(encoding="utf-8")).items():
        if records[0]["kind"] == "text":
            yield CORPUS / "logs" / name


def repeated(log, data, lines):
    """Write `data` so often that there are about so many lines; how many there are."""
    times = max(lines // data.count(b"\n"), 1)
    log.write_bytes(data * times)
    return data.count(b"\n") * times


def cost_of_text(folder, file):
    log, data = folder / "log", file.read_bytes()
    repeated(log, data, TEXT_LINES)
    ns = int(re.search(r": (\d+) ns a line", run(SCAN, "-r", log, 9))[1])
    lines = repeated(log, data, COUNTED_LINES)
    return ns, (instructions(folder, log, 1, "-r") - instructions(folder, log, 0, "-r")) // lines, file.name


def scan_text():
    with tempfile.TemporaryDirectory(prefix="observ-bench-") as name:
        costs = sorted(cost_of_text(Path(name), file) for file in text_files())
    for ns, count, name in costs:
        print(f"{ns:5} ns {count:6} instructions a line {'>' if ns > TEXT_NS else ' '} {name}")
    ns, count = (sum(c[i] for c in costs) // len(costs) for i in (0, 1))
    print(f"{ns:5} ns {count:6} instructions a line on average; "
          f"{sum(c[0] > TEXT_NS for c in costs)} of {len(costs)} formats cost over {TEXT_NS:,} ns")


def main():
    if sys.argv[1:] == ["--text"]:
        return scan_text()
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="observ-bench-") as name:
        folder = Path(name)
        log, part = folder / "log", folder / "part"
        log_lines.write(log, log_lines.rows(lines))
        log_lines.write(part, log_lines.rows(lines // 10))
        print(run(SCAN, log, 7).strip())
        count = instructions(folder, part, 1) - instructions(folder, part, 0)
        print(f"{count / (lines // 10):.0f} instructions a line, the search for its newline included")


if __name__ == "__main__":
    main()
