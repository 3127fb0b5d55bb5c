"""Servers over the API: created, changed, retired, enrolled; their agents and metrics. Through lighttpd."""
import json
import os
import re
import subprocess
import time

import psycopg2
import pytest

import seed_fleet
from harness import TOP
from hub_server import Hub


@pytest.fixture(scope="module")
def fleet(cluster):
    database = cluster.new_database()
    database.query("""DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hub') THEN
        CREATE ROLE hub LOGIN IN ROLE observ_hub; END IF; END $$""")
    for role in ("viewer", "operator", "admin"):
        database.query("""WITH u AS (INSERT INTO users (email, role, created_by) VALUES (%s, %s, 'test')
            RETURNING user_id)
            INSERT INTO api_tokens (token_hash, user_id, name, role, expires_at)
            SELECT sha256(sha256(convert_to(%s, 'UTF8'))), user_id, 'test', %s, 'infinity' FROM u""",
                       f"{role}@example.com", role, f"t_{role}", role)
    database.query("UPDATE limit_policy SET burst = 100000")
    seed_fleet.seed(database, lines=200)
    yield database
    database.drop()


@pytest.fixture(scope="module", params=["cgi", "fastcgi"])
def hub(request, fleet, tmp_path_factory):
    server = Hub(tmp_path_factory.mktemp("hub"), fleet.url("hub"), request.param,
                 conf="agents_database = db.example.com/observ_metrics?sslmode=verify-full\n").start()
    yield server
    server.stop()


@pytest.fixture
def call(hub):
    """call(method, path, body=None, token="t_admin", **query) -> Answer."""
    def go(method, path, body=None, token="t_admin", **query):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return hub.get(path, method, headers, json.dumps(body).encode() if body is not None else None,
                       **query)
    return go


@pytest.fixture
def name(fleet):
    return fleet.one("SELECT 'new-' || count(*) FROM v_fleet")


def fields(answer):
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    return {e["field"] for e in answer.json["errors"]}


# ---- create, read, change, retire ---------------------------------------------------------------------

@pytest.mark.smoke
@pytest.mark.parametrize("path", ["/api/v1/servers", "/v1/servers", "/api/v1/servers/"])
def test_a_clients_curl_creates_a_server_whose_token_posts(hub, fleet, name, path):
    done = subprocess.run(["curl", "-sS", "-X", "POST", hub.url(path), "-H",
        "Authorization: Bearer t_operator",
                           "-H", "Content-Type: application/json", "-w", "%{http_code}", "-d",
                           json.dumps({"name": name, "labels": {"environment": "prod", "tags": ["web", "eu"]},
                                       "job_name": "node", "instance": "10.0.0.9:9100", "is_active": True})],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stdout.endswith("201"), done
    made = json.loads(done.stdout[:-3])
    assert made["name"] == name and made["labels"] == {"environment": "prod", "tags": ["web", "eu"]}
    assert made["state"] == "waiting" and made["is_active"] and made["job_name"] == "node"
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made["server_id"])
    assert made["install_command"] == (f"curl -fsSL http://127.0.0.1:{hub.port}/install.sh | sudo sh -s -- "
                                       f"--token {made['agent_token']} --url http://127.0.0.1:{hub.port}")
    posted = hub.get("/ingest", "POST", {"Authorization": "Bearer " + made["agent_token"],
                                         "Content-Type": "application/json"},
                     json.dumps({"timestamp": time.time(), "metrics": {"cpu_usage": 1}}).encode())
    assert posted.status == 200, posted.text
    assert posted.json["server"] == name and posted.json["app"] == "node"
    one = hub.get(f"/api/v1/servers/{name}", headers={"Authorization": "Bearer t_viewer"}).json
    assert one["state"] == "online" and one["server_id"] == made["server_id"]
    assert "agent_token" not in one and made["agent_token"] not in json.dumps(one)
    assert fleet.count("server_tokens", "position(%s in encode(token_hash, 'escape')) > 0",
                       made["agent_token"]) == 0, "only its hash is kept"


def test_a_server_is_found_by_name_and_by_id(call, name):
    made = call("POST", "/api/v1/servers", {"name": name}).json
    for path in (f"/api/v1/servers/{name}", f"/v1/servers/{made['server_id']}",
                 f"/api/v1/servers/{made['server_id'].upper()}/"):
        assert call("GET", path, token="t_viewer").json["name"] == name
    assert call("GET", "/api/v1/servers/none").status == 404
    assert call("GET", "/api/v1/servers/00000000-0000-8000-8000-000000000000").status == 404


def test_servers_that_only_have_agents_are_listed(call):
    data = call("GET", "/api/v1/servers", limit=1000).json
    servers = {s["name"]: s for s in data["items"]}
    assert {"fra-1", "ams-2"} <= set(servers) and data["next"] is None
    assert servers["nyc-2"]["state"] == "offline" and servers["fra-1"]["apps"] == 3


def test_a_list_is_read_page_by_page(call):
    whole = [s["name"] for s in call("GET", "/v1/servers", limit=1000).json["items"]]
    seen, after = [], {}
    while True:
        answer = call("GET", "/v1/servers", limit=5, **after)
        seen += [s["name"] for s in answer.json["items"]]
        if not answer.json["next"]:
            break
        assert 'rel="next"' in answer.headers["Link"]
        after = {"after": answer.json["next"]}
    assert seen == whole == sorted(whole)


def test_servers_are_chosen_by_their_labels(call, name):
    call("POST", "/api/v1/servers", {"name": name, "environment": "stage-" + name, "team": "data",
                                     "tags": "a, b  c"})
    def found(**query):
        return [s["name"] for s in call("GET", "/api/v1/servers", **query).json["items"]]
    assert found(environment="stage-" + name) == [name]
    assert found(environment="stage-" + name, team="data", tag="b", state="waiting") == [name]
    assert found(environment="stage-" + name, tag="d") == []
    assert found(q=name.upper()) == [name]


def test_a_change_is_a_merge_patch(call, name):
    call("POST", "/api/v1/servers", {"name": name, "labels": {"environment": "a", "rack": "7"}})
    path = f"/api/v1/servers/{name}"
    changed = call("PATCH", path, {"labels": {"environment": "b", "rack": None, "tags": ["x"]},
                                   "instance": "i"}, token="t_operator")
    assert changed.status == 200
    assert changed.json["labels"] == {"environment": "b", "tags": ["x"]} and changed.json["instance"] == "i"
    assert call("PATCH", path, {}).json["labels"] == {"environment": "b", "tags": ["x"]}
    assert call("PATCH", path, {"is_active": False, "instance": None}).json["is_active"] is False
    one = call("GET", path).json
    assert one["instance"] is None and one["is_active"] is False
    assert call("PATCH", path, {"labels": None}).json["labels"] == {}
    assert fields(call("PATCH", path, {"name": "other"})) == {"name"}
    assert call("PATCH", "/api/v1/servers/none", {}).status == 404


def test_a_server_that_only_has_agents_can_be_labelled(call):
    changed = call("PATCH", "/api/v1/servers/fra-1", {"team": "core"})
    assert changed.json["labels"]["team"] == "core" and changed.json["state"] in ("online", "offline",
        "stale")


@pytest.mark.parametrize("body, field", [
    ({}, "name"), ({"name": ""}, "name"), ({"name": 5}, "name"), ({"name": " a"}, "name"),
    ({"name": "a\nb"}, "name"), ({"name": "x" * 129}, "name"), ({"name": None}, "name"),
    ({"name": "n", "labels": 5}, "labels"), ({"name": "n", "labels": {"a b": "c"}}, "labels.a b"),
    ({"name": "n", "labels": {"a": 5}}, "labels.a"), ({"name": "n", "labels": {"tags": "a"}}, "labels.tags"),
    ({"name": "n", "labels": {"tags": [5]}}, "labels.tags"), ({"name": "n", "tags": {"a": 1}}, "labels.tags"),
    ({"name": "n", "labels": {"a": "x" * 201}}, "labels.a"),
    ({"name": "n", "labels": {f"l{i}": "x" for i in range(33)}}, "labels"),
    ({"name": "n", "job_name": 5}, "job_name"), ({"name": "n", "instance": "a\0b"}, None),
    ({"name": "n", "is_active": "maybe"}, "is_active"), ({"name": "n", "owner": "me"}, "owner"),
])
def test_a_body_that_does_not_fit_names_the_field(call, body, field):
    answer = call("POST", "/api/v1/servers", body)
    assert answer.status == 422, answer.text
    assert field is None or fields(answer) == {field}


def test_a_name_is_taken_once(call, name):
    assert call("POST", "/api/v1/servers", {"name": name}).status == 201
    answer = call("POST", "/api/v1/servers", {"name": name})
    assert answer.status == 422 and fields(answer) == {"name"}


def test_a_retired_server_keeps_its_history_and_may_come_back(call, hub, fleet, name):
    token = call("POST", "/api/v1/servers", {"name": name}).json["agent_token"]
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
    post = json.dumps({"ts": time.time(), "metrics": {"cpu_percent": 3}}).encode()
    assert hub.get("/ingest", "POST", headers, post).status == 200
    enrolled = call("POST", "/api/v1/agents/enroll", {}, token=token)
    assert enrolled.status == 201, enrolled.text
    login = enrolled.json["database_user"]
    assert call("DELETE", f"/api/v1/servers/{name}", token="t_operator").status == 403
    gone = call("DELETE", f"/api/v1/servers/{name}")
    assert gone.status == 204 and gone.body == b""
    assert call("DELETE", f"/api/v1/servers/{name}").status == 404
    assert hub.get("/ingest", "POST", headers, post).status == 401
    assert fleet.count("pg_roles", "rolname = %s", login) == 0
    assert fleet.count("vps_metrics", "vps_name = %s", name) == 1
    assert call("GET", f"/api/v1/servers/{name}").json["state"] == "retired"
    assert call("POST", f"/api/v1/servers/{name}/token").status == 404
    again = call("POST", "/api/v1/servers", {"name": name})
    assert again.status == 201 and again.json["state"] == "online"
    assert call("GET", f"/api/v1/servers/{name}").json["retired_at"] is None


def test_a_new_token_leaves_time_for_the_change(call, hub, fleet, name):
    def status(token, n):
        body = json.dumps({"ts": time.time(), "metrics": {"cpu_percent": n}}).encode()
        return hub.get("/ingest", "POST", {"Authorization": "Bearer " + token,
                                           "Content-Type": "application/json"}, body).status
    old = call("POST", "/api/v1/servers", {"name": name}).json["agent_token"]
    answer = call("POST", f"/api/v1/servers/{name}/token", token="t_operator")
    assert answer.status == 201
    assert (status(old, 1), status(answer.json["agent_token"], 2)) == (200, 200)
    fleet.query("UPDATE server_tokens SET valid_until = now() WHERE vps_name = %s "
                "AND valid_until < 'infinity'",
                name)
    assert (status(old, 3), status(answer.json["agent_token"], 4)) == (401, 200)


# ---- who may ------------------------------------------------------------------------------------------

ROUTES = [("GET", "/api/v1/servers", "viewer"), ("POST", "/api/v1/servers", "operator"),
          ("GET", "/api/v1/servers/fra-1", "viewer"), ("PATCH", "/api/v1/servers/fra-1", "operator"),
          ("DELETE", "/api/v1/servers/no-such", "admin"), ("POST", "/api/v1/servers/no-such/token",
              "operator"),
          ("GET", "/api/v1/bootstrap-tokens", "operator"), ("POST", "/api/v1/bootstrap-tokens", "operator"),
          ("DELETE", "/api/v1/bootstrap-tokens/no-such", "operator"), ("GET", "/api/v1/agents", "viewer"),
          ("GET", "/api/v1/metrics/servers/fra-1/summary", "viewer"),
          ("GET", "/api/v1/metrics/servers/fra-1", "viewer")]


@pytest.mark.parametrize("method, path, least", ROUTES)
def test_each_route_asks_for_its_role(call, method, path, least):
    rank = ["viewer", "operator", "admin"]
    body = {"x": 1} if method in ("POST", "PATCH") else None        # fits no route
    for token in (None, "t_wrong"):
        answer = call(method, path, body, token=token)
        assert answer.status == 401 and "WWW-Authenticate" in answer.headers, answer.text
    for role in rank:
        status = call(method, path, body, token=f"t_{role}").status
        assert (status == 403) == (rank.index(role) < rank.index(least)), (role, status)


def test_a_servers_token_reads_nothing(call, name):
    token = call("POST", "/api/v1/servers", {"name": name}).json["agent_token"]
    assert {call(method, path, {} if method in ("POST", "PATCH") else None, token=token).status
            for method, path, _ in ROUTES} == {401}


# ---- enrolment ----------------------------------------------------------------------------------------

def test_a_bootstrap_token_enrolls_new_servers(call, fleet, hub, name):
    made = call("POST", "/api/v1/bootstrap-tokens", {"uses": 2, "expires_in": 3600}, token="t_operator")
    assert made.status == 201
    token = made.json["token"]
    assert f"--token {token} --url " in made.json["install_command"]
    done = subprocess.run(["curl", "-sS", "-X", "POST", hub.url("/api/v1/agents/enroll"),
                           "-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json",
                           "-d", json.dumps({"hostname": name})], capture_output=True, text=True, timeout=30)
    one = json.loads(done.stdout)
    assert one["name"] == name and one["agent_token"].startswith("obs_server_")
    assert one["database_url"] == (f"postgresql://{one['database_user']}:{one['database_password']}"
                                   "@db.example.com/observ_metrics?sslmode=verify-full")
    connection = psycopg2.connect(fleet.url(one["database_user"]), password=one["database_password"])
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT observ.agent_hello(%s, 'a', 1, NULL, '1', 60, now())", (name,))
    connection.close()
    two = call("POST", "/api/v1/agents/enroll", {"hostname": name + "b", "token": token}, token=None)
    assert two.status == 201, "the token may be in the body"
    spent = call("POST", "/api/v1/agents/enroll", {"hostname": name + "c"}, token=token)
    assert spent.status == 403 and "used up" in spent.json["detail"]
    listed = {t["id"]: t for t in call("GET", "/api/v1/bootstrap-tokens").json["items"]}
    assert listed[made.json["id"]]["used"] == 2 and listed[made.json["id"]]["ended"]
    assert token not in call("GET", "/api/v1/bootstrap-tokens").text


def test_a_bootstrap_token_gives_no_known_server_away(call, name):
    call("POST", "/api/v1/servers", {"name": name})
    token = call("POST", "/api/v1/bootstrap-tokens", {"uses": 9}).json["token"]
    for known in (name, "fra-1"):
        answer = call("POST", "/api/v1/agents/enroll", {"hostname": known}, token=token)
        assert answer.status == 403 and "known already" in answer.json["detail"]


def test_a_revoked_bootstrap_token_enrolls_nothing(call, name):
    made = call("POST", "/api/v1/bootstrap-tokens", {}).json
    assert call("DELETE", f"/api/v1/bootstrap-tokens/{made['id']}").status == 204
    assert call("DELETE", f"/api/v1/bootstrap-tokens/{made['id']}").status == 404
    assert call("POST", "/api/v1/agents/enroll", {"hostname": name}, token=made["token"]).status == 401


@pytest.mark.parametrize("body, field", [({"hostname": 5}, "hostname"), ({"hostname": ""}, "hostname"),
                                         ({}, "hostname"), ({"hostname": "a\nb"}, "hostname"),
                                         ({"hostname": "a", "x": 1}, "x")])
def test_an_enrolment_that_does_not_fit_names_the_field(call, body, field):
    token = call("POST", "/api/v1/bootstrap-tokens", {}).json["token"]
    answer = call("POST", "/api/v1/agents/enroll", body, token=token)
    assert answer.status == 422 and fields(answer) == {field}


@pytest.mark.parametrize("body, field", [({"uses": 0}, "uses"), ({"uses": "x"}, "uses"), ({"uses": 10001},
    "uses"),
                                         ({"expires_in": 0}, "expires_in"), ({"expires_in": 1e9},
                                             "expires_in"),
                                         ({"more": 1}, "more")])
def test_a_bootstrap_token_that_does_not_fit_names_the_field(call, body, field):
    answer = call("POST", "/api/v1/bootstrap-tokens", body)
    assert answer.status == 422 and fields(answer) == {field}


# ---- agents and metrics ---------------------------------------------------------------------------------

def test_agents_say_how_they_are(call):
    items = call("GET", "/api/v1/agents", server="fra-1", token="t_viewer").json["items"]
    assert len(items) == 3
    assert set(items[0]) == {"server", "server_id", "app", "status", "last_seen_at", "first_seen_at",
        "version",
                             "interval_s", "skew_ms", "host", "address", "retired_at", "state"}
    whole = [(a["server"], a["app"]) for a in call("GET", "/api/v1/agents", limit=1000).json["items"]]
    seen, after = [], {}
    while after is not None:
        answer = call("GET", "/api/v1/agents", limit=4, **after).json
        seen += [(a["server"], a["app"]) for a in answer["items"]]
        after = {"after": answer["next"]} if answer["next"] else None
    assert seen == whole and len(whole) >= 14
    assert call("GET", "/api/v1/agents", after="x").status == 200


def test_the_summary_has_the_latest_and_the_hour(call, fleet):
    seed_fleet.refresh(fleet)
    data = call("GET", "/api/v1/metrics/servers/fra-1/summary", token="t_viewer").json
    cpu = data["metrics"]["cpu_percent"]
    assert cpu["min"] <= cpu["avg"] <= cpu["max"] and cpu["samples"] > 10 and cpu["age_s"] < 600
    assert cpu["last"] == fleet.one("SELECT cpu_percent FROM vps_metrics WHERE vps_name = 'fra-1' "
                                    "ORDER BY timestamp DESC LIMIT 1")
    assert call("GET", "/api/v1/metrics/servers/none/summary").status == 404


def test_a_series_has_points_and_gaps(call, hub, name):
    token = call("POST", "/api/v1/servers", {"name": name}).json["agent_token"]
    start = int(time.time()) // 60 * 60 - 1800
    for minute, cpu in ((0, 10), (0.25, 30), (1, 20), (3, 40)):
        body = json.dumps({"ts": start + minute * 60, "metrics": {"cpu_percent": cpu, "uptime_s": minute}})
        assert hub.get("/ingest", "POST", {"Authorization": "Bearer " + token,
                                           "Content-Type": "application/json"}, body.encode()).status == 200
    stamp = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start + 60 * n)) for n in range(5)]
    for metric, first in (("cpu_percent", {"avg": 20, "min": 10, "max": 30}),
                          ("uptime_s", {"avg": 0.125, "min": 0, "max": 0.25})):
        data = call("GET", f"/api/v1/metrics/servers/{name}", token="t_viewer", metric=metric, step="60",
                    **{"from": stamp[0], "to": stamp[4]}).json
        assert data["step_s"] == 60 and len(data["points"]) == 4
        points = [{k: p[k] for k in ("avg", "min", "max")} for p in data["points"]]
        assert points[0] == first
        assert points[2] == {"avg": None, "min": None, "max": None}
    hour = call("GET", f"/api/v1/metrics/servers/{name}", metric="cpu_percent", step="1h", range="6h").json
    assert hour["step_s"] == 3600 and 20 < max(p["avg"] or 0 for p in hour["points"]) < 40
    assert len(call("GET", f"/api/v1/metrics/servers/{name}", metric="cpu_percent",
        range="7d").json["points"]) <= 361


@pytest.mark.parametrize("query", [{}, {"metric": "cpu"}, {"metric": "cpu_percent", "step": "x"},
                                   {"metric": "cpu_percent", "from": "soon"}, {"metric": "cpu_percent",
                                       "step": "0"},
                                   {"metric": "x'; DROP TABLE agents; --"}])
def test_a_series_that_cannot_be_read_says_why(call, query):
    answer = call("GET", "/api/v1/metrics/servers/fra-1", **query)
    assert answer.status == 400 and answer.json["detail"]


# ---- releases -------------------------------------------------------------------------------------------

def test_a_server_records_its_releases(call, name):
    token = call("POST", "/api/v1/servers", {"name": name}).json["agent_token"]
    made = call("POST", "/api/v1/deploys", {"app": "shop", "release": "r7", "note": "by hand"}, token=token)
    assert made.status == 201 and made.json["server"] == name and made.json["release"] == "r7"
    assert call("POST", "/api/v1/deploys", {"app": "shop", "release": "r8"}, token=token).status == 201
    items = call("GET", "/api/v1/deploys", server=name, token="t_viewer").json["items"]
    assert [(i["app"], i["release"], i["note"]) for i in items] == [("shop", "r8", None), ("shop", "r7",
        "by hand")]
    assert call("GET", "/api/v1/deploys", server=name, app="till").json["items"] == []
    assert call("POST", "/api/v1/deploys", {"app": "shop", "release": "r7"}, token="t_admin").status == 401


@pytest.mark.parametrize("body, field", [({}, "app"), ({"app": "a\nb", "release": "1"}, "app"),
                                         ({"app": "a"}, "release"), ({"app": "a", "release": 5}, "release"),
                                         ({"app": "a", "release": "1", "timestamp": "x"}, "timestamp"),
                                         ({"app": "a", "release": "1", "note": 5}, "note"),
                                         ({"app": "a", "release": "1", "more": 5}, "more")])
def test_a_release_that_does_not_fit_names_the_field(call, name, body, field):
    token = call("POST", "/api/v1/servers", {"name": name}).json["agent_token"]
    answer = call("POST", "/api/v1/deploys", body, token=token)
    assert answer.status == 422 and field in fields(answer)


def test_the_hook_of_a_deployment_records_the_release(hub, call, name, tmp_path):
    """templates/deploy-hook.sh with a systemctl that says that the agent runs."""
    token = call("POST", "/api/v1/servers", {"name": name}).json["agent_token"]
    (tmp_path / "access").write_text(f"{hub.url('').rstrip('/')}\n{token}\n")
    release = tmp_path / "deployments/shop/releases/2026-11-30"
    release.mkdir(parents=True)
    (tmp_path / "deployments/shop/current").symlink_to(release)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/systemctl").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    (tmp_path / "bin/id").write_text("#!/bin/sh\necho 0\n")
    for program in (tmp_path / "bin").iterdir():
        program.chmod(0o755)
    script = (TOP / "templates/deploy-hook.sh").read_text()
    script = script.replace("/opt/deployments\n", f"{tmp_path}/deployments\n", 1).replace(
        "HUB_ACCESS=/etc/credstore/observ.hub", f"HUB_ACCESS={tmp_path}/access")
    def run(*arguments):
        return subprocess.run(["sh", "-s", "--", *arguments], input=script, text=True, capture_output=True,
                              timeout=60, env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})
    done = run("shop")
    assert done.returncode == 0 and "shop: release 2026-11-30 is recorded" in done.stdout, done.stderr
    assert "reload obs-agent@shop" in (tmp_path / "asked").read_text()
    assert run("shop", 'r"1').returncode == 0
    items = call("GET", "/api/v1/deploys", server=name).json["items"]
    assert [i["release"] for i in items] == ['r"1', "2026-11-30"]
    (tmp_path / "access").write_text(f"{hub.url('').rstrip('/')}\nwrong\n")
    refused = run("shop")
    assert refused.returncode == 1 and "the hub did not take the release" in refused.stderr
    assert run("../x").returncode == 64 and run().returncode == 64


def test_the_hook_shows_the_token_in_no_argument(tmp_path):
    """install.sh gets it by standard input."""
    (tmp_path / "access").write_text("http://127.0.0.1:1\nobs_server_secret\n")
    (tmp_path / "install.sh").write_text(f'echo "$@" > {tmp_path}/arguments\ncat > {tmp_path}/input\n')
    (tmp_path / "bin").mkdir()
    for name, text in (("systemctl", "exit 3"), ("id", "echo 0"),
                       ("curl", f'echo "$@" >> {tmp_path}/arguments; cat > {tmp_path}/curl')):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    script = (TOP / "templates/deploy-hook.sh").read_text()
    for name, path in (("HUB_ACCESS=/etc/credstore/observ.hub", "HUB_ACCESS={}/access"),
                       ("INSTALL=/usr/share/observ/install.sh", "INSTALL={}/install.sh")):
        assert name in script
        script = script.replace(name, path.format(tmp_path))
    done = subprocess.run(["sh", "-s", "--", "shop", "r1"], input=script, text=True, capture_output=True,
                          timeout=60, env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})
    assert done.returncode == 0, done.stderr
    arguments = (tmp_path / "arguments").read_text()
    assert "--token-file - --url http://127.0.0.1:1 --app shop" in arguments and "secret" not in arguments
    assert (tmp_path / "input").read_text() == "obs_server_secret\n"
    assert "Bearer obs_server_secret" in (tmp_path / "curl").read_text()


def test_the_fleet_is_grouped_and_filtered_by_labels(call, fleet):
    call("PATCH", "/api/v1/servers/fra-2", {"labels": {"environment": "fleet-test", "team": "x",
        "tags": ["t1"]}})
    call("PATCH", "/api/v1/servers/hel-1", {"labels": {"environment": "fleet-test", "team": "y"}})

    def found(**query):
        return {s["vps"] for s in call("GET", "/", format="json", **query).json["servers"]}
    assert found(environment="fleet-test") == {"fra-2", "hel-1"}
    assert found(environment="fleet-test", team="y") == {"hel-1"} and found(tag="t1") == {"fra-2"}
    assert found(environment="none") == set() and len(found()) >= 9
    groups = {(g["label"], g["value"]): g["n"] for g in call("GET", "/", format="json").json["groups"]}
    assert groups["environment", "fleet-test"] == 2 and groups["team", "x"] == 1
    page = call("GET", "/", format="html").text
    assert 'href="/?environment=fleet-test"' in page
