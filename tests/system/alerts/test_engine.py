"""The engine of the alerts against public cases, a model and promtool: tests/alerts."""
import subprocess
import sys

from harness import TOP

ALERTS = TOP / "tests" / "alerts"


def last_line(*command):
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout.splitlines()[-1]


def test_cases_of_public_suites_pass():
    files = sorted((ALERTS / "cases").glob("*.json"))
    _, passed, _, of = last_line(ALERTS / "replay.py", *files).split()
    assert int(passed) == int(of) >= 478


def test_model_and_promtool_agree_on_100000_random_points():
    points, differ = last_line(ALERTS / "differential.py").split(" points, ")
    assert int(points) >= 100000 and differ == "0 differ"
