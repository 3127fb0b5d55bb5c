"""The engine of the alerts: scenarios as data, a model, promtool, and the same history whoever evaluates."""
import json
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
    assert int(passed) == int(of) >= 1250


def test_what_can_not_be_replayed_fails_by_itself(tmp_path):
    good = json.loads((CASES / "threshold_cases.json").read_text(encoding="utf-8"))[0]
    rule = {"agg": "last", "op": ">", "threshold": 80}
    point = [{"at_s": 0, "subject": "h1", "state": "inactive"}]
    odd = [7, None, "x", [], {}, {"kind": "nonsense"}, {"kind": ["a"]}, {"kind": "table"},
           {"kind": "threshold"}]
    odd += [{"kind": "threshold", "rule": rule | change, "samples": {"h1": [[0, 90]]}, "expect": point}
            for change in ({}, {"agg": "quantile"}, {"op": "~"}, {"for_s": 1.5})]
    odd += [{"kind": "threshold", "rule": rule, "samples": {"h1": s}, "expect": point}
            for s in ("x", [[0, "y"]])]
    odd += [{"kind": "nodata", "inputs": ["foo"], "expect": ["inactive"]},
            {"kind": "count", "rule": {}, "inputs": ["fail"], "expect": ["firing"]},
            {"kind": "count", "rule": {"fail_n": 1, "recover_m": 1}, "inputs": ["maybe"],
             "expect": ["firing"]},
            {"kind": "cron", "tz": "Mars/X", "cron": "* * * * *", "from": "2031-01-01",
             "expect": ["2031-01-01"]}]
    folder = tmp_path / "some files"
    folder.mkdir()
    (folder / "odd cases.json").write_text(json.dumps([*odd, good]), encoding="utf-8")
    (folder / "broken.json").write_text("[", encoding="utf-8")
    done = subprocess.run([ALERTS / "replay.py", "odd cases.json", "broken.json", "missing.json"], cwd=folder,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1 and not done.stderr
    assert done.stdout.splitlines()[-1] == f"passed 1 of {len(odd) + 3}"


def test_the_history_is_the_same_whoever_evaluates_and_when():
    names = "kinds", "levels", "changes", "time", "agent_clocks"
    changes, differ = last_line(ALERTS / "turns.py", *[CASES / f"{n}.txt" for n in names]).split(" changes, ")
    assert int(changes) >= 1400 and differ == "0 differ"


def test_model_and_promtool_agree_on_100000_random_points():
    points, differ = last_line(ALERTS / "differential.py").split(" points, ")
    assert int(points) >= 100000 and differ == "0 differ"
