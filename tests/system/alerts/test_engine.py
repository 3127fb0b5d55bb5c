"""The engine of the alerts: scenarios as data, a model, promtool, and the same history whoever evaluates."""
import subprocess
import sys

from harness import TOP

ALERTS = TOP / "tests" / "alerts"
CASES = ALERTS / "cases"


def last_line(*command):
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout.splitlines()[-1]


def test_each_scenario_gives_what_its_file_says():
    _, passed, _, of = last_line(ALERTS / "replay.py", *sorted(CASES.glob("*.json")),
                                 *sorted(CASES.glob("*.txt"))).split()
    assert int(passed) == int(of) >= 900


def test_the_history_is_the_same_whoever_evaluates_and_when():
    names = "kinds", "levels", "changes", "time"
    changes, differ = last_line(ALERTS / "turns.py", *[CASES / f"{n}.txt" for n in names]).split(" changes, ")
    assert int(changes) >= 1400 and differ == "0 differ"


def test_model_and_promtool_agree_on_100000_random_points():
    points, differ = last_line(ALERTS / "differential.py").split(" points, ")
    assert int(points) >= 100000 and differ == "0 differ"
