"""What holds for all addresses of the API: slashes, HEAD, lists, refusals, and requests of pages of other
sites. Through lighttpd, as CGI and as FastCGI."""
import json
import re

import pytest
import seed_alerts
import seed_fleet
from hub_server import Hub
from people import bearer, fill_with_tokens
from test_openapi import OPERATIONS, PROBLEM

SITE = "https://status.example.com"
PATHS = sorted({o.path for o in OPERATIONS})
# Lists, and how many items each has at least.
LISTS = {"/api/v1/servers": 5, "/v1/servers": 5, "/api/v1/agents": 5, "/api/v1/users": 3, "/api/v1/tokens": 3,
         "/api/v1/audit": 3, "/api/v1/bootstrap-tokens": 3, "/api/v1/deploys": 3,
         "/api/v1/searches": 3, "/api/v1/alerts/events": 3, "/v1/alerts": 3, "/api/v1/alerts/rules": 3,
         "/api/v1/alerts/silences": 2}


@pytest.fixture(scope="module")
def database(cluster):
    it = cluster.new_database()
    fill_with_tokens(it)
    seed_fleet.seed(it, lines=200)
    it.query("UPDATE limit_policy SET burst = 100000")
    seed_alerts.seed(it)
    it.query("INSERT INTO deploys (timestamp, vps_name, app_name, release) SELECT '2026-11-30 06:00Z', "
             "'fra-1', 'shop', 'r' || n FROM generate_series(1, 3) n")
    it.query("""INSERT INTO saved_searches (user_id, name, query) SELECT user_id, 's' || n, '{}' FROM users,
        generate_series(1, 3) n WHERE email = 'admin@example.com'""")
    yield it
    it.drop()


@pytest.fixture(scope="module", params=["cgi", "fastcgi"])
def hub(request, database, tmp_path_factory):
    server = Hub(tmp_path_factory.mktemp("hub"), database.url("hub"), request.param,
                 conf=f"cors_origins = https://other.example {SITE}\n").start()
    for _ in range(3):
        assert server.get("/api/v1/bootstrap-tokens", "POST", {**bearer("t_admin"),
                          "Content-Type": "application/json"}, "{}").status == 201
    yield server
    server.stop()


def ask(hub, path, method="GET", body=None, **headers):
    media = {"Content-Type": "application/json"} if body is not None else {}
    return hub.get(path.replace("{id}", "fra-1"), method, {**bearer("t_admin"), **media, **headers}, body)


def body_of(operation):
    return None if operation.method in ("GET", "DELETE") else "[]"


def test_a_slash_at_the_end_is_the_same_route_and_no_redirect(hub):
    for operation in OPERATIONS:
        if "logout" not in operation.path:
            path = operation.path.replace("{id}", "none")
            answers = [ask(hub, path + slash, operation.method, body_of(operation)).status
                       for slash in ("", "/")]
            assert answers[0] == answers[1] and not 300 <= answers[0] < 400, operation


def test_head_is_get_without_the_body(hub):
    for operation in OPERATIONS:
        if operation.method == "GET":
            whole, head = (ask(hub, operation.path, method) for method in ("GET", "HEAD"))
            assert (head.status, head.body) == (whole.status, b""), operation
            assert head.headers["Content-Type"] == whole.headers["Content-Type"], operation


def test_another_method_is_405_with_the_list_of_those_that_work(hub):
    for path in PATHS:
        taken = {o.method for o in OPERATIONS if o.path == path}
        taken |= {"HEAD"} if "GET" in taken else set()
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - taken:
            answer = ask(hub, path, method)
            assert answer.status == 405 and set(answer.headers["Allow"].split(", ")) == taken, (path, method)
            assert answer.headers["Content-Type"] == PROBLEM, (path, method)


def test_an_unknown_path_is_a_404_that_programs_read(hub):
    for path in ("/api/v1/none", "/api/v2", "/v1/none"):
        answer = ask(hub, path)
        assert answer.status == 404 and answer.headers["Content-Type"] == PROBLEM and answer.json["detail"]


@pytest.mark.parametrize("path", LISTS)
def test_a_list_is_read_by_its_links(hub, path):
    whole = ask(hub, path + "?limit=1000")
    assert set(whole.json) >= {"items", "next"} and whole.json["next"] is None and "Link" not in whole.headers
    items, link = [], path + "?limit=2"
    while link:
        answer = ask(hub, link)
        assert 1 <= len(answer.json["items"]) <= 2
        items += answer.json["items"]
        found = re.fullmatch(r'<(/[^>]*)>; rel="next"', answer.headers["Link"] or "")
        assert bool(found) == bool(answer.json["next"])
        link = found and found[1]

    def names(rows):
        return [[r.get(key) for key in ("name", "app", "email", "token_id", "id", "release",
                                           "alert_id", "silence_id")] for r in rows]
    assert names(items) == names(whole.json["items"]) and len(items) >= LISTS[path]
    for wrong in ("0", "1001", "x"):
        assert ask(hub, f"{path}?limit={wrong}").status == 400


def test_every_list_of_the_description_is_tried():
    limited = {o.path for o in OPERATIONS
               if any(p["name"] == "limit" for p in o.said.get("parameters", []))}
    assert limited == set(LISTS)


def test_the_root_names_the_hub_beside_the_fleet(hub):
    about = ask(hub, "/api/v1").json
    root = ask(hub, "/", Accept="application/json").json
    assert root["service"] == {"name": "observ", "version": about["version"], "api": "/api/v1"}
    assert about["name"] == "observ" and root["servers"]
    for link in about["links"].values():
        assert ask(hub, link).status == 200, link


# ---- pages of other sites -------------------------------------------------------------------------------

def test_a_site_that_hub_conf_names_may_ask(hub):
    for path in PATHS:
        taken = {o.method for o in OPERATIONS if o.path == path}
        before = hub.get(path, "OPTIONS", {"Origin": SITE, "Access-Control-Request-Method": min(taken),
                                           "Access-Control-Request-Headers": "authorization"})
        assert before.status == 204 and before.body == b"", path
        assert before.headers["Access-Control-Allow-Origin"] == SITE
        assert set(before.headers["Access-Control-Allow-Methods"].split(", ")) - {"HEAD"} == taken
        assert "Authorization" in before.headers["Access-Control-Allow-Headers"]
    for path, status in (("/api/v1/servers", 200), ("/api/v1/servers/none", 404), ("/api/v1/none", 404)):
        answer = ask(hub, path, Origin=SITE)
        assert answer.status == status and answer.headers["Access-Control-Allow-Origin"] == SITE
        assert "Origin" in answer.headers["Vary"]
        assert "Link" in answer.headers["Access-Control-Expose-Headers"]
    made = ask(hub, "/api/v1/bootstrap-tokens", "POST", json.dumps({}), Origin=SITE,
               **{"Sec-Fetch-Site": "cross-site"})
    assert made.status == 201


@pytest.mark.parametrize("origin", ["https://status.example.com.evil.example", "http://status.example.com",
                                    "https://status.example", "null", "*", "", SITE + "/", "https://EVIL"])
def test_no_other_site_may(hub, origin):
    for path in PATHS:
        answer = hub.get(path, "OPTIONS", {"Origin": origin, "Access-Control-Request-Method": "GET"})
        assert answer.status == 405 and "Access-Control-Allow-Origin" not in answer.headers
    assert "Access-Control-Allow-Origin" not in ask(hub, "/api/v1/servers", Origin=origin).headers


def test_pages_and_cookies_are_for_no_other_site(hub):
    for path in ("/", "/logs", "/account", "/sign-in"):
        answer = hub.get(path, headers={"Origin": SITE})
        assert not [name for name in answer.headers if name.startswith("Access-Control")], path
    assert "Access-Control-Allow-Credentials" not in ask(hub, "/api/v1/servers", Origin=SITE).headers
