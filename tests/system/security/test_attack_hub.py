"""Attacks on the hub over HTTP: what a stranger, a page of another site and a user with few rights can do."""
import concurrent.futures
import contextlib
import http.client
import itertools
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote, urlencode

import jsonschema
import psycopg2
import pytest
from harness import wait_for

sys.path.insert(0, str(Path(__file__).parents[1] / "hub"))
from hub_server import FLEET_HUB, Answer, Hub, HubBehindNginx  # noqa: E402
from openapi_requests import API, NEVER, OPERATIONS, Requests, seed_alerts  # noqa: E402
from people import FORM, PASSWORD, ROLES, Visitor, admin, bearer, fill, login, token  # noqa: E402
from people import fill_with_tokens  # noqa: E402
from test_routes import ENDS_THE_SESSION, LIST, rows  # noqa: E402

NASTY = {
    "sql": "x' OR 1=1; DROP TABLE users; --",
    "html": "<script>alert(1)</script>",
    "attribute": "\" onmouseover=\"alert(1)",
    "csv": "=HYPERLINK(\"http://evil.example\")",
    "header": "x\r\nSet-Cookie: evil=1\r\n\r\n<script>alert(1)</script>",
    "nul": "\0", "bytes": b"\xff\xfe", "long": "A" * 3000, "format": "%s%n%x", "path": "../../etc/passwd",
    "template": "{{page.csrf}}", "number": "1e309", "negative": "-99999999999999999999",
}


@pytest.fixture(scope="module")
def people(cluster):
    database = cluster.new_database()
    fill(database)
    yield database
    database.drop()


@pytest.fixture(scope="module")
def hub(people, tmp_path_factory):
    server = Hub(tmp_path_factory.mktemp("hub"), people.url("hub"), "fastcgi", conf="").start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def behind_nginx(people, tmp_path_factory):
    server = HubBehindNginx(tmp_path_factory.mktemp("nginx"), people.url("hub")).start()
    yield server
    server.stop()


@pytest.fixture(params=["lighttpd", "nginx"])
def either(request):
    return request.getfixturevalue("hub" if request.param == "lighttpd" else "behind_nginx")


@pytest.fixture(autouse=True)
def no_limits_left(people):
    people.query("TRUNCATE limits")


def browser(hub, role="admin"):
    visitor = Visitor(hub)
    assert visitor.sign_in(f"{role}@example.com").status == 303
    visitor.get("/account")
    return visitor


# ---- writes that another site makes the browser send ------------------------------------------------

@pytest.mark.parametrize("headers", [
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://127.0.0.1.evil.example"},
])
def test_csrf_a_page_of_another_site_writes_nothing(hub, people, headers):
    victim = browser(hub)
    for path, fields in [("/users", {"email": "evil@example.com", "role": "admin"}),
                         ("/account/tokens", {"name": "evil"}), ("/sign-out", {})]:
        assert victim.post(path, headers, **fields).status == 403, "even with the right token"
    assert people.count("users") == 3 and people.count("api_tokens") == 0
    assert victim.get("/account").status == 200
    stranger = Visitor(hub)
    answer = stranger.post("/sign-in", headers, username="viewer@example.com", password=PASSWORD)
    assert answer.status == 403 and not stranger.cookie, "nor does it sign anybody in"


def test_csrf_the_token_is_that_of_the_session(hub, people):
    victim, attacker = browser(hub), browser(hub, "viewer")
    for csrf in ("", "x", attacker.csrf, victim.csrf[:-1], victim.csrf + "x", victim.cookie.split("=")[1]):
        answer = victim.ask("/users", "POST", urlencode({"csrf": csrf, "email": "evil@example.com"}),
                            **{"Content-Type": FORM, "Origin": f"http://127.0.0.1:{hub.port}"})
        assert answer.status == 403, csrf
    assert victim.ask(f"/users?csrf={victim.csrf}", "POST", "email=evil%40example.com",
                      **{"Content-Type": FORM}).status == 403, "not from the address"
    assert victim.ask("/api/v1/users", "POST", json.dumps({"email": "evil@example.com"}),
                      **{"Content-Type": "application/json"}).status == 403, "JSON by cookie needs it, too"
    assert people.count("users") == 3
    made = victim.ask("/api/v1/users", "POST", json.dumps({"email": "good@example.com"}),
                      **{"Content-Type": "application/json", "X-CSRF-Token": victim.csrf})
    assert made.status == 201
    people.query("DELETE FROM users WHERE email = 'good@example.com'")


def test_csrf_each_form_wants_the_token_and_the_origin(hub, people):
    """Of the route table: none is left out."""
    victim = browser(hub)
    forms = [path for role, path, methods in rows() if "POST" in methods and role in ROLES
             and not path.startswith(("/api/", "/v1/"))]
    assert len(forms) > 30 and "/channels/*/test" in forms and "/alert-rules/import" in forms
    written = "SELECT count(*), max(id) FROM audit_log"
    before = people.query(written)
    for path in forms:
        path = path.replace("*", NEVER)
        for csrf, origin in (("", None), ("x" * 43, None), (victim.csrf, "https://evil.example")):
            answer = victim.ask(path, "POST", urlencode({"csrf": csrf, "name": "evil"}),
                                **{"Content-Type": FORM, **({"Origin": origin} if origin else {})})
            assert answer.status == 403, (path, csrf, origin)
    assert people.query(written) == before


def test_nothing_is_written_by_get(hub, people):
    victim = browser(hub)
    written = """SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM api_tokens), count(*)
        FROM audit_log"""
    before = people.query(written)
    for path in {path for _, path, _ in rows()}:
        victim.get(path.replace("*", "x") + f"?csrf={victim.csrf}&email=evil%40example.com&name=x")
    assert people.query(written) == before and victim.get("/account").status == 200


def test_a_page_shows_a_viewer_no_more_than_the_routes_of_his_role(hub, people):
    """/servers has a part for operators: its data stay away, and not only its HTML."""
    people.query("SELECT make_token()")
    seen = {role: hub.get("/servers?format=json", headers=bearer(token(hub, f"{role}@example.com"))).json
            for role in ROLES}
    assert "obs_token_" not in str(seen["viewer"]), "that route, /api/v1/bootstrap-tokens, is for operators"
    assert seen["operator"]["tokens"] and seen["admin"]["tokens"]
    assert hub.get("/servers", headers=bearer(token(hub, "viewer@example.com"))).status == 200


def test_a_server_with_a_hostile_name_is_managed_without_harm_to_others(hub, people):
    """The form of "web/retire" must not retire "web", though %2F and / are one to web servers."""
    page = browser(hub)
    for name in ("web", "web/retire", "web/token"):
        assert page.post("/servers", name=name).status == 201
    before = people.query("SELECT token_hash, valid_until FROM server_tokens WHERE vps_name = 'web'")
    for name in ("web/retire", "web/token"):
        form = page.get("/manage/" + people.one("SELECT server_id(%s)::text", name))
        assert form.status == 200
        actions = re.findall('action="(/manage/[^"]*)"', form.text)
        assert len(actions) == 3
        for action in actions:
            assert page.post(action, environment="prod").status in (201, 303)
    assert people.one("SELECT labels->>'environment' FROM servers WHERE vps_name = 'web/token'") == "prod"
    assert people.one("SELECT retired_at FROM servers WHERE vps_name = 'web/token'")
    assert people.one("SELECT retired_at FROM servers WHERE vps_name = 'web'") is None
    assert people.query("SELECT token_hash, valid_until FROM server_tokens WHERE vps_name = 'web'") == before
    assert 'href="/manage/web' not in page.get("/servers").text
    people.query("DELETE FROM servers")
    people.query("DELETE FROM server_tokens")


# ---- sessions --------------------------------------------------------------------------------------------

def test_fixation_a_session_that_the_attacker_knows_is_not_taken_over(hub, people):
    attacker = browser(hub, "viewer")
    victim = Visitor(hub)
    victim.cookie = planted = attacker.cookie
    assert victim.sign_in("admin@example.com").status == 303
    assert victim.cookie != planted, "a new one"
    assert "viewer@example.com" in attacker.get("/account").text, "the planted one is the attacker's still"
    again, former = browser(hub), None
    former = again.cookie
    assert again.sign_in("admin@example.com").status == 303 and again.cookie != former
    again.cookie = former
    assert again.get("/account").status == 303, "and the session before has ended"
    victim.cookie = "observ_session=chosen-by-the-attacker"
    assert victim.sign_in("admin@example.com").status == 303 and "chosen" not in victim.cookie


def cgi(people, tmp_path, path="/", method="GET", body="", conf="", **environment):
    """One request, as a web server would pass it on."""
    (tmp_path / "hub.conf").write_text(conf)
    variables = {"REQUEST_METHOD": method, "REQUEST_URI": path, "QUERY_STRING": path.partition("?")[2],
                 "SERVER_ADDR": "192.0.2.1", "REMOTE_ADDR": "198.51.100.7", "HTTP_HOST": "hub.example.com",
                 "OBSERV_DATABASE_URL": people.url("hub"), "OBSERV_HUB_CONFIG": str(tmp_path / "hub.conf"),
                 "PATH": os.environ["PATH"], **({"CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": FORM}
                                                if body else {}), **environment}
    done = subprocess.run([FLEET_HUB], env=variables, input=body, capture_output=True, text=True, timeout=60)
    head, _, text = done.stdout.partition("\n\n")
    return int(head.split()[1]), head, text


SIGN_IN = urlencode({"username": "viewer@example.com", "password": PASSWORD})


def test_over_tls_the_cookie_is_for_this_host_and_tls_alone(people, tmp_path):
    status, head, _ = cgi(people, tmp_path, "/sign-in", "POST", SIGN_IN, HTTPS="on")
    assert status == 303 and "Strict-Transport-Security: max-age=31536000" in head
    cookie = re.search("Set-Cookie: (.*)", head)[1]
    assert re.fullmatch(r"__Host-observ=obs_s_[\w-]{43}; Path=/; HttpOnly; SameSite=Lax; Secure",
                        cookie.strip())
    value = cookie.split(";")[0]
    assert cgi(people, tmp_path, HTTPS="on", HTTP_COOKIE=value)[0] == 200
    assert cgi(people, tmp_path, HTTP_COOKIE=value)[0] == 401, "not over plain HTTP"
    other = value.replace("__Host-observ", "observ_session")
    assert cgi(people, tmp_path, HTTPS="on", HTTP_COOKIE=other)[0] == 401
    assert cgi(people, tmp_path, HTTPS="on")[0] == 401
    assert "Strict-Transport" not in cgi(people, tmp_path)[1]


def test_passwords_do_not_travel_in_clear(people, tmp_path):
    status, _, text = cgi(people, tmp_path, "/sign-in", "POST", SIGN_IN)
    assert status == 403 and "do not travel over plain HTTP" in text
    assert cgi(people, tmp_path, "/api/v1/auth/login", "POST", SIGN_IN)[0] == 403
    assert cgi(people, tmp_path, "/sign-in", "POST", SIGN_IN, "plain_http = allow")[0] == 303
    assert cgi(people, tmp_path, "/sign-in", "POST", SIGN_IN, HTTP_X_FORWARDED_PROTO="https")[0] == 403
    assert cgi(people, tmp_path, "/sign-in", "POST", SIGN_IN, "trusted_proxies = 198.51.100.7",
               HTTP_X_FORWARDED_PROTO="https")[0] == 303


def test_a_forwarded_address_is_believed_from_named_proxies_only(people, tmp_path):
    people.query("TRUNCATE audit_log")
    wrong = urlencode({"username": "viewer@example.com", "password": "wrong"})
    proxy = "trusted_proxies = 198.51.100.7"
    for conf, forwarded in [("", "203.0.113.1"), (proxy, "203.0.113.2, 203.0.113.3"),
                            (proxy + " 203.0.113.5", "203.0.113.4, 203.0.113.5"),
                            (proxy, "x'; DROP TABLE users; --"), (proxy, "203.0.113.6:4711"),
                            (proxy, "[2001:db8::7]:4711"), (proxy, "::ffff:203.0.113.8"),
                            (proxy + " 203.0.113.5", "203.0.113.9,\t::ffff:203.0.113.5")]:
        cgi(people, tmp_path, "/sign-in", "POST", wrong, "plain_http = allow\n" + conf,
            HTTP_X_FORWARDED_FOR=forwarded)
    assert [a for a, in people.query("SELECT address FROM audit_log ORDER BY id")] == [
        "198.51.100.7", "203.0.113.3", "203.0.113.4", "198.51.100.7", "203.0.113.6", "2001:db8::7",
        "203.0.113.8", "203.0.113.9"]
    people.query("TRUNCATE audit_log")
    cgi(people, tmp_path, "/sign-in", "POST", wrong, f"plain_http = allow\n{proxy}",
        REMOTE_ADDR="::ffff:198.51.100.7", HTTP_X_FORWARDED_FOR="203.0.113.1")
    assert people.one("SELECT address FROM audit_log") == "203.0.113.1", "a proxy is known in both forms"


LOOPBACK = {"SERVER_ADDR": "127.0.0.1", "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "127.0.0.1:8080"}


@pytest.mark.parametrize("header", [
    "X_FORWARDED_FOR", "X_FORWARDED_PROTO", "X_FORWARDED_HOST", "FORWARDED", "VIA", "X_REAL_IP",
    "X_CLIENT_IP", "X_ORIGINAL_FORWARDED_FOR", "TRUE_CLIENT_IP", "CF_CONNECTING_IP"])
def test_what_a_proxy_on_this_machine_hands_on_is_not_of_this_machine(people, tmp_path, header):
    anonymous = "anonymous = viewer\n"
    assert cgi(people, tmp_path, conf=anonymous, **LOOPBACK)[0] == 200
    for path in ("/", "/metrics"):
        assert cgi(people, tmp_path, path, conf=anonymous,
                   **{**LOOPBACK, f"HTTP_{header}": "x"})[0] in (401, 403), path


@pytest.mark.parametrize("peer", ["127.0.0.1", "::ffff:127.0.0.1", "unix:"])
def test_a_proxy_that_hub_conf_names_never_counts_as_this_machine(people, tmp_path, peer):
    """Though it may hide for whom it asks."""
    conf = f"anonymous = viewer\ntrusted_proxies = {peer.removeprefix('::ffff:')}\n"
    ends = {**LOOPBACK, "REMOTE_ADDR": peer, "SERVER_ADDR": "unix:/run/x" if peer == "unix:" else "127.0.0.1"}
    assert cgi(people, tmp_path, conf="anonymous = viewer\n", **ends)[0] == 200
    assert cgi(people, tmp_path, conf=conf, **ends)[0] == 403
    assert cgi(people, tmp_path, "/metrics", conf=conf, **ends)[0] == 401
    assert cgi(people, tmp_path, "/sign-in", "POST", SIGN_IN, conf=conf, **ends)[0] == 403


def test_a_password_that_is_being_replaced_opens_no_session_that_stays(hub, people):
    admin(people, "create-user", "late@example.com", "viewer")
    secret = people.one("""SELECT json_build_object('salt', repeat('ab', 16), 'passes', 2, 'memory_mib', 19,
        'verifier', repeat('cd', 32))::text""")
    connection = people.connect()
    try:
        connection.autocommit = False
        connection.cursor().execute("SELECT change_user('shell', 'late@example.com', '{}', %s)", (secret,))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            late = pool.submit(login, hub, "late@example.com")
            people.wait("SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            connection.commit()
            assert late.result().status == 400, "the former password, which was right when the try began"
    finally:
        connection.close()
    assert people.count("sessions", "user_id = (SELECT user_id FROM users WHERE email = %s)",
                        "late@example.com") == 0
    admin(people, "delete-user", "late@example.com", password=None)


def test_of_two_forwarding_headers_the_one_of_the_proxy_counts(behind_nginx, people):
    """The client sends one, and the proxy in front adds another behind it, as HAProxy does."""
    people.query("TRUNCATE audit_log")
    body = urlencode({"username": "viewer@example.com", "password": "wrong"}).encode()
    with socket.create_connection(("127.0.0.1", behind_nginx.port), timeout=30) as s:
        s.sendall(b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: "
                  + FORM.encode() + b"\r\nX-Forwarded-For: 203.0.113.66\r\nX-Forwarded-For: 203.0.113.1\r\n"
                  b"Content-Length: %d\r\n\r\n" % len(body) + body)
        while s.recv(65536):
            pass
    assert people.one("SELECT address FROM audit_log") == "203.0.113.1"


# ---- guessing ------------------------------------------------------------------------------------------

def from_address(hub, address, email, password):
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=60, source_address=(address, 0))
    try:
        connection.request("POST", "/api/v1/auth/login", urlencode({"username": email, "password": password}),
                           {"Content-Type": FORM})
        return Answer(connection.getresponse()).status
    finally:
        connection.close()


def test_brute_force_of_one_address_leaves_the_owner_alone(hub, people):
    statuses = [from_address(hub, "127.0.0.9", "viewer@example.com", f"guess {i}") for i in range(1000)]
    assert statuses[:10] == [400] * 10 and set(statuses[11:]) == {429}
    assert from_address(hub, "127.0.0.10", "viewer@example.com", PASSWORD) == 200


def test_brute_force_of_many_addresses_leaves_the_owner_alone(hub, people):
    assert from_address(hub, "127.0.2.1", "operator@example.com", PASSWORD) == 200
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda i: from_address(hub, f"127.0.3.{1 + i}",
                                                        "operator@example.com", f"guess {i}"), range(200)))
    assert statuses.count(400) <= 40 and set(statuses) == {400, 429}
    assert from_address(hub, "127.0.9.9", "viewer@example.com", PASSWORD) == 200, "others sign in as before"
    assert from_address(hub, "127.0.2.1", "operator@example.com", PASSWORD) == 200, "so does he, from home"


@pytest.mark.alone
def test_timing_tells_nobody_which_names_exist(hub, people):
    people.query("UPDATE limit_policy SET burst = 100000 WHERE kind LIKE 'sign-in%'")
    took = {"viewer@example.com": [], "nobody@example.com": []}
    try:
        for _ in range(40):
            for email, times in took.items():
                start = time.perf_counter()
                assert login(hub, email, "wrong").status == 400
                times.append(time.perf_counter() - start)
    finally:
        people.query("UPDATE limit_policy SET burst = 10 WHERE kind = 'sign-in by address'")
        people.query("UPDATE limit_policy SET burst = 30 WHERE kind = 'sign-in by account'")
    known, unknown = (statistics.median(times) for times in took.values())
    noise = statistics.median(abs(t - known) for t in took["viewer@example.com"])
    assert abs(known - unknown) < max(3 * noise, 0.002), f"{known * 1000:.1f} and {unknown * 1000:.1f} ms"


# ---- hostile requests --------------------------------------------------------------------------------------

def test_fault_42_injection_in_every_parameter_of_every_route(hub, people):
    session = bearer(token(hub, "admin@example.com"))
    before = people.query("SELECT email, role FROM users ORDER BY 1")
    listed = [line.split() for line in LIST.read_text().splitlines() if line[0] != "#"]
    tried = 0
    for _, method, path, *names in listed:
        if path in ENDS_THE_SESSION:
            continue
        for name in [*(n for n in names if n != "name"), *(["*"] if "*" in path else []), "format", "odd"]:
            for value in NASTY.values():
                where = path.replace("*", quote(value if name == "*" else "x", safe=""))
                query = f"?{name}={quote(value)}" if name != "*" else ""
                body = None if method == "GET" else "{}"
                answer = hub.get(where + query, method, {**session, "Content-Type": "application/json"}, body)
                tried += 1
                assert answer.status < 500, (method, where, query, answer.text[:300])
                assert not answer.headers["Set-Cookie"] or "evil" not in answer.headers["Set-Cookie"]
                shown = answer.headers["Content-Type"] or ""
                if shown.startswith("text/html"):
                    assert "<script>alert" not in answer.text and " onmouseover=\"alert" not in answer.text
    assert tried > 1000
    assert people.query("SELECT email, role FROM users ORDER BY 1") == before


@pytest.fixture(scope="module")
def full(cluster, tmp_path_factory):
    """A hub with some of everything that the API makes, an API token for each role, and no limits."""
    database = cluster.new_database()
    fill_with_tokens(database)
    seed_alerts(database)
    database.query("UPDATE limit_policy SET burst = 100000")
    server = Hub(tmp_path_factory.mktemp("hub"), database.url("hub"), "fastcgi", conf="").start()
    server.database, server.good = database, Requests(server)
    yield server
    server.stop()
    database.drop()


@pytest.fixture(scope="module")
def bodies(full):
    """A good request of each operation that takes JSON: (operation, request, body)."""
    requests = [(o, full.good.of(o)) for o in OPERATIONS if o.media[0] == "application/json"]
    return [(o, request, json.loads(request[3])) for o, request in requests]


def changed(body, value):
    """The body with the value in each of its fields in turn, also one level down, and in one that is none."""
    for name in [*body, value]:
        yield {**body, name: value}
        for below in body.get(name) if isinstance(body.get(name), dict) else []:
            yield {**body, name: {**body[name], below: value}}


@pytest.mark.parametrize("kinds", [("sql", "html", "attribute", "csv", "format", "path", "template"),
                                   ("header",), ("nul",), ("long",), ("number",)], ids="-".join)
def test_fault_42_injection_in_every_field_of_every_body(full, bodies, kinds):
    """And where it is taken, every page shows it as text."""
    value = " ".join(NASTY[kind] for kind in kinds)
    users = "SELECT email, role FROM users WHERE email ~ '^(viewer|operator|admin)@' ORDER BY 1"
    before = full.database.query(users)
    for operation, (method, path, headers, _), body in bodies:
        for text in changed(body, value):
            answer = full.get(path, method, headers, json.dumps(text))
            assert answer.status < 500, (operation, text, answer.text[:300])
    for _, method, path, *_ in [line.split() for line in LIST.read_text().splitlines() if line[0] != "#"]:
        if method == "GET" and "*" not in path and not path.startswith("/api/"):
            page = full.get(path, headers=bearer("t_admin"), format="html")
            assert page.status < 500, path
            if (page.headers["Content-Type"] or "").startswith("text/html"):
                assert "<script>alert" not in page.text and " onmouseover=\"alert" not in page.text, path
    assert full.database.query(users) == before


# What 2^63 and 1e400 are in JSON; and a text that a database can't keep.
OTHER_TYPES = ["null", "-1.5", "5", "true", '["x"]', '[["x"]]', '{"x": {"y": "z"}}', "9223372036854775808",
               "1e400", '"a\\u0000"', '"\\ud800"', '"9999-12-31T23:59:59Z"', '"0001-01-01T00:00:00Z"',
               f'"{NEVER}"']
NEW_NAMES = {"metric_name": "metric", "threshold": "warning", "comparison": "op"}


def test_fault_42_a_field_of_another_type(full, bodies):
    """A value that the description does not allow is refused, and the answer names its field; every answer
    has a status that the description has. null is as absent, and a text is read as one of a form."""
    for operation, (method, path, headers, _), body in bodies:
        form = {"$ref": f"#/components/schemas/{operation.takes}", "components": API["components"]}
        allows = jsonschema.Draft202012Validator(form).is_valid
        for name, value in itertools.product(body, OTHER_TYPES):
            text = json.dumps({**body, name: "@"}).replace('"@"', value)
            answer = full.get(path, method, headers, text)
            case = (str(operation), name, value, answer.status, answer.text[:300])
            assert answer.status in operation.statuses, case
            if value[0] not in 'n"' and not allows(json.loads(text)):
                fields = {e["field"].split(".")[-1] for e in answer.json.get("errors", [])}
                assert answer.status >= 400, case
                assert answer.status != 422 or fields & {name, NEW_NAMES.get(name)}, case


INTERNAL = ("user_id", "created_by", "created_at", "updated_at", "version", "builtin", "token_hash", "owner",
            "rule_id", "alert_id", "channel_id", "silence_id", "disabled_at", "secrets_set", "__proto__")


def test_no_field_is_taken_that_the_description_does_not_name(full, bodies):
    """Mass assignment: a row has more columns than a body may set."""
    for operation, (method, path, headers, _), body in bodies:
        form = API["components"]["schemas"][operation.takes]
        if form.get("additionalProperties") is not False:
            assert operation.takes in ("Login", "Payload"), operation
            continue
        for name in set(INTERNAL) - set(form["properties"]):
            answer = full.get(path, method, headers, json.dumps({**body, name: NEVER}))
            case = (str(operation), name, answer.text[:300])
            assert answer.status == 422 and name in [e["field"] for e in answer.json["errors"]], case


SECRET = "hush-7c1d5e"


def secret_of(name):
    """A URL hides what is behind its host, and its login."""
    url = f"https://{SECRET}:{SECRET}@host.example.com:8443/{SECRET}?{SECRET}"
    return url if name == "url" else SECRET + name


@pytest.mark.parametrize("misplaced", [False, True], ids=["as secrets", "among the settings"])
def test_a_secret_of_a_channel_is_in_no_answer_to_anybody(full, misplaced):
    """Of each kind of channel, each secret: not in a page, a list, a file, the audit log, or a refusal."""
    kinds = full.database.query("SELECT kind, settings, secrets FROM channel_kinds")
    full.database.query("DELETE FROM channels WHERE name LIKE 'secret %'")
    for kind, settings, secrets in kinds:
        needed = {name: f"https://{name}.example.com" for name, s in settings.items() if s["required"]}
        if kind == "mail":
            needed = {"url": "smtps://url.example.com", "from": "a@example.com", "to": "b@example.com"}
        hidden = {name: secret_of(name) for name in secrets}
        answer = full.good.send("POST", "/api/v1/alerts/channels", {
            "name": f"secret {kind}", "kind": kind, "secrets": {} if misplaced else hidden,
            "settings": {**needed, **hidden} if misplaced else needed})
        assert answer.status == 201 and answer.json["secrets_set"] == sorted(secrets), answer.text
        assert answer.json["secrets_shown"] == {
            name: "https://host.example.com:8443/***" if name == "url" else "***" for name in secrets}
        path = f"/api/v1/alerts/channels/{answer.json['channel_id']}"
        full.good.send("POST", f"{path}/test")
        refused = full.get(path, "PATCH", {**bearer("t_admin"), "Content-Type": "application/json"},
                           json.dumps({"secrets": {name: f"{SECRET}\n" for name in secrets}}))
        open_url = full.get(path, "PATCH", {**bearer("t_admin"), "Content-Type": "application/json"},
                            json.dumps({"settings": {name: f"https://me:{SECRET}@x.example.com/"
                                                     for name in settings if name.endswith("url")}}))
        assert SECRET not in answer.text + refused.text + open_url.text, kind
    assert full.database.count("channels", f"secrets::text LIKE '%%{SECRET}%%'") == len(kinds)
    for role in ROLES:
        for _, method, path, *_ in [line.split() for line in LIST.read_text().splitlines() if line[0] != "#"]:
            for form in ("html", "json", "csv") if method == "GET" and path not in ENDS_THE_SESSION else ():
                answer = full.get(path.replace("*", "x"), headers=bearer(f"t_{role}"), format=form)
                assert SECRET.encode() not in answer.body, (role, path, form)


def test_the_hubs_login_reads_no_secret_of_a_channel(full):
    """Who steals it gets none: only the watcher, for a message that it has taken, and the owner do."""
    for sql in ("SELECT secrets FROM channels", "SELECT * FROM channels",
                "SELECT take_notifications('w', 10, 60, now())"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            with contextlib.closing(psycopg2.connect(full.database.url("hub"))) as stolen:
                stolen.cursor().execute(f"SET search_path = observ, pg_catalog; {sql}")


@pytest.mark.parametrize("path", ["//users", "/./users", "/x/../users", "/users%2f", "/users/", "/USERS",
                                  "/users;x", "/%75sers", "/users%00", "/api//v1/users", "/api/v1/users/",
                                  "/static/../users", "/static/..%2fusers",
                                  "/static/%2e%2e/%2e%2e/etc/passwd", "/static//etc/passwd",
                                  "/theme/../users", "/sign-in/../users",
                                  "/healthz/../users", "/users?x=/static/", "/users#/static/"])
def test_path_tricks_lead_past_no_check(either, path):
    session = bearer(token(either, "viewer@example.com"))
    for headers in ({}, session):
        answer = either.get(path, headers=headers)
        assert answer.status in (400, 401, 403, 404), (path, headers, answer.status)
        assert "root:" not in answer.text and "operator@example.com" not in answer.text


BOMBS = {
    "deep": "[" * 8000, "deep object": '{"a":' * 1600, "deep in a field": '{"email":' + "[" * 8000,
    "unclosed": '{"email": "x', "nothing": "null",
    "a list": "[]", "a huge number": '{"email": 1e100000}', "many digits": '{"email": ' + "9" * 5000 + "}",
    "a tiny number": '{"email": 1e-100000}', "NaN": '{"email": NaN}', "a NUL": '{"email": "\\u0000"}',
    "a NUL in a key": '{"\\u0000": 1}', "a lone surrogate": '{"email": "\\ud800 x"}',
    "a comment": '// x\n{"email": "x@example.com"}', "a comment inside": '{"email": /* x */ "x@example.com"}',
    "a comma": '{"email": "x@example.com",}', "single quotes": "{'email': 'x@example.com'}",
    "twice": '{"email": "a@example.com", "email": "b c"}', "trailing": '{} {}',
    "many keys": "{" + ",".join(f'"k{i}":1' for i in range(900)) + "}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_json_bombs_are_refused(hub, people, name):
    session = bearer(token(hub, "admin@example.com"))
    answer, seconds = None, time.monotonic()
    answer = hub.get("/api/v1/users", "POST", {**session, "Content-Type": "application/json"}, BOMBS[name])
    assert answer.status in (400, 413, 422), answer.text[:200]
    assert answer.json["detail"] and time.monotonic() - seconds < 10
    assert people.count("users") == 3


def test_a_large_post_of_a_stranger_is_not_read(hub):
    """To read the log lines of a megabyte takes a tenth of a second."""
    headers = {**bearer("no token"), "Content-Type": "application/json"}
    answer = hub.get("/api/v1/ingest", "POST", headers, "[" * 60000)
    assert answer.status == 401, "and not what is wrong in it"


def test_a_hundred_megabytes_are_refused_unread(people, tmp_path):
    """By the hub itself, whatever the web server lets pass."""
    for path in ("/api/v1/auth/login", "/sign-in", "/api/v1/ingest"):
        status, _, _ = cgi(people, tmp_path, path, "POST", "x", "plain_http = allow",
                           HTTP_AUTHORIZATION="Bearer x", CONTENT_LENGTH=str(100 * 1024 * 1024),
                           CONTENT_TYPE=FORM if path != "/api/v1/ingest" else "application/json")
        assert status == 413, path


def test_a_hundred_megabytes_through_a_web_server(either):
    def chunks():
        for _ in range(100):
            yield b"x" * 1024 * 1024
    for body in (chunks(), b"x" * 100 * 1024 * 1024):
        try:
            answer = either.get("/api/v1/auth/login", "POST", {"Content-Type": FORM}, body)
            assert answer.status == 413
        except (BrokenPipeError, ConnectionResetError):
            pass                                # the server does not read it to the end
    assert either.get("/healthz").status == 200


def test_headers_of_a_request_change_no_answer_of_another(hub, people):
    """HTTP_PROXY and its like are variables of programs; a User-Agent is shown as text."""
    visitor = Visitor(hub, **{"User-Agent": "<script>alert(1)</script>\xff", "Proxy": "http://evil.example",
                              "X-HTTP-Method-Override": "DELETE"})
    visitor.sign_in("viewer@example.com")
    # Those of a proxy, with which no password goes over plain HTTP.
    visitor.headers |= {"X-Forwarded-Host": "evil.example", "X-Original-URL": "/users"}
    page = visitor.get("/account")
    assert page.status == 200 and "<script>alert" not in page.text and "evil.example" not in page.text
    assert "evil.example" not in str(visitor.get("/").headers)


def test_two_lengths_or_a_second_request_inside_a_body_reach_no_second_answer(either):
    """Request smuggling: what one server takes for the end of a request is the end for both."""
    inner = b"GET /api/v1/users HTTP/1.1\r\nHost: x\r\n\r\n"
    for head in (b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(inner),
                 b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(inner),
                 b"Transfer-Encoding: xchunked\r\n", b"Content-Length: -1\r\n", b"Content-Length: 0x10\r\n"):
        with socket.create_connection(("127.0.0.1", either.port), timeout=30) as s:
            s.sendall(b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: "
                      b"application/json\r\n" + head + b"\r\n" + inner)
            got = b""
            while part := s.recv(65536):
                got += part
        assert got.count(b"HTTP/1.1 ") <= 1 and not got.startswith(b"HTTP/1.1 2"), (head, got[:200])


def test_no_process_is_left_when_clients_go_away(people, tmp_path):
    """Killed in the middle of a request, a hundred times."""
    server = Hub(tmp_path, people.url("hub"), "cgi", conf="").start()
    try:
        for i in range(100):
            with socket.create_connection(("127.0.0.1", server.port)) as s:
                s.sendall(b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                          b"Content-Length: 50\r\n\r\n{"[:40 + i])
        wait_for(lambda: not subprocess.run(["pgrep", "-P", str(server.process.pid)],
                                            capture_output=True).stdout, "no hub is left")
        assert server.get("/healthz").status == 200
    finally:
        server.stop()


def test_the_policy_for_content_allows_nothing_inline(hub):
    for path in ("/sign-in", "/account", "/nothing"):
        policy = hub.get(path).headers["Content-Security-Policy"]
        assert "unsafe" not in policy and "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "form-action 'self'" in policy and "base-uri 'none'" in policy
