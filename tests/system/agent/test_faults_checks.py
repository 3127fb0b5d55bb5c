"""Faulty HTTP targets (bad_http.py), through the whole agent into the database: each check ends at its
own deadline with the right error class, and no other check is late."""
import urllib.request

import pytest
from harness import Watch
from oracle import record

# Path, further keys of the check, and the expected error class in the database (None: success).
BAD = [
    ("hang", {}, "timeout"),
    ("slow_headers", {}, "timeout"),
    ("slow_body", {}, "timeout"),
    ("huge_stall", {}, "timeout"),
    ("endless_body", {}, None),                         # the headers have decided
    ("endless_body?", {"expect_body": "needle"}, "body"),
    ("huge", {"expect_body": "needle"}, "body"),
    ("endless_headers", {}, "protocol"),
    ("endless_continue", {}, "protocol"),
    ("gzip_bomb", {"expect_body": "needle"}, "body"),
    ("loop", {"max_redirects": 5}, "protocol"),
    ("to_file", {"max_redirects": 5}, "protocol"),
    ("to_metadata", {"max_redirects": 5}, "protocol"),
    ("early_close", {}, "protocol"),
    ("no_answer", {}, "protocol"),
    ("reset", {}, "protocol"),
    ("garbage", {}, "protocol"),
    ("status/503", {}, "status"),
]


pytestmark = pytest.mark.alone


def wait_steady(db, url, runs, timeout):
    """Wait until a check has that many results; returns the largest deviation from 1 s between two runs."""
    db.wait("SELECT count(*) >= %s FROM health_checks WHERE url = %s", runs, url, timeout=timeout)
    return db.one("""SELECT max(abs(d - 1.0))::float
                        FROM (SELECT extract(epoch FROM timestamp - lag(timestamp) OVER w) d,
                        row_number() OVER w n FROM health_checks WHERE url = %s
                            WINDOW w AS (ORDER BY timestamp)) g
                     WHERE n > 3""", url)


def settings(db, checks):
    return {"enabled": True, "vps_name": "test", "collection_interval": 10, "postgres_url": db.url(),
            "health_checks": checks}


def wrong_check(url, error, **more):
    """The timeout is 1 s; a target that does not run into it answers at once, as far as the machine
    allows."""
    return {"url": url, "interval": 4, "timeout": 1 if error == "timeout" else 3, "retries": 0, **more}


def test_fault_31_targets_that_misbehave(db, make_agent, bad):
    base = f"http://127.0.0.1:{bad['http']}/"
    fine = {"url": base + "ok", "interval": 1, "timeout": 1, "retries": 0}
    wrong = [(wrong_check(base + path, error, **more), error) for path, more, error in BAD]
    wrong += [(wrong_check(f"https://127.0.0.1:{bad[port]}/", error), error)
              for port, error in (("tls_stall", "timeout"), ("self_signed", "tls"), ("expired", "tls"),
                                  ("dead", "refused"))]
    agent = make_agent(db, health_checks=[fine])
    with Watch(agent) as watch:
        agent.start()
        db.wait("SELECT count(*) > 0 FROM health_checks", timeout=15)
        agent.configure(settings(db, [fine] + [check for check, _ in wrong]))
        agent.reload()
        db.wait("SELECT count(DISTINCT url) = %s FROM health_checks", len(wrong) + 1, timeout=30)
        late = wait_steady(db, fine["url"], 15, timeout=40)
    found = {url: (error, round(longest)) for url, error, longest in db.query(
        "SELECT url, max(error_class), max(response_time_ms)::float FROM health_checks GROUP BY url")}
    assert {url: error for url, (error, _) in found.items()} == \
        {fine["url"]: None, **{check["url"]: error for check, error in wrong}}
    late_ms = max(found[check["url"]][1] - check["timeout"] * 1000
                  for check in [fine] + [check for check, _ in wrong])
    assert late_ms < 100 + watch.stall * 1000, "past a deadline"
    assert late < 0.1 + watch.stall
    assert db.one("SELECT count(*) FROM (SELECT url, count(DISTINCT error_class) n FROM health_checks "
                  "GROUP BY url) c WHERE n > 1") == 0
    status = agent.run("status").stdout
    assert agent.running() and '"connected":true' in status
    record(row=31, seed=1, written=None, recovery=late, good=True,
           note=f"{len(wrong)} bad targets; a good one at most {late * 1000:.0f} ms late")


def test_fault_32_five_hundred_checks_that_hang(db, make_agent, bad):
    """At most 16 run at once, whatever hangs; a healthy check keeps its interval of 1 s. Skipped runs are
    counted."""
    base = f"http://127.0.0.1:{bad['http']}/"
    fine = {"url": base + "ok", "interval": 1, "timeout": 1, "retries": 0}
    hang = [{"url": f"{base}hang?{i}", "interval": 10, "timeout": 2, "retries": 0} for i in range(499)]
    agent = make_agent(db, health_checks=[fine])
    with Watch(agent) as watch:
        agent.start()
        db.wait("SELECT count(*) > 0 FROM health_checks", timeout=15)
        agent.configure(settings(db, [fine] + hang))
        agent.reload()
        agent.wait_said("configuration reloaded")
        late = wait_steady(db, fine["url"], 17, timeout=40)
    with urllib.request.urlopen(base + "peak_hanging", timeout=5) as answer:
        peak = int(answer.read())
    assert 8 <= peak <= 16
    assert late < 0.1 + watch.stall
    db.wait("SELECT count(*) > 20 FROM health_checks WHERE error_class = 'timeout'", timeout=15)
    assert agent.running()
    record(row=32, seed=1, written=None, recovery=late, good=True,
           note=f"at most {peak} under way, a good one at most {late * 1000:.0f} ms late")


def test_fault_31_a_check_that_recovers_is_news(db, make_agent, bad):
    """Good results wait for the next metrics, except the first one after a failure: people wait for it."""
    base = f"http://127.0.0.1:{bad['http']}/"
    check = {"url": base + "ok", "interval": 1, "timeout": 1, "retries": 0}
    agent = make_agent(db, collection_interval=60, health_checks=[{**check, "expect_status": 500}])
    agent.start()
    db.wait("SELECT count(*) > 0 FROM health_checks WHERE NOT success", timeout=15)
    agent.configure({**settings(db, [check]), "collection_interval": 60})
    agent.reload()
    db.wait("SELECT count(*) > 0 FROM health_checks WHERE success", timeout=6)
    late = db.one("SELECT max(extract(epoch FROM received_at - timestamp))::float FROM health_checks "
                  "WHERE success")
    assert late < 4
    record(row=31, seed=2, written=None, recovery=late, good=True, note="recovery is shown at once")
