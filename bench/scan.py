#!/usr/bin/python3
"""The cost of the line scanner: ns a line by CPU time, instructions a line by callgrind. Aim: 200 ns; json-c
needs 1,587.

    bench/scan.py [LINES]           default 1000000; callgrind gets a tenth
"""
import re
import sys
import tempfile
from pathlib import Path

import log_lines
from idle import BUILD, run

SCAN = BUILD / "bench" / "scan"


def instructions(folder, log, rounds):
    run("valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", SCAN, log, rounds, timeout=600)
    return int(re.search(r"^(?:totals|summary): (\d+)", (folder / "out").read_text(), re.M)[1])


def main():
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
