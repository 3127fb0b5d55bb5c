"""Sign-in: sessions of programs and browsers, and what a request without one gets."""
import json

import pytest
from hub_server import Hub
from people import FORM, PASSWORD, Visitor, admin, bearer, fill, hub_role, login, token


@pytest.fixture(scope="module")
def people(cluster):
    database = cluster.new_database()
    fill(database)
    yield database
    database.drop()


@pytest.fixture(scope="module", params=["cgi", "fastcgi"])
def hub(request, people, tmp_path_factory):
    server = Hub(tmp_path_factory.mktemp("hub"), people.url("hub"), request.param, conf="").start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def no_limits_left(people):
    people.query("TRUNCATE limits")


def test_a_form_and_an_object_give_a_session(hub, people):
    for media, body in [(FORM, f"username=viewer%40example.com&password={PASSWORD.replace(' ', '+')}"),
                        ("application/json", json.dumps({"email": "Viewer@example.com",
                                                         "password": PASSWORD}))]:
        answer = hub.get("/api/v1/auth/login", "POST", {"Content-Type": media}, body)
        assert answer.status == 200 and answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.json["token_type"] == "bearer" and answer.json["expires_in"] == 7 * 86400
        me = hub.get("/api/v1/auth/me", headers=bearer(answer.json["access_token"])).json
        assert (me["email"], me["role"], me["is_superuser"]) == ("viewer@example.com", "viewer", False)
        assert [s["current"] for s in me["sessions"]].count(True) == 1
        kept = people.query("SELECT encode(token_hash, 'hex') FROM sessions")
        assert answer.json["access_token"] not in str(kept), "only a hash is kept"


def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(hub):
    wrong, unknown = login(hub, "viewer@example.com", "wrong"), login(hub, "nobody@example.com", "wrong")
    assert wrong.status == unknown.status == 400 and wrong.json == unknown.json
    assert wrong.json["error"] == "invalid_grant"
    assert sorted(wrong.headers.keys()) == sorted(unknown.headers.keys())


def test_a_session_that_ended_is_none(hub):
    session = token(hub, "viewer@example.com")
    assert hub.get("/api/v1/auth/logout", "POST", bearer(session)).status == 204
    answer = hub.get("/api/v1/auth/me", headers=bearer(session))
    assert answer.status == 401 and 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert answer.headers["Content-Type"] == "application/problem+json" and answer.json["status"] == 401
    assert hub.get("/api/v1/auth/logout", "POST", bearer(session)).status == 401


@pytest.mark.parametrize("path", ["/", "/logs", "/servers/x", "/help", "/api/v1/auth/me"])
def test_without_a_session_nothing_is_shown(hub, path):
    answer = hub.get(path)
    assert answer.status == 401 and answer.headers["WWW-Authenticate"] == 'Bearer realm="observ"'
    assert hub.get(path, headers=bearer("x" * 43)).status == 401
    assert hub.get(path, headers={"Cookie": "observ_session=" + "x" * 43}).status == 401
    if not path.startswith("/api"):
        shown = hub.get(path + "?q=a%20b", headers={"Accept": "text/html"})
        assert shown.status == 303
        assert shown.headers["Location"] == f"/sign-in?back={path}?q=a b".replace("/", "%2F").replace(
            "%2Fsign-in", "/sign-in").replace("?q=", "%3Fq%3D").replace(" ", "%2520")


def test_a_browser_signs_in_and_out(hub):
    browser = Visitor(hub)
    page = browser.get("/sign-in?back=%2Flogs")
    assert page.status == 200 and 'value="/logs"' in page.text and "create-user" not in page.text
    assert "is wrong" in browser.sign_in("viewer@example.com", "no").text and not browser.cookie
    answer = browser.sign_in("viewer@example.com", back="/logs")
    assert answer.status == 303 and answer.headers["Location"] == "/logs"
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("observ_session=") and "; HttpOnly" in cookie and "; SameSite=Lax" in cookie
    assert "; Path=/" in cookie and "; Secure" not in cookie
    assert browser.get("/logs").status == 200
    former, csrf, browser.csrf = browser.cookie, browser.csrf, "x" * 43
    assert browser.post("/sign-out").status == 403, "without the CSRF token"
    browser.csrf = csrf
    assert browser.post("/sign-out").headers["Location"] == "/sign-in"
    assert not browser.cookie
    browser.cookie = former
    assert browser.get("/logs").status == 303


def test_the_sign_in_page_says_how_to_make_the_first_admin(cluster, tmp_path):
    database = cluster.new_database()
    hub_role(database)
    hub = Hub(tmp_path, database.url("hub"), conf="").start()
    try:
        assert "fleet_hub_admin create-user you@example.com admin" in hub.get("/sign-in").text
        assert "create-user you@example.com" in admin(database, "users")
        admin(database, "create-user", "you@example.com", "admin")
        assert "fleet_hub_admin" not in hub.get("/sign-in").text
        assert token(hub, "you@example.com")
    finally:
        hub.stop()
        database.drop()


@pytest.mark.parametrize("method, path, headers, body, status, header", [
    ("GET", "/api/v1/auth/login", {}, None, 405, ("Allow", "POST")),
    ("DELETE", "/sign-in", {}, None, 405, ("Allow", "GET, HEAD, POST")),
    ("GET", "/api/v1/nothing", {}, None, 404, None),
    ("POST", "/api/v1/auth/login", {"Content-Type": "text/xml"}, "<a/>", 415, None),
    ("POST", "/api/v1/auth/login", {"Content-Type": "application/json"}, "x" * 9000, 413, None),
])
def test_refusals_are_problems(hub, method, path, headers, body, status, header):
    answer = hub.get(path, method, headers, body)
    assert answer.status == status
    if header:
        assert answer.headers[header[0]] == header[1]
    if path.startswith("/api"):
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json["status"] == status and answer.json["title"] and answer.json["detail"]


def test_a_trailing_slash_makes_no_difference(hub):
    session = bearer(token(hub, "viewer@example.com"))
    assert hub.get("/api/v1/auth/me/", headers=session).json["email"] == "viewer@example.com"
    assert hub.get("/logs/", headers=session).status == 200


def test_a_database_that_is_away_is_503(hub, tmp_path):
    lost = Hub(tmp_path, "host=/nonexistent dbname=x", conf="").start()
    try:
        answer = login(lost, "viewer@example.com")
        assert answer.status == 503 and int(answer.headers["Retry-After"]) > 0
    finally:
        lost.stop()


def test_tries_are_limited_and_the_answer_says_until_when(hub):
    answers = [login(hub, "viewer@example.com", f"wrong {i}") for i in range(12)]
    assert [a.status for a in answers[:10]] == [400] * 10
    last = answers[-1]
    assert last.status == 429 and 1 <= int(last.headers["Retry-After"]) <= 60
    assert last.headers["RateLimit-Limit"] == "10" and last.headers["RateLimit-Remaining"] == "0"
    assert login(hub, "viewer@example.com").status == 429, "even with the right one"
    shown = Visitor(hub).sign_in("viewer@example.com")
    assert shown.status == 429 and "Try again in" in shown.text and shown.headers["Retry-After"]


def test_searches_are_limited_by_user(hub, people):
    session = bearer(token(hub, "viewer@example.com"))
    answer = hub.get("/logs", headers=session)
    assert (answer.status, answer.headers["RateLimit-Limit"], answer.headers["RateLimit-Remaining"]) == (
        200, "600", "599")
    people.query("UPDATE limits SET free_at = now() + interval '1 min' WHERE kind = 'search'")
    answer = hub.get("/logs", headers=session, format="json")
    assert answer.status == 429 and int(answer.headers["Retry-After"]) >= 1
    assert hub.get("/logs", headers=bearer(token(hub, "operator@example.com"))).status == 200
    assert hub.get("/", headers=session).status == 200, "other pages are not searches"


def test_a_signed_in_page_costs_one_query_more(own_cluster, tmp_path):
    """By the server's own log of statements."""
    database = own_cluster.new_database()
    hub_role(database)
    admin(database, "create-user", "viewer@example.com", "viewer")
    hub = Hub(tmp_path, database.url("hub"), "fastcgi").start()
    try:
        session = bearer(token(hub, "viewer@example.com"))
        hub.get("/", headers=session)
        counted = []
        database.query("ALTER ROLE hub SET log_statement = 'all'")
        hub.stop()
        hub.start()
        for headers in ({}, session):
            assert hub.get("/", headers=headers).status == 200
            before = len(statements(own_cluster))
            assert hub.get("/", headers=headers).status == 200
            counted.append(len(statements(own_cluster)) - before)
        # The question who asks also tells the number of alerts, for which a stranger's page asks by itself.
        assert counted[0] > 2 and counted[1] == counted[0]
    finally:
        hub.stop()
        database.close()


def statements(cluster):
    text = (cluster.folder / "log").read_text(errors="replace")
    return [line for line in text.splitlines() if "statement: " in line or "execute <unnamed>: " in line]
