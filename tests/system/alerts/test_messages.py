"""Messages of alerts: cases of replay.py, and the batches of the real Alertmanager."""
import shutil
import subprocess
import sys

import pytest

from harness import TOP

CASES = TOP / "tests" / "alerts" / "cases"


def last_line(*command, timeout):
    done = subprocess.run([sys.executable, *map(str, command)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("file", ["scenarios.json", "notify_cases.json", "cron_cases.json"])
def test_each_case_gives_the_messages_that_it_expects(file):
    status, out = last_line(TOP / "tests" / "alerts" / "replay.py", CASES / file, timeout=600)
    assert status == 0, out


def test_the_same_batches_as_alertmanager():
    if not shutil.which("prometheus-alertmanager"):
        pytest.skip("prometheus-alertmanager is missing")
    status, out = last_line(TOP / "tests" / "alerts" / "beside_alertmanager.py", timeout=600)
    assert status == 0, out
