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
    assert int(passed) == int(of) >= 1480


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
    texts = {"broken.json": "[", "empty.json": "[]", "object.json": "{}", "nothing.json": "", "none.txt": "",
             "odd cases.json": json.dumps([*odd, good]), "deep.json": "[" * 100000}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    done = subprocess.run([ALERTS / "replay.py", *texts, "missing.json", "."], cwd=folder,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 2 and not done.stderr
    assert done.stdout.splitlines()[-1] == f"passed 1 of {len(odd) + 1 + len(texts) - 1 + 2}", done.stdout


ROW = {"kind": "nodata", "inputs": ["normal", "alerting"], "expect": ["inactive", "firing"], "policy": "ok"}
GRID = {"kind": "threshold", "rule": {"agg": "last", "op": ">", "threshold": 80},
        "samples": {"h1": [[0, 90]]}, "expect": [{"at_s": 0, "subject": "h1", "state": "firing"}]}


def test_a_case_that_checks_less_than_it_seems_to_is_refused(tmp_path):
    odd = [(ROW | {"expect": ["inactive"]}, "inputs has 2 elements and expect has 1"),
           (ROW | {"expect": []}, "expect is empty: the case checks nothing"),
           (ROW | {"expect": ["inactive", "fire"]}, "expect has the state 'fire'"),
           (ROW | {"expect": "firing"}, "expect must be a list"),
           (ROW | {"kind": "count", "rule": {"fail_n": 1, "recover_m": 1, "of": 2}}, "rule.of is not known"),
           (ROW | {"kind": "count", "rule": {"fail_n": 1, "recover_m": 1}, "send_ok": [True]},
            "send_ok is not"),
           (GRID | {"rule": GRID["rule"] | {"for": 60}}, "rule.for is not known"),
           (GRID | {"expect": [{"at_s": 0, "subject": "h1"}]}, "expect[0] expects nothing"),
           (GRID | {"expect": [{"subject": "h1", "state": "firing"}]}, "expect[0] has a state and no at_s"),
           (GRID | {"expect": [{"at_s": 0, "state": "firing"}]}, "expect[0] is no point with a subject"),
           ({"kind": "window", "window": {}, "at": "x", "expect": "yes"}, "expect must be true or false"),
           ({"kind": "dedup", "now": {}, "repeat_s": 1}, "expect_notify is missing")]
    file = tmp_path / "odd.json"
    file.write_text(json.dumps([case for case, _ in odd]), encoding="utf-8")
    done = subprocess.run([ALERTS / "replay.py", file], capture_output=True, text=True, check=False)
    said = done.stdout.splitlines()
    assert done.returncode == 2 and said[-1] == f"passed 0 of {len(odd)}"
    for line, (_, sentence) in zip(said[1::2], odd):
        assert line.startswith(f"    it can't be replayed: {sentence}"), done.stdout


def test_a_case_that_fails_is_not_one_that_can_not_be_replayed(tmp_path):
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps([ROW | {"expect": ["firing", "firing"]}, ROW]), encoding="utf-8")
    done = subprocess.run([ALERTS / "replay.py", file], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout.splitlines()[-1] == "passed 1 of 2"


def test_the_history_is_the_same_whoever_evaluates_and_when():
    names = "kinds", "levels", "changes", "time", "agent_clocks"
    changes, differ = last_line(ALERTS / "turns.py", *[CASES / f"{n}.txt" for n in names]).split(" changes, ")
    assert int(changes) >= 1400 and differ == "0 differ"


def test_model_and_promtool_agree_on_100000_random_points():
    points, differ = last_line(ALERTS / "differential.py").split(" points, ")
    assert int(points) >= 100000 and differ == "0 differ"
