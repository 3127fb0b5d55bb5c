"""Rules that ask Prometheus, or an administrator's SELECT: the watcher asks, and writes the answers."""
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from urllib.parse import parse_qs

import pytest
from harness import wait_for
from peers import HANG, READ, HttpPeer, answer
from watching import Watcher, add_channel, say, wait_sent, watch_role


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
     "gives a matrix; it must give an instant vector or a number, so leave out its last [range]"),
    (answer(200, {"status": "success", "data": {"resultType": "string", "result": [1, "x"]}}), [],
     "gives a string"),
    (answer(200, b"<html>"), [], "not as Prometheus does; is prometheus_url right?"),
    (answer(503, b""), [], "status 503"),
    (answer(401, b"no"), [], "set prometheus_token"), (answer(404, b""), [], "is prometheus_url right?"),
    (answer(302, b"", "Location: http://127.0.0.1/"), [], "the address that it redirects to"),
    (answer(422, {"status": "error", "errorType": "execution", "error": "many-to-many"}), [], "many-to-many"),
    (answer(200, {"status": "success", "warnings": ["store gone"], **vector(({"a": "b"}, "+Inf"))}),
     [{"subject": {"a": "b"}, "value": "Infinity"}], None),
    (answer(200, b"[" + b"1," * (3 << 20) + b"1]"), [], "larger than 4 MiB; aggregate"),
    (answer(200, {"status": "success", "data": {"resultType": "vector", "result": [1, {}, {"metric": 3}]}}),
     None, None),
    (answer(200, vector(({"a": "b"}, "-Inf"))), [{"subject": {"a": "b"}, "value": "-Infinity"}], None),
    (answer(200, vector(({"a": 1}, 7.5))), [{"subject": {"a": "1"}, "value": "7.5"}], None),
    (answer(200, vector(({"a": "b"}, "1"), ({"a": "b"}, "2"))), [],
     "two rows of the answer have the same labels"),
    (answer(200, vector(*(({"n": str(n)}, "1") for n in range(1001)))), [], "has 1001 rows, more than 1000"),
    (answer(200, vector(*(({"n": str(n)}, "1") for n in range(100_000)))), [],
     "larger than 4 MiB; aggregate"),
    (answer(200, vector(({"a": "x" * 4000}, "1"))), [], "longer than 4000 bytes"),
    (answer(200, vector(({"a": "b"}, "seven"))), [], "the answer is not understood"),
    (answer(200, {"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": {"a": "b"}, "histogram": [1767225600, {"count": "3", "sum": "4", "buckets": []}]}]}}), [],
     "gives a vector of histograms"),
    (answer(200, {"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": {"a": "b"}, "value": ["7"]}]}}), [{"subject": {"a": "b"}, "value": None}], None)],
    ids=["vector", "scalar", "empty", "bad query", "matrix", "string", "page", "away", "login", "wrong path",
         "redirect", "execution", "warning", "huge", "garbage", "-inf", "JSON numbers", "same labels",
         "too many", "very many", "long labels", "no number", "histogram", "no value"])
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


@pytest.mark.parametrize("keys, header", [
    ({"prometheus_token": "tok-1"}, "Bearer tok-1"),
    ({"prometheus_user": "ann", "prometheus_password": "p:w"}, "Basic YW5uOnA6dw==")])
def test_prometheus_gets_its_login(watched, make_watcher, keys, header):
    rule = add_rule(watched, "promql", "up")
    with HttpPeer([[READ, answer(200, vector())]]) as peer:
        make_watcher(prometheus_url=peer.url.removesuffix("/hook") + "/", **keys).start()
        answer_of(watched, rule)
        assert peer.requests[0].headers["authorization"] == header
        assert peer.requests[0].path == "/api/v1/query"


def test_a_prometheus_that_hangs_holds_up_no_message(watched, make_watcher):
    """Its requests have their own slots, and an evaluation waits for it for a second only."""
    for n in range(40):
        add_rule(watched, "promql", f"up > {n}")
    with HttpPeer([[READ, HANG]]) as hung, HttpPeer() as peer:
        add_channel(watched, "hook", "webhook", {"url": peer.url})
        make_watcher(prometheus_url=hung.url.removesuffix("/hook"), parallel=2, delivery_timeout_s=30).start()
        wait_for(lambda: hung.requests, "requests that hang")
        for _ in range(5):
            began = time.monotonic()
            wait_sent(watched, say(watched, "hook"))
            assert time.monotonic() - began < 5


class Prometheus:
    """The real one. It scrapes a small file server, whose lines `series` has, each quarter of a second."""

    def __init__(self, folder):
        self.folder, self.series, self.process = folder, {"queue_length": 3}, None
        self.exposition = HttpPeer(lambda n: [READ, answer(200, "".join(
            f"{k} {v}\n" for k, v in self.series.items()), "Content-Type: text/plain; version=0.0.4")])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.more = ()

    def start(self, *more, web=None):
        (self.folder / "p.yml").write_text(json.dumps({
            "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms"},
            "scrape_configs": [{"job_name": "it", "metrics_path": "/hook", "static_configs": [
                {"targets": [f"127.0.0.1:{self.exposition.port}"], "labels": {"server": "web-1"}}]}]}))
        if web:
            (self.folder / "web.yml").write_text(json.dumps(web))
            more = (*more, f"--web.config.file={self.folder}/web.yml")
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={self.folder}/p.yml", f"--storage.tsdb.path={self.folder}/d",
                 f"--web.listen-address=127.0.0.1:{self.port}", *more], stdout=log, stderr=log)
        wait_for(self.is_up, "Prometheus: " + (self.folder / "log").read_text()[-2000:])
        return self

    def is_up(self):
        try:
            return urllib.request.urlopen(f"{self.url}/-/ready", timeout=2).status == 200
        except urllib.error.HTTPError as e:
            return e.code == 401
        except OSError:
            return False

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.exposition.stop()


PASSWORD_HASH = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"      # of "secret", by bcrypt
needs_prometheus = pytest.mark.skipif(not shutil.which("prometheus"), reason="there is no prometheus here")


@pytest.fixture
def prometheus(tmp_path):
    folder = tmp_path / "prometheus"
    folder.mkdir()
    with Prometheus(folder) as running:
        yield running


def alert_rule(database, query, **more):
    """A rule on its own, which fires at 5."""
    columns = {"interval_s": 1, "warning": 5, "op": ">", "on_error": "keep", "no_data": "keep", **more}
    names = ", ".join(columns)
    return str(database.one(f"""INSERT INTO alert_rules (name, kind, params, {names})
        VALUES (%s, 'promql', %s{", %s" * len(columns)}) RETURNING rule_id""",
                            query[:60], json.dumps({"promql": query}), *columns.values()))


def states(database, rule):
    return database.query("SELECT subject, state, value FROM alerts WHERE rule_id = %s ORDER BY fired_at",
                          rule)


def wait_state(database, rule, state):
    wait_for(lambda: [s for _, s, _ in states(database, rule)][-1:] == [state], f"{rule} becomes {state}")


@pytest.fixture
def real(db):
    """The real engine, without other rules, and no wait in groups."""
    watch_role(db)
    db.query("UPDATE alert_rules SET is_active = false")
    db.query("UPDATE alert_routes SET group_wait_s = 0, group_interval_s = 1")
    return db


@needs_prometheus
def test_a_rule_of_the_real_prometheus_fires_and_resolves(real, prometheus, tmp_path):
    rule = alert_rule(real, "max by (server) (queue_length)")
    prometheus.start()
    with HttpPeer() as peer:
        add_channel(real, "hook", "webhook", {"url": peer.url})
        watcher = Watcher(tmp_path / "w", real, prometheus_url=prometheus.url).start()
        try:
            wait_for(lambda: answer_of(real, rule)[0], "a value")
            assert states(real, rule) == []
            prometheus.series["queue_length"] = 8
            wait_for(lambda: peer.requests, "firing")
            prometheus.series["queue_length"] = 2
            wait_for(lambda: len(peer.requests) > 1, "resolved")
        finally:
            watcher.kill()
    firing, resolved = (r.json for r in peer.requests[:2])
    (alert,) = firing["data"]["alerts"]
    assert firing["type"] == "alerts.firing" and resolved["type"] == "alerts.resolved"
    assert alert["subject"] == {"server": "web-1"} and alert["value"] == 8 and alert["threshold"] == 5
    assert [state for _, state, _ in states(real, rule)] == ["resolved"]


@needs_prometheus
def test_errors_of_the_real_prometheus_follow_the_policy_of_their_rule(real, prometheus, tmp_path):
    """It goes away while a rule fires: kept, ended, or an alert by itself; and it says why."""
    prometheus.series["queue_length"] = 8
    prometheus.start("--query.max-samples=5000")
    kept, ended = (alert_rule(real, f"queue_length + {n} * 0", on_error=policy)
                   for n, policy in enumerate(("keep", "ok")))
    quiet = alert_rule(real, "queue_length - 8", on_error="alert")
    wrong = alert_rule(real, "sum(", on_error="own")
    text = alert_rule(real, '"a text"', on_error="own")
    span = alert_rule(real, "queue_length[5m]", on_error="own")
    large = alert_rule(real, "sum_over_time((vector(1) + vector(1))[1d:1s])", on_error="own")
    nan = alert_rule(real, "queue_length * NaN", on_error="alert")
    number = alert_rule(real, "scalar(queue_length)")
    watcher = Watcher(tmp_path / "w", real, prometheus_url=prometheus.url).start()
    try:
        for rule in (kept, ended, number):
            wait_state(real, rule, "firing")
        for rule, said in ((wrong, "parse error"), (text, "gives a string"), (span, "gives a matrix")):
            wait_state(real, rule, "error")
            assert said in answer_of(real, rule)[1]
        wait_state(real, large, "error")
        assert "status 422: query processing would load too many samples" in answer_of(real, large)[1]
        assert answer_of(real, nan)[0][0]["value"] == "NaN" and not states(real, nan) + states(real, quiet)
        prometheus.stop()
        for rule, state in ((quiet, "firing"), (ended, "resolved")):
            wait_state(real, rule, state)
        assert "does not answer" in answer_of(real, kept)[1] and states(real, kept)[-1][1] == "firing"
        prometheus.start()
        wait_state(real, quiet, "resolved")
        wait_state(real, ended, "firing")
        assert states(real, kept)[-1][1] == "firing" and len(states(real, kept)) == 1
    finally:
        watcher.kill()


@needs_prometheus
def test_the_real_prometheus_wants_a_login(real, prometheus, tmp_path):
    prometheus.start(web={"basic_auth_users": {"ann": PASSWORD_HASH}})
    rule = alert_rule(real, "queue_length")
    watcher = Watcher(tmp_path / "a", real, prometheus_url=prometheus.url).start()
    try:
        said = wait_for(lambda: answer_of(real, rule)[1], "a refusal")
        assert "status 401" in said and "set prometheus_token, or prometheus_user" in said
    finally:
        watcher.kill()
    login = {"prometheus_user": "ann", "prometheus_password": "secret"}
    watcher = Watcher(tmp_path / "b", real, prometheus_url=prometheus.url, **login).start()
    try:
        wait_for(lambda: answer_of(real, rule)[0], "a value")
    finally:
        watcher.kill()
