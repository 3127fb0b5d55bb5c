"""Servers that post over HTTP: the clients' own commands, through lighttpd, on a real database."""
import json
import subprocess
import time

import pytest

from harness import BUILD
from hub_server import Hub

ONE = {"ts": None, "host": {"hostname": "web-1.example", "os": "Debian", "os_release": "12",
    "machine": "x86_64"},
       "metrics": {"cpu_percent": 12.5, "ram_percent": 40.2, "disk_percent": 61, "loadavg": [0.5, 0.4, 0.3],
                   "net_bytes_sent": 1000, "net_bytes_recv": 2000},
       "docker": {"containers": [{"name": "shop", "status": "running"}], "events": []},
       "logs": {"systemd": {"nginx.service": ["2026-11-30T05:00:00Z ERROR upstream: lost",
                                                       "2026-11-30T05:00:01Z INFO plain"]}}}
TWO = {"host": "web-1", "env": "production", "owner_team": "web", "timestamp": None,
       "metrics": {"cpu_usage": 71.5, "memory_usage": 62, "disk_usage": 90, "network_rx_bytes_per_sec": 1200,
                   "network_tx_bytes_per_sec": 800, "tcp_connections": 42},
       "docker_events": [{"type": "container", "action": "start", "container": "pg", "image": "postgres:15",
                          "timestamp": "2026-11-30T06:00:00Z"}],
       "logs": [{"container": "pg", "message": "2026-11-30 05:59:59 UTC [7] WARNING: slow",
                 "timestamp": "2026-11-30T06:00:00Z"}],
       "local_alerts": [{"name": "disk", "severity": "critical", "message": "disk 90 %"}], "score": 87.5}


def now(offset=0):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + offset))


def one(offset=0, **more):
    return {**ONE, "ts": now(offset), **more}


def two(offset=0, **more):
    return {**TWO, "timestamp": now(offset), **more}


@pytest.fixture(scope="module")
def fleet(cluster):
    database = cluster.new_database()
    database.query("""DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hub') THEN
        CREATE ROLE hub LOGIN IN ROLE observ_hub; END IF; END $$""")
    yield database
    database.drop()


@pytest.fixture(scope="module", params=["cgi", "fastcgi"])
def hub(request, fleet, tmp_path_factory):
    server = Hub(tmp_path_factory.mktemp("hub"), fleet.url("hub"), request.param, body_kb=1200).start()
    yield server
    server.stop()


@pytest.fixture
def server(fleet):
    """A new server with a token, as (name, token)."""
    name = fleet.one("SELECT 'web-' || count(*) FROM servers")
    fleet.query("INSERT INTO servers (vps_name, created_by) VALUES (%s, 'test')", name)
    return name, fleet.one("SELECT new_server_token(%s, 'test', '0')", name)


@pytest.fixture
def post(hub, server):
    """post(body, path="/api/v1/ingest", **headers) -> Answer, as the server."""
    def go(body, path="/api/v1/ingest", token=server[1], **headers):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return hub.get(path, "POST", {"Content-Type": "application/json", "Authorization": f"Bearer {token}",
                                      **headers}, raw)
    return go


@pytest.mark.smoke
@pytest.mark.parametrize("path", ["/api/v1/ingest", "/v1/ingest", "/ingest", "/ingest/"])
@pytest.mark.parametrize("form", [one, two], ids=["first form", "second form"])
def test_a_clients_curl_posts_both_forms_to_each_path(hub, fleet, server, path, form):
    name, token = server
    done = subprocess.run(["curl", "-sS", "-X", "POST", hub.url(path), "-H", f"Authorization: Bearer {token}",
                           "-H", "Content-Type: application/json", "-d", json.dumps(form())],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["status"] == "ok" and answer["server"] == name and not answer["backfill"], answer
    cpu = fleet.one("SELECT cpu_percent FROM vps_metrics WHERE vps_name = %s", name)
    assert cpu == (12.5 if form is one else 71.5)


def test_lines_are_read_as_the_agent_reads_them(post, fleet, server):
    assert post(one()).json["logs"] == 2
    assert post(two(1)).json["logs"] == 3
    rows = fleet.query("SELECT logger, level, message, timestamp FROM log_entries WHERE vps_name = %s "
                       "ORDER BY logger, stream_offset", server[0])
    assert [row[:3] for row in rows] == [
        ("docker", "INFO", "container start pg (postgres:15)"), ("local_alert", "CRITICAL", "disk 90 %"),
        ("nginx.service", "ERROR", "lost"), ("nginx.service", "INFO", "plain"), ("pg", "WARNING", "slow")]
    assert rows[2][3].isoformat() == "2026-11-30T05:00:00+00:00"
    assert rows[4][3].isoformat() == "2026-11-30T05:59:59+00:00"


def test_a_stack_trace_is_one_row(post, fleet, server):
    trace = ["2026-11-30T05:00:00Z ERROR failed", "java.lang.Error: x", "\tat a.B.c(B.java:1)",
             "2026-11-30T05:00:01Z INFO next"]
    assert post(one(logs={"systemd": {"shop": trace}})).json["logs"] == 2
    assert fleet.one("SELECT message FROM log_entries WHERE vps_name = %s AND level = 'ERROR'",
                     server[0]) == "failed\njava.lang.Error: x\n\tat a.B.c(B.java:1)"


# ---- once -----------------------------------------------------------------------------------------------

def test_a_post_that_is_sent_again_is_known(post, fleet, server):
    body = two()
    first, again = post(body).json, post(body).json
    assert not first["duplicate"] and again["duplicate"]
    assert (fleet.count("vps_metrics", "vps_name = %s", server[0]),
            fleet.count("log_entries", "vps_name = %s", server[0])) == (1, 3)


def test_the_same_key_gives_the_same_answer(post, fleet, server):
    first = post(two(), **{"Idempotency-Key": "a"})
    again = post(two(), **{"Idempotency-Key": "a"})
    assert again.status in (200, 422), "a second may have passed between the two"
    body = one()
    first = post(body, **{"Idempotency-Key": "b"})
    assert post(body, **{"Idempotency-Key": "b"}).json == first.json
    other = post(one(5), **{"Idempotency-Key": "b"})
    assert other.status == 422 and "another payload" in other.json["detail"]
    assert post(one(9), **{"Idempotency-Key": "x" * 256}).status == 400
    assert fleet.count("vps_metrics", "vps_name = %s AND cpu_percent = 12.5", server[0]) == 1


def test_late_data_is_marked(post, fleet, server):
    assert post(one(-3600)).json["backfill"] and not post(one()).json["backfill"]
    assert fleet.query("SELECT backfill FROM vps_metrics WHERE vps_name = %s ORDER BY timestamp",
                       server[0]) == [(True,), (False,)]


# ---- what is refused ------------------------------------------------------------------------------------

@pytest.mark.parametrize("body, headers, status", [
    (b"", {}, 400), (b"{", {}, 400), (b"{} x", {}, 400), (b"{'a': 1}", {}, 400), (b'{"a": NaN}', {}, 400),
    (b'{"a": 1,}', {}, 400), (b"\xff\xfe{}", {}, 400), (b'{"a": "' + b"\0" + b'"}', {}, 400),
    (b"[" * 100_000, {}, 400), (b'{"a":' * 70 + b"1" + b"}" * 70, {}, 400),
    (b"[1]", {}, 422), (b'"x"', {}, 422), (b"5", {}, 422), (b"null", {}, 422), (b"{}", {}, 422),
    (b"x" * (1024 * 1024 + 1), {}, 413), (b"{}", {"Content-Type": "text/plain"}, 415),
    (b"{}", {"Content-Encoding": "gzip"}, 415), (b"{}", {"Authorization": "Bearer wrong"}, 401),
    (b"{}", {"Authorization": ""}, 401), (b"{}", {"Authorization": "Basic eDp5"}, 401),
])
def test_what_is_no_payload_is_refused(post, body, headers, status):
    answer = post(body, **headers)
    assert answer.status == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json" and answer.json["detail"]
    assert status != 401 or "WWW-Authenticate" in answer.headers
    assert post(one()).status == 200, "the next one finds the hub as it was"


def test_a_field_that_does_not_fit_is_named(post):
    answer = post(two(metrics={"cpu_usage": "high", "disk_usage": 120}, logs=[{"container": "a"}]))
    assert answer.status == 422
    assert {e["field"] for e in answer.json["errors"]} == {"metrics.cpu_usage", "metrics.disk_usage",
                                                           "logs[0].message"}
    assert all(e["message"] for e in answer.json["errors"])


def test_what_postgresql_cannot_store_is_replaced(post, fleet, server):
    body = two(zone="a\0b", logs=[{"container": "c", "message": "x\ud800y\0z"}], big=1)
    raw = json.dumps(body).replace('"big": 1', '"big": 1e999999').encode()
    answer = post(raw)
    assert answer.status == 200, answer.text
    assert fleet.one("SELECT message FROM log_entries WHERE vps_name = %s AND logger = 'c'",
                     server[0]) == "x\ufffdy\ufffdz"
    assert fleet.one("SELECT details #>> '{payload,zone}' FROM vps_metrics WHERE vps_name = %s",
                     server[0]) == "a\ufffdb"


def test_a_large_payload_is_taken_whole(post, fleet, server):
    """Close to the limit: many lines, and one long one."""
    lines = [{"container": "c", "message": f"line {n} " + "x" * 150} for n in range(4000)]
    lines.append({"container": "long", "message": "y" * 200_000})
    answer = post(two(logs=lines))
    assert answer.status == 200 and answer.json["logs"] == 4003, answer.text
    assert fleet.count("log_entries", "vps_name = %s AND logger = 'c'", server[0]) == 4000


def test_a_server_is_limited(post, fleet):
    fleet.query("UPDATE limit_policy SET burst = 2 WHERE kind = 'ingest'")
    try:
        answers = [post(one(n)) for n in range(4)]
    finally:
        fleet.query("UPDATE limit_policy SET burst = 600 WHERE kind = 'ingest'")
    assert [a.status for a in answers][:2] == [200, 200] and answers[-1].status == 429
    assert int(answers[-1].headers["Retry-After"]) > 0


# ---- a server like any other ---------------------------------------------------------------------------

def test_a_server_that_posts_is_on_all_pages(post, hub, fleet, server):
    name = server[0]
    for offset in (-120, -60, 0):
        assert post(two(offset)).status == 200
    reader = {"Authorization": "Bearer " + fleet.one("""
        WITH u AS (INSERT INTO users (email, role, created_by) VALUES (%s, 'viewer',
            'test') RETURNING user_id)
        INSERT INTO api_tokens (token_hash, user_id, name, role, expires_at)
        SELECT sha256(sha256(convert_to('t_' || %s, 'UTF8'))), user_id, 'test', 'viewer', 'infinity' FROM u
        RETURNING 't_' || %s""", f"{name}@example.com", name, name)}
    row = {s["vps"]: s for s in hub.get("/", headers=reader, format="json").json["servers"]}[name]
    assert row["state"] == "up" and row["cpu"] == 72 and row["apps"][0]["app"] == "host"
    page = hub.get(f"/servers/{name}", headers=reader, format="json")
    assert page.status == 200, page.text
    page = page.json
    assert page["agents"][0]["state"] == "up" and {c["id"] for c in page["charts"]} >= {"cpu", "memory",
        "disk"}
    assert hub.get(f"/servers/{name}", headers={**reader, "Accept": "text/html"}).status == 200
    found = hub.get("/logs", headers=reader, format="json", q=f"vps:{name} logger:pg", range="30d").json
    assert [line["message"] for line in found["lines"]] == ["slow"] * 3
    line = found["lines"][0]
    around = hub.get("/logs/around", headers=reader, format="json", vps=name, app="host",
        at=line["timestamp"],
                     stream=line["stream_id"], offset=line["stream_offset"])
    assert around.status == 200 and around.json["found"]
    fleet.query("UPDATE agents SET last_seen_at = now() - interval '10 minutes' WHERE vps_name = %s", name)
    row = {s["vps"]: s for s in hub.get("/", headers=reader, format="json").json["servers"]}[name]
    assert row["state"] == "offline", "its posts have stopped"


# ---- for who debugs a client -------------------------------------------------------------------------------

def test_a_log_tells_what_came(fleet, server, tmp_path):
    log = tmp_path / "ingest.log"
    log.touch()
    log.chmod(0o666)
    hub = Hub(tmp_path / "hub", fleet.url("hub"), "fastcgi", conf=f"ingest_log = {log}\n").start()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {server[1]}",
        "Idempotency-Key": "k"}
    try:
        body = one()
        hub.get("/ingest", "POST", headers, json.dumps(body, indent=1).encode())
        hub.get("/v1/ingest", "POST", {**headers, "Idempotency-Key": "l"}, b'{"ts": "soon", "metrics": {}}')
        hub.get("/ingest", "POST", headers, b"no\njson")
        hub.get("/ingest", "POST", {**headers, "Authorization": "Bearer wrong"}, b'{"a": "stranger"}')
    finally:
        hub.stop()
    text = log.read_text()
    entries = [json.loads(line) for line in text.splitlines()]
    assert [(e["path"], e["status"], e["idempotency_key"]) for e in entries] == [
        ("/ingest", 200, "k"), ("/v1/ingest", 422, "l"), ("/ingest", 400, "k"), ("/ingest", 401, "k")]
    assert entries[0]["payload"] == body and entries[0]["answer"]["server"] == server[0]
    assert entries[1]["answer"]["errors"][0]["field"] == "ts" and entries[2]["payload"] == "no\njson"
    assert entries[3]["payload"] is None and entries[0]["address"] == "127.0.0.1"
    assert server[1] not in text, "a token is in no log"


@pytest.mark.parametrize("option", ["--print", "--print=pretty"])
def test_a_console_shows_what_comes(fleet, server, tmp_path, option):
    program = tmp_path / "print_hub"
    program.write_text(f'#!/bin/sh\nexec {BUILD / "fleet_hub/fleet_hub"} {option}\n')
    program.chmod(0o755)
    hub = Hub(tmp_path / "hub", fleet.url("hub"), "fastcgi", program=program).start()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {server[1]}"}
    try:
        hub.get("/ingest", "POST", headers, json.dumps(two(zone="a\x1b[31m")).encode())
        hub.get("/ingest", "POST", headers,
                json.dumps(two(zone="\x9b31m\x7f\xe9"), ensure_ascii=False).encode())
        hub.get("/ingest", "POST", headers, json.dumps(two(score="good")).encode())
    finally:
        hub.stop()
    said = hub.log()
    assert f"POST /ingest 200, " in said and f"{server[0]}: 6 metrics, 3 lines\n" in said
    assert "The body has values that do not fit. score is \"good\"; write a number" in said
    assert ('"cpu_usage":71.5' in said.replace(" ", "")) == (option == "--print=pretty")
    assert not set("\x1b\x7f\x9b") & set(said) and server[1] not in said
    assert ("\xe9" in said) == (option == "--print=pretty"), "letters stay"
