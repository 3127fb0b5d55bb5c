"""What the hub says of itself: health, its name, and the samples for Prometheus."""
import re
import shutil
import subprocess

import people
import pytest
import seed_fleet
from hub_server import Hub


@pytest.fixture(scope="module")
def fleet(cluster):
    database = cluster.new_database()
    people.hub_role(database)
    seed_fleet.seed(database, lines=200)
    database.query("""WITH u AS (INSERT INTO users (email, role, created_by) VALUES ('v@x', 'viewer', 'test')
        RETURNING user_id) INSERT INTO api_tokens (token_hash, user_id, name, role, expires_at)
        SELECT sha256(sha256('t_viewer')), user_id, 'test', 'viewer', 'infinity' FROM u""")
    yield database
    database.drop()


@pytest.fixture(scope="module", params=["cgi", "fastcgi"])
def hub(request, fleet, tmp_path_factory):
    server = Hub(tmp_path_factory.mktemp("hub"), fleet.url("hub"), request.param, conf="").start()
    yield server
    server.stop()


@pytest.mark.parametrize("path", ["/api/v1/health/liveness", "/health", "/healthz", "/health/"])
def test_liveness_needs_nothing(hub, path):
    answer = hub.get(path)
    assert answer.status == 200 and answer.json["status"] == "ok" and answer.json["service"] == "observ"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", answer.json["timestamp"])
    assert hub.get(path, "HEAD").status == 200 and hub.get(path, "POST", body=b"").status == 405


def test_liveness_is_well_without_a_database(tmp_path):
    hub = Hub(tmp_path, "host=/nonexistent user=hub dbname=x", conf="").start()
    try:
        assert hub.get("/health").status == 200
        assert hub.get("/api/v1/health/readiness").status == 503
    finally:
        hub.stop()


def test_readiness_tells_which_part_is_bad(hub, fleet):
    fleet.query("DELETE FROM job_runs")
    data = hub.get("/api/v1/health/readiness").json
    assert data["status"] == data["database"] == data["jobs"] == "ok" and data["schema_version"] == 1
    fleet.query("INSERT INTO job_runs VALUES ('maintain', now() - interval '40 h', now(), true, '')")
    answer = hub.get("/api/v1/health/readiness")
    assert answer.status == 503 and "has not run since" in answer.json["jobs"]
    fleet.query("INSERT INTO job_runs VALUES ('maintain', now(), now(), false, 'a \"status\" : \"ok\"')")
    answer = hub.get("/api/v1/health/readiness")
    assert answer.status == 503 and "maintain() failed: a " in answer.json["jobs"]
    fleet.query("DELETE FROM job_runs")


def test_the_api_tells_what_it_is(hub):
    data = hub.get("/api/v1").json
    assert data["name"] == "observ" and data["version"] and data["links"]["servers"] == "/api/v1/servers"
    root = hub.get("/", headers={"Accept": "application/json", "Authorization": "Bearer t_viewer"}).json
    assert root["service"] == {"name": "observ", "version": data["version"], "api": "/api/v1"}
    assert root["servers"], "beside the fleet"


# ---- Prometheus -----------------------------------------------------------------------------------------

def test_prometheus_reads_the_samples(hub, fleet):
    seed_fleet.refresh(fleet)
    answer = hub.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'observ_agent_up{server="nyc-2",app="worker"} 0\n' in answer.text
    assert 'observ_agent_up{server="fra-1",app="shop"} 1\n' in answer.text
    cpu = re.search(r'^observ_cpu_percent\{server="fra-1",app="shop"\} ([\d.]+)$', answer.text, re.M)
    assert float(cpu[1]) == pytest.approx(fleet.one(
        "SELECT cpu_percent FROM vps_metrics WHERE vps_name = 'fra-1' AND app_name = 'shop' "
        "ORDER BY timestamp DESC LIMIT 1"))
    assert re.search(r'^observ_check_up\{server="ams-2",app="[^"]+",url="[^"]+"\} 0$', answer.text, re.M)
    assert "# EOF" not in answer.text
    opened = hub.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    assert opened.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert opened.text.endswith("# EOF\n")


def test_names_of_servers_are_escaped_for_prometheus(hub, fleet):
    fleet.query(r"""INSERT INTO agents (vps_name, app_name, epoch, first_seen_at, last_seen_at)
        VALUES ('a"b\c', 'x', 1, now(), now())""")
    text = hub.get("/metrics").text
    fleet.query(r"""DELETE FROM agents WHERE vps_name = 'a"b\c'""")
    assert r'observ_agent_up{server="a\"b\\c",app="x"} 1' in text


def test_promtool_finds_no_fault(hub):
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("promtool is not installed (package prometheus)")
    done = subprocess.run([promtool, "check", "metrics"], input=hub.get("/metrics").text, text=True,
                          capture_output=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_from_elsewhere_prometheus_shows_a_token(hub):
    away = {"X-Forwarded-For": "192.0.2.9"}
    assert hub.get("/metrics", headers=away).status == 401
    for where in (away, {}):
        assert hub.get("/metrics", headers={**where, "Authorization": "Bearer wrong"}).status == 401
    assert hub.get("/metrics", headers={**away, "Authorization": "Bearer t_viewer"}).status == 200
