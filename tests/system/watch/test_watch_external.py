"""Rules that ask Prometheus, or an administrator's SELECT: the watcher asks, and writes the answers."""
import json
import shutil
import subprocess
import time
import urllib.request
from urllib.parse import parse_qs

import pytest
from harness import wait_for
from peers import HANG, READ, HttpPeer, answer


def add_rule(database, kind, query, **more):
    return str(database.one("""INSERT INTO alert_rules (name, kind, params, op, warning, interval_s)
        VALUES (%s, %s, %s, '>', 5, 1) RETURNING rule_id""", f"{kind} {query}"[:60], kind,
                            json.dumps({kind: query, **more})))


def answer_of(database, rule):
    """The newest answer, as (rows, problem)."""
    rows = wait_for(lambda: database.query("""SELECT rows, problem FROM external_answers WHERE rule_id = %s
        ORDER BY at DESC LIMIT 1""", rule), "an answer")
    return rows[0]


def vector(*series):
    return {"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": labels, "value": [1767225600.123, value]} for labels, value in series]}}


@pytest.mark.parametrize("said, rows, problem", [
    (answer(200, vector(({"instance": "a"}, "7.5"), ({"instance": "b"}, "NaN"))),
     [{"subject": {"instance": "a"}, "value": "7.5"}, {"subject": {"instance": "b"}, "value": "NaN"}], None),
    (answer(200, {"status": "success", "data": {"resultType": "scalar", "result": [1, "3"]}}),
     [{"subject": {}, "value": "3"}], None),
    (answer(200, vector()), [], None),
    (answer(400, {"status": "error", "errorType": "bad_data", "error": "parse error at char 3"}), [],
     "status 400: parse error at char 3"),
    (answer(200, {"status": "success", "data": {"resultType": "matrix", "result": []}}), [],
     "neither a vector"),
    (answer(200, b"<html>"), [], "neither a vector"), (answer(503, b""), [], "status 503"),
    (answer(200, {"status": "success", "data": {"resultType": "vector", "result": [1, {}, {"metric": 3}]}}),
     None, None)], ids=["vector", "scalar", "empty", "bad query", "matrix", "page", "away", "garbage"])
def test_an_answer_of_prometheus_becomes_values(watched, make_watcher, said, rows, problem):
    query = 'sum by (instance) (up{job="a&b"}) > 0 # +%'
    rule = add_rule(watched, "promql", query)
    with HttpPeer([[READ, said]]) as peer:
        make_watcher(prometheus_url=peer.url.removesuffix("/hook"), local_peers="refuse").start()
        got, why = answer_of(watched, rule)
        asked = parse_qs(peer.requests[0].body.decode())
        assert peer.requests[0].path == "/api/v1/query" and asked["query"] == [query]
        assert abs(float(asked["time"][0]) - time.time()) < 60
    if rows is not None:
        assert got == rows and (problem or "") in (why or "") and bool(why) == bool(problem)


def test_a_prometheus_that_hangs_holds_up_no_evaluation(watched, make_watcher):
    rule = add_rule(watched, "promql", "up")
    with HttpPeer([[READ, HANG]]) as peer, HttpPeer() as switch:
        make_watcher(prometheus_url=peer.url.removesuffix("/hook"), ping_url=switch.url).start()
        wait_for(lambda: len(switch.requests) > 1, "two evaluations")
        assert "does not answer" in answer_of(watched, rule)[1]


def test_without_a_prometheus_the_rule_says_so(watched, make_watcher):
    rule = add_rule(watched, "promql", "up")
    make_watcher().start()
    assert "no Prometheus is configured" in answer_of(watched, rule)[1]


def test_the_select_of_an_administrator_is_read_only_and_limited(watched, make_watcher):
    good = add_rule(watched, "sql", "SELECT 'x' AS name, 42 AS value")
    writes = add_rule(watched, "sql", "DELETE FROM alert_rules RETURNING 1 AS value")
    slow = add_rule(watched, "sql", "SELECT pg_sleep(60), 1 AS value")
    make_watcher().start()
    assert answer_of(watched, good) == ([{"subject": {"name": "x"}, "value": "42"}], None)
    assert answer_of(watched, writes)[1]
    assert "timeout" in answer_of(watched, slow)[1]
    assert watched.count("alert_rules", "rule_id = %s", good) == 1


HOSTILE = {
    "writes a large object": "SELECT lo_from_bytea(0, 'x') AS value",
    "keeps the lock of the leader": "SELECT count(pg_advisory_lock_shared(1868721011, 2002874997)) AS value",
    "lifts its time limit": "SELECT count(set_config('statement_timeout', '0', false)) AS value",
    "writes from now on": "SELECT count(set_config('default_transaction_read_only', 'off', false)) AS value",
    "floods listeners": "SELECT count(pg_notify('x', n::text)) AS value FROM generate_series(1, 9) n",
    "ends the session's limits": "SELECT count(set_config('client_connection_check_interval', '0', false))"
                                 " AS value",
}


def test_what_a_select_does_ends_with_it(watched, make_watcher):
    for query in HOSTILE.values():
        add_rule(watched, "sql", query)
    make_watcher().start()
    slow = add_rule(watched, "sql", "SELECT pg_sleep(60), 1 AS value")
    last = add_rule(watched, "sql", "SELECT current_setting('transaction_read_only') AS ro,"
                    " current_setting('statement_timeout') AS t, current_setting('search_path') AS p,"
                    " current_setting('client_connection_check_interval') AS c, 1 AS value")
    assert "timeout" in answer_of(watched, slow)[1]
    assert answer_of(watched, last)[0][0]["subject"] == {"ro": "on", "t": "5s", "c": "2s",
                                                        "p": "observ, pg_catalog, pg_temp"}
    wait_for(lambda: watched.query("SELECT count(DISTINCT rule_id) FROM external_answers")[0][0]
             == len(HOSTILE) + 2, "an answer of each")
    assert watched.query("SELECT count(*) FROM pg_largeobject_metadata")[0][0] == 0
    assert watched.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 2002874997"
                         )[0][0] == 0


@pytest.mark.skipif(not shutil.which("prometheus"), reason="there is no prometheus here")
def test_the_real_prometheus_of_debian(watched, make_watcher, tmp_path):
    (tmp_path / "p.yml").write_text("global: {scrape_interval: 1s}\nscrape_configs: []\n")
    process = subprocess.Popen(["prometheus", f"--config.file={tmp_path}/p.yml",
                                f"--storage.tsdb.path={tmp_path}/d",
                                "--web.listen-address=127.0.0.1:19590"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def is_up():
            try:
                return urllib.request.urlopen("http://127.0.0.1:19590/-/ready", timeout=2).status == 200
            except OSError:
                return False
        wait_for(is_up, "Prometheus")
        value = add_rule(watched, "promql", 'label_replace(vector(7), "instance", "a", "", "")')
        wrong = add_rule(watched, "promql", "sum(")
        make_watcher(prometheus_url="http://127.0.0.1:19590").start()
        assert answer_of(watched, value) == ([{"subject": {"instance": "a"}, "value": "7"}], None)
        assert "parse error" in answer_of(watched, wrong)[1]
    finally:
        process.kill()
        process.wait()
