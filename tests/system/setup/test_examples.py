"""The examples work as documented."""
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request

import pytest
from harness import BUILD, TOP, run, wait_for

SHOP = BUILD / "examples/shop/shop"


@pytest.fixture
def shop(tmp_path):
    """Start shops; each is (process, URL, log file). Ends all of them after the test."""
    started = []

    def start(*options):
        log = tmp_path / f"shop{len(started)}.log"
        process = subprocess.Popen([SHOP, "--log", log, "--port", "0", *map(str, options)],
                                   stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, process.stdout.readline().strip(), log

    yield start
    for process in started:
        process.kill()
        process.communicate()


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def lines(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


STAMP = r'\{"timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",'


def quickstart(*command, **environment):
    """The lines that an example writes to standard error, each from its level on."""
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True, timeout=60,
                          env={"PATH": os.environ["PATH"], **environment})
    assert all(re.match(STAMP, line) for line in done.stderr.splitlines()), done.stderr
    return [re.sub("^" + STAMP, "", line) for line in done.stderr.splitlines()]


LOGIN = ('"level":"INFO","logger":"quickstart","message":"User action",'
         '"context":{"user_id":123,"action":"login"}}')
FAILED = ('"level":"ERROR","logger":"quickstart.http","message":"Payment failed",'
          '"context":{"request_id":7,"error":"card 4711 was refused",')


def test_quickstart_in_c():
    assert quickstart(BUILD / "examples/quickstart") == [LOGIN]


def test_quickstart_in_cxx():
    login, failed = quickstart(BUILD / "examples/quickstart_cxx")
    assert login == LOGIN
    assert re.fullmatch(re.escape(FAILED) + r'"took_ms":\d+\.\d+\}\}', failed)


def test_quickstart_in_python():
    login, failed = quickstart(TOP / "examples/quickstart.py", PYTHONPATH=str(TOP / "logcore"))
    assert login == LOGIN
    assert failed.startswith(FAILED + '"error_type":"RuntimeError","traceback":"Traceback ')


def test_quickstart_in_the_shell():
    login, failed = quickstart(TOP / "examples/quickstart.sh",
                               PATH=f"{BUILD / 'logcore'}:{os.environ['PATH']}", LC_ALL="C")
    assert login == LOGIN
    assert failed == ('"level":"ERROR","logger":"quickstart","message":"Cannot look","context":{"status":2,'
                      '"error":"ls: cannot access \'/nowhere\': No such file or directory"}}')


def test_shop_answers_and_logs_each_request(shop):
    process, url, log = shop("--incident-every", 0)
    assert get(url + "health") == (200, '{"status":"ok"}\n')
    assert get(url + "?sort=price")[0] == 200
    assert get(url + "nowhere")[0] == 404
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    # Each request has its thread, which answers first and logs then.
    requests = [line["context"] for line in lines(log) if line["message"] == "Request"]
    assert sorted((r["request"], r["path"], r["status"]) for r in requests) == [
        (1, "/health", 200), (2, "/", 200), (3, "/nowhere", 404)]
    assert [line["message"] for line in lines(log)].count("Closing") == 1


def test_shop_has_incidents_that_end(shop):
    _, url, _ = shop("--incident-every", 4, "--seed", 2)
    for status in (503, 200, 503):
        wait_for(lambda: get(url + "health")[0] == status, f"/health says {status}", timeout=15)


def test_shop_makes_traffic_that_is_sometimes_slow_and_sometimes_fails(shop):
    _, _, log = shop("--traffic", 60, "--incident-every", 4, "--seed", 2)
    wait_for(lambda: {"User action", "Payment failed", "Payment provider is slow", "Job done"}
             <= {line["message"] for line in lines(log)}, "all that happens in a shop", timeout=30)
    assert {"INFO", "WARNING", "ERROR"} <= {line["level"] for line in lines(log)}
    assert {"shop", "shop.http", "shop.worker"} <= {line["logger"] for line in lines(log)}


def test_shop_follows_a_rotation_at_hangup(shop):
    process, url, log = shop()
    old = log.rename(log.with_suffix(".1"))
    process.send_signal(signal.SIGHUP)
    wait_for(log.exists, "the new file")
    get(url + "health")
    wait_for(lambda: [line for line in lines(log) if line["message"] == "Request"],
             "the request in the new file")
    assert lines(old)[-1]["message"] == "Open"


def test_shop_reports_why_it_cannot_start(shop, tmp_path):
    _, url, _ = shop()
    port = url.rstrip("/").rpartition(":")[2]
    for options, status, said in ([["--log", tmp_path / "x", "--port", port], 1,
                                   f"shop: port {port}: Address already in use\n"],
                                  [["--log", "/nowhere/x"], 1,
                                   "shop: /nowhere/x: No such file or directory\n"],
                                  [["--log", tmp_path / "x", "--port", "80x"], 2, None]):
        done = subprocess.run([SHOP, *options], stderr=subprocess.PIPE, text=True)
        assert done.returncode == status
        assert done.stderr == said if said else done.stderr.startswith("usage: shop")


DEMO = TOP / "examples/monitoring-demo.py"


def shown_rows(*options):
    shown = run("/usr/bin/python3", DEMO, *options, timeout=60)
    return [json.loads(line) for line in shown.splitlines() if line.startswith("{")]


def test_monitoring_demo_shows_logs_metrics_and_checks():
    rows = shown_rows()
    lines = [r for r in rows if "table" not in r]
    assert ({"User action", "Order placed", "Payment provider is slow", "Payment failed"}
            <= {line["message"] for line in lines})
    failed = next(line for line in lines if line["message"] == "Payment failed")
    assert failed["context"]["order_id"] == 4711 and "RuntimeError" in failed["context"]["traceback"]
    metrics = [r for r in rows if r.get("table") == "vps_metrics"]
    assert len(metrics) == 1 and 0 < metrics[0]["memory_percent"] < 100
    checks = {r["url"].rpartition("/")[0]: r["success"] for r in rows if r.get("table") == "health_checks"}
    assert checks.pop("http://127.0.0.1:9") is False
    assert list(checks.values()) == [True]
    assert {line["message"] for line in lines} <= {r["message"] for r in rows
                                                   if r.get("table") == "log_entries"}


def test_monitoring_demo_writes_what_it_shows(db):
    shown_rows("--url", db.url("agents"))
    where = "vps_name = 'monitoring-demo' AND app_name = 'monitoring-demo'"
    assert db.count("vps_metrics", where) == 1 and db.count("health_checks", where) == 2
    assert db.one("SELECT context ->> 'order_id' FROM log_entries WHERE message = 'Payment failed'") == "4711"


def test_monitoring_demo_says_what_is_missing(tmp_path):
    for options, build, sentence in [((), tmp_path, f"{tmp_path}/obs_agent/obs_agent is missing; run: make"),
                                     (("--url", "nonsense://"), BUILD,
                                      "obs_agent ended with status 78; what it said is above")]:
        done = subprocess.run(["/usr/bin/python3", DEMO, *options], capture_output=True, text=True,
                              timeout=90, env={**os.environ, "OBSERV_BUILD": str(build)})
        assert done.returncode == 1 and sentence in done.stderr, done.stderr
