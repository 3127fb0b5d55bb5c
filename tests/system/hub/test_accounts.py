"""Users, their sessions and tokens, and the audit log: by the API and by the pages."""
import html
import json
import re

import pytest
from hub_server import Hub
from people import PASSWORD, Visitor, admin, bearer, fill, login, token

JSON = {"Content-Type": "application/json"}
OTHER = "another long password"


@pytest.fixture
def people(cluster):
    database = cluster.new_database()
    fill(database)
    yield database
    database.drop()


@pytest.fixture
def hub(people, tmp_path):
    server = Hub(tmp_path, people.url("hub"), "fastcgi", conf="").start()
    yield server
    server.stop()


@pytest.fixture
def api(hub):
    """api(method, path, body=None, as_="admin@example.com") -> the answer."""
    sessions = {}

    def ask(method, path, body=None, as_="admin@example.com"):
        sessions[as_] = sessions.get(as_) or token(hub, as_)
        headers = bearer(sessions[as_])
        if body is None:
            return hub.get("/api/v1" + path, method, headers)
        return hub.get("/api/v1" + path, method, {**headers, **JSON}, json.dumps(body))
    ask.sessions = sessions
    return ask


def test_users_are_made_listed_changed_and_deleted(api, people, hub):
    made = api("POST", "/users", {"email": "New@Example.com", "role": "operator"})
    assert made.status == 201 and made.headers["RateLimit-Limit"] == "120"
    assert (made.json["email"], made.json["role"]) == ("new@example.com", "operator")
    assert re.fullmatch(r"([a-z2-9]{5}-){4}[a-z2-9]{5}", made.json["password"])
    assert made.json["password_until"] > made.json["created_at"] and "verifier" not in made.text
    session = token(hub, "new@example.com", made.json["password"])
    page = api("GET", "/users?limit=2")
    assert [u["email"] for u in page.json["items"]] == ["admin@example.com", "new@example.com"]
    assert page.json["next"] == "new@example.com"
    assert page.headers["Link"] == '</api/v1/users?limit=2&after=new%40example.com>; rel="next"'
    rest = api("GET", re.match("</api/v1(.*)>", page.headers["Link"])[1])
    assert [u["email"] for u in rest.json["items"]] == ["operator@example.com", "viewer@example.com"]
    assert rest.json["next"] is None and not rest.headers["Link"]
    path = f"/users/{made.json['user_id']}"
    assert len(api("GET", path).json["sessions"]) == 1
    changed = api("PATCH", path, {"role": "viewer"})
    assert changed.status == 200 and changed.json["role"] == "viewer"
    assert hub.get("/help", headers=bearer(session)).status == 401, "the session had other rights"
    changed = api("PATCH", path, {"password": OTHER})
    assert changed.status == 200 and "password" not in changed.json and OTHER not in changed.text
    session = token(hub, "new@example.com", OTHER)
    assert api("DELETE", path).status == 204 and api("DELETE", path).status == 404
    assert api("GET", "/users/new@example.com").status == api("PATCH", path, {"role": "admin"}).status == 404
    assert hub.get("/help", headers=bearer(session)).status == 401
    assert login(hub, "new@example.com", OTHER).status == 400
    assert people.count("sessions", "user_id = %s", made.json["user_id"]) == 0


@pytest.mark.parametrize("path, body, fields", [
    ("/users", {}, ["email"]),
    ("/users", {"email": "a b", "role": "king"}, ["email", "role"]),
    ("/users", {"email": "viewer@example.com"}, ["email"]),
    ("/users", {"email": "x" * 255}, ["email"]),
    ("/users", {"email": "a@example.com", "is_superuser": True}, ["is_superuser"]),
    ("/users", {"email": "a@example.com", "password": "short"}, ["password"]),
    ("/users", {"email": "a@example.com", "password": "Password1"}, ["password"]),
    ("/users", {"email": "a@example.com", "password": "a@example.com"}, ["password"]),
    ("/tokens", {"name": "", "role": "king", "expires_in_days": 0}, ["name", "role", "expires_in_days"]),
    ("/tokens", {"name": "x", "expires_in_days": "many"}, ["expires_in_days"]),
    ("/tokens", {"name": {"a": 1}, "token_hash": "x"}, ["token_hash", "name"]),
])
def test_a_body_that_does_not_fit_names_each_field(api, people, path, body, fields):
    before = people.count("users"), people.count("api_tokens")
    answer = api("POST", path, body)
    assert answer.status == 422, answer.text
    assert [error["field"] for error in answer.json["errors"]] == fields
    assert all(error["message"] for error in answer.json["errors"])
    assert (people.count("users"), people.count("api_tokens")) == before


def test_the_last_admin_stays(api):
    for answer in (api("PATCH", "/users/admin@example.com", {"role": "viewer"}),
                   api("PATCH", "/users/admin@example.com", {"disabled": True}),
                   api("DELETE", "/users/admin@example.com")):
        assert answer.status == 422 and "last admin" in answer.json["detail"]
    api("PATCH", "/users/operator@example.com", {"role": "admin"})
    assert api("PATCH", "/users/admin@example.com", {"role": "viewer"}).status == 200


def test_a_user_who_is_disabled_is_out_with_all_tokens(api, hub):
    session, = [token(hub, "operator@example.com")]
    made = hub.get("/account/tokens?format=json", "POST",
                   {**bearer(session), "Content-Type": "application/x-www-form-urlencoded"}, "name=robot")
    assert made.status == 200, made.text
    robot = bearer(made.json["token"])
    assert hub.get("/help", headers=robot).status == 200
    assert api("PATCH", "/users/operator@example.com", {"disabled": True}).json["disabled"]
    assert hub.get("/help", headers=robot).status == hub.get("/help", headers=bearer(session)).status == 401
    assert login(hub, "operator@example.com").status == 400
    api("PATCH", "/users/operator@example.com", {"disabled": False})
    assert hub.get("/help", headers=robot).status == 200 and login(hub, "operator@example.com").status == 200


def test_a_token_has_a_role_an_end_and_a_last_use(api, hub, people):
    made = api("POST", "/tokens", {"name": "ci", "role": "viewer", "expires_in_days": 30})
    assert made.status == 201 and made.json["token"].startswith("obs_t_") and made.json["role"] == "viewer"
    kept = people.query("SELECT * FROM api_tokens")
    assert made.json["token"] not in str(kept)
    ci = bearer(made.json["token"])
    assert hub.get("/help", headers=ci).status == 200
    assert hub.get("/api/v1/users", headers=ci).status == 403, "less than its user"
    listed, = api("GET", "/tokens").json["items"]
    assert listed["last_used_from"] == "127.0.0.1" and listed["last_used_at"] and "token" not in listed
    people.query("UPDATE api_tokens SET expires_at = now() - interval '1 s'")
    assert hub.get("/help", headers=ci).status == 401
    path = f"/tokens/{made.json['token_id']}"
    assert api("DELETE", path).status == 204 and api("DELETE", path).status == 404


def test_a_token_never_has_more_than_its_user(api, hub):
    made = api("POST", "/tokens", {"name": "all", "role": "admin"})
    api("PATCH", "/users/operator@example.com", {"role": "admin"})
    api("PATCH", "/users/admin@example.com", {"role": "viewer"}, as_="operator@example.com")
    headers = bearer(made.json["token"])
    assert hub.get("/help", headers=headers).status == 200
    assert hub.get("/api/v1/users", headers=headers).status == 403
    visitor = Visitor(hub)
    visitor.sign_in("viewer@example.com")
    visitor.get("/account")
    assert visitor.post("/account/tokens", name="more", role="operator", expires_in_days=1).status == 422


def test_sessions_end_by_time(hub, people):
    session = bearer(token(hub, "viewer@example.com"))
    people.query("UPDATE sessions SET last_seen_at = now() - interval '2 min'")
    assert hub.get("/help", headers=session).status == 200
    people.wait("SELECT last_seen_at > now() - interval '1 min' FROM sessions")
    people.query("UPDATE sessions SET last_seen_at = now() - interval '12 h'")
    assert hub.get("/help", headers=session).status == 401, "idle"
    people.query("UPDATE sessions SET last_seen_at = now(), expires_at = now()")
    assert hub.get("/help", headers=session).status == 401, "absolute"
    people.query("SELECT maintain()")
    assert people.count("sessions") == 0


def test_the_account_page_lists_sessions_and_ends_them(hub, people):
    here, there = Visitor(hub, **{"User-Agent": "Here/1 <b>"}), Visitor(hub, **{"User-Agent": "There/1"})
    stranger = Visitor(hub)
    for visitor in (here, there):
        visitor.sign_in("viewer@example.com")
    page = here.get("/account").text
    assert "Here/1 &lt;b&gt;" in page and "There/1" in page and page.count("this one") == 1
    ends = {re.search(r">([^<]+/1)[^<]*<", row)[1]: re.search(r'action="([^"]+)"', row)[1]
            for row in page.split("<tr>")[2:4]}
    stranger.sign_in("operator@example.com")
    stranger.get("/account")
    assert stranger.post(ends["There/1"]).status == 404, "another's session"
    assert here.post(ends["There/1"], back="/account").status == 303
    assert there.get("/account").status == 303 and "There/1" not in here.get("/account").text


def test_a_password_is_changed_with_the_current_one(hub, people):
    browser, other = Visitor(hub), Visitor(hub)
    for visitor in (browser, other):
        visitor.sign_in("viewer@example.com")
    browser.get("/account")
    former = browser.cookie
    assert browser.post("/account/password", current="wrong", password=OTHER).status == 403
    assert "most common" in browser.post("/account/password", current=PASSWORD, password="password1").text
    changed = browser.post("/account/password", current=PASSWORD, password=OTHER)
    assert changed.status == 303 and browser.cookie != former, "rotated"
    assert "all other sessions have ended" in browser.get(changed.headers["Location"]).text
    assert other.get("/account").status == 303
    assert hub.get("/account", headers={"Cookie": former}).status == 401
    assert login(hub, "viewer@example.com").status == 400
    assert login(hub, "viewer@example.com", OTHER).status == 200
    for _ in range(40):
        answer = browser.post("/account/password", current="wrong", password=OTHER)
    assert answer.status == 429, "a stolen session can't try all passwords"


def test_admins_work_with_pages_alone(hub, people):
    browser = Visitor(hub)
    browser.sign_in("admin@example.com")
    assert "viewer@example.com" in browser.get("/users").text
    made = browser.post("/users", email="new@example.com", role="operator")
    password = re.search("<pre>([^<]+)</pre>", made.text)[1]
    assert made.status == 201 and token(hub, "new@example.com", password)
    page = signed_in(hub, "new@example.com", password).get("/account").text
    assert "This password was made for you" in page
    user = people.one("SELECT user_id FROM users WHERE email = 'new@example.com'")
    assert "new@example.com" in browser.get(f"/users/{user}").text
    assert browser.post(f"/users/{user}/change", role="viewer", back=f"/users/{user}").headers[
        "Location"] == f"/users/{user}"
    assert people.one("SELECT role FROM users WHERE user_id = %s", user) == "viewer"
    reset = re.search("<pre>([^<]+)</pre>", browser.post(f"/users/{user}/reset").text)[1]
    assert login(hub, "new@example.com", password).status == 400 and token(hub, "new@example.com", reset)
    assert browser.post(f"/users/{user}/change", disabled="true").status == 303
    assert "disabled" in browser.get("/users").text
    assert browser.post(f"/users/{user}/delete").status == 303 and people.count("users") == 3
    wrong = browser.post("/users", email="a b", role="king")
    assert wrong.status == 422 and "<strong>email</strong>" in wrong.text and "Users" in wrong.text
    browser.get("/account")
    shown = browser.post("/account/tokens", name="robot", role="admin", expires_in_days=7)
    robot = re.search("<pre>(obs_t_[^<]+)</pre>", shown.text)[1]
    assert hub.get("/api/v1/users", headers=bearer(robot)).status == 200
    assert "robot" in browser.get("/account").text and robot not in browser.get("/account").text


def signed_in(hub, email, password):
    visitor = Visitor(hub)
    visitor.sign_in(email, password)
    return visitor


def test_the_audit_log_has_each_write_and_each_try(hub, people, api):
    login(hub, "viewer@example.com", "wrong")
    login(hub, "my secret password", "x")
    made = api("POST", "/users", {"email": "new@example.com"}).json
    api("PATCH", "/users/new@example.com", {"role": "operator"})
    api("POST", "/tokens", {"name": "ci"})
    api("DELETE", "/users/new@example.com")
    rows = api("GET", "/audit?limit=1000").json["items"]
    assert [(r["actor"], r["action"], r["object"]) for r in rows[:-3]][::-1] == [
        ("", "sign-in refused", "viewer@example.com"), ("", "sign-in refused", "(unknown name)"),
        ("admin@example.com", "sign-in", "admin@example.com"),
        ("admin@example.com", "user created", "new@example.com"),
        ("admin@example.com", "user changed", "new@example.com"),
        ("admin@example.com", "token created", "ci"),
        ("admin@example.com", "user deleted", "new@example.com")]
    assert rows[-1]["actor"] == "shell: observ_admin" and rows[-1]["how"] == "shell"
    assert {r["address"] for r in rows[:-3]} == {"127.0.0.1"} and rows[2]["detail"] == {"role": "operator"}
    assert "secret password" not in str(rows) and made["password"] not in str(rows)
    page = api("GET", "/audit?limit=2&q=deleted").json
    assert [r["action"] for r in page["items"]] == ["user deleted"]
    newest = api("GET", "/audit?limit=2")
    assert newest.json["next"] == str(rows[1]["id"])
    older = api("GET", re.match("</api/v1(.*)>", newest.headers["Link"])[1]).json["items"]
    assert [r["id"] for r in older] == [r["id"] for r in rows[2:4]]
    browser = signed_in(hub, "admin@example.com", PASSWORD)
    assert "user deleted" in html.unescape(browser.get("/audit").text)
    assert signed_in(hub, "operator@example.com", PASSWORD).get("/audit").status == 403


def test_a_stored_password_gets_the_cost_of_the_configuration(people, tmp_path):
    salt = people.one("SELECT salt FROM users WHERE email = 'viewer@example.com'")
    hub = Hub(tmp_path, people.url("hub"), conf="password_memory_mib = 9\npassword_passes = 3\n").start()
    try:
        assert login(hub, "viewer@example.com", "wrong").status == 400
        cost = "SELECT memory_mib, passes FROM users WHERE email = 'viewer@example.com'"
        assert people.query(cost) == [(19, 2)]
        token(hub, "viewer@example.com")
        assert people.query(cost) == [(9, 3)]
        assert people.one("SELECT salt FROM users WHERE email = 'viewer@example.com'") != salt
        token(hub, "viewer@example.com")
    finally:
        hub.stop()


def test_a_generated_password_ends(hub, people):
    said = admin(people, "reset-user", "viewer@example.com", password=None)
    password = re.search(r"^  ([a-z2-9-]{29})$", said, re.M)[1]
    assert "good for 7 days" in said and token(hub, "viewer@example.com", password)
    people.query("UPDATE users SET password_until = now()")
    assert login(hub, "viewer@example.com", password).status == 400


def test_the_shell_manages_users(people, hub):
    assert "may sign in, as operator" in admin(people, "change-user", "viewer@example.com", "operator")
    session = token(hub, "viewer@example.com")
    assert "can't sign in any more" in admin(people, "disable-user", "viewer@example.com")
    assert hub.get("/help", headers=bearer(session)).status == 401
    assert re.search("viewer@example.com +operator +signed in 20.*DISABLED", admin(people, "users"))
    admin(people, "enable-user", "viewer@example.com")
    admin(people, "reset-user", "viewer@example.com", password=OTHER)
    assert token(hub, "viewer@example.com", OTHER)
    admin(people, "disable-user", "admin@example.com")
    assert "was deleted" in admin(people, "delete-user", "admin@example.com")
