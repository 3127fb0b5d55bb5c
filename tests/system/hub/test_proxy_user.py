"""The user whom an authenticating proxy names: behind a real nginx that asks for a password."""
import base64
import hashlib
import hmac
import os
import re
import socket
import subprocess
import uuid

import people
import pytest
from harness import wait_for
from hub_server import Hub
from people import FORM, Visitor, admin, bearer

PROXY = "127.0.0.5"                     # where nginx connects from
NGINX = """
daemon off; {user} pid {folder}/pid; error_log {folder}/error.log; events {{}}
http {{
    access_log off; underscores_in_headers on;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            auth_basic "fleet"; auth_basic_user_file {folder}/users;
            proxy_pass http://127.0.0.1:{hub}; proxy_bind {proxy};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Remote-User $remote_user;
            proxy_set_header Observ-Proxy-Secret {secret};
            proxy_set_header Authorization $hand_on;
        }}
    }}
    map $http_x_token $hand_on {{ default ""; ~. "Bearer $http_x_token"; }}
}}
"""
CONF = f"auth_header = X-Remote-User\nauth_proxies = 127.0.0.9 {PROXY}\n"


def secret_of(database, name="front"):
    return re.search(r"obs_proxy_[\w-]+", admin(database, "proxy-secret", name))[0]


class Nginx(Hub):
    """Asks for a password, which is "x" for everybody, and hands on to the hub."""

    def __init__(self, folder, hub, secret):
        super().__init__(folder, None)
        (self.folder / "users").write_text("".join(
            f"{user}:{{PLAIN}}x\n" for user in
            ("operator@example.com", "Admin@Example.com", "viewer@example.com", "nobody@example.com", "a,b")))
        user = "user root;" if os.geteuid() == 0 else ""
        self.configure(NGINX.format(folder=self.folder, port=self.port, hub=hub.port, proxy=PROXY,
                                    secret=secret, user=user))

    def start(self):
        return self.launch(["/usr/sbin/nginx", "-p", self.folder, "-c", self.folder / "lighttpd.conf",
                            "-e", self.folder / "error.log"])


def basic(user):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:x".encode()).decode()}


@pytest.fixture(scope="module")
def database(cluster):
    it = cluster.new_database()
    people.fill(it)
    people.fill_with_tokens(it)
    yield it
    it.close()


@pytest.fixture(scope="module")
def secret(database):
    return secret_of(database)


@pytest.fixture(scope="module")
def start(database, secret, tmp_path_factory):
    """start(conf, secret) -> (the hub, nginx in front of it)."""
    started = []

    def go(conf=CONF, shown=secret, mode="cgi"):
        hub = Hub(tmp_path_factory.mktemp("hub"), database.url("hub"), mode, conf=conf).start()
        front = Nginx(tmp_path_factory.mktemp("front"), hub, shown).start()
        started.extend((front, hub))
        return hub, front
    yield go
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def servers(start):
    return start()


@pytest.fixture
def front(servers):
    return servers[1]


@pytest.fixture
def hub(servers):
    return servers[0]


def me(server, **headers):
    answer = server.get("/api/v1/auth/me", headers=headers)
    return answer.json["email"] if answer.status == 200 else (answer.status, answer.json["detail"])


def test_the_proxys_user_is_signed_in_with_one_session(front, database):
    database.query("DELETE FROM sessions")
    assert front.get("/help").status == 401, "nginx asks for the password"
    for _ in range(3):
        answer = front.get("/api/v1/auth/me", headers=basic("operator@example.com"))
        assert answer.status == 200 and not answer.headers["Set-Cookie"]
    assert (answer.json["email"], answer.json["role"]) == ("operator@example.com", "operator")
    session, = answer.json["sessions"]
    assert session["browser"] == "signed in by the proxy front" and session["address"] == "127.0.0.1"
    assert me(front, **basic("Admin@Example.com")) == "admin@example.com", "as the hub writes emails"
    assert database.count("audit_log", "how = 'proxy' AND action = 'sign-in' AND actor LIKE 'op%%'") == 1


@pytest.mark.parametrize("mode", ["cgi", "fastcgi"])
def test_the_role_is_that_of_the_user(start, mode):
    front = start(mode=mode)[1]
    statuses = [front.get(path, headers=basic(user)).status
                for user in ("viewer@example.com", "operator@example.com", "Admin@Example.com")
                for path in ("/help", "/users")]
    assert statuses == [200, 403, 200, 403, 200, 200]


def test_the_header_from_another_address_is_ignored(hub, secret):
    headers = {"X-Remote-User": "admin@example.com", "Observ-Proxy-Secret": secret}
    assert me(hub, **headers)[0] == 401
    with socket.create_connection(("127.0.0.1", hub.port), source_address=("127.0.0.6", 0)) as s:
        s.sendall(b"GET /users HTTP/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in {
            **headers, "X-Forwarded-For": PROXY, "Accept": "application/json"}.items()).encode() + b"\r\n")
        assert b" 401 " in s.makefile("rb").readline()


def test_it_is_off_unless_hub_conf_says_so(start, secret):
    for conf in ("", f"trusted_proxies = {PROXY}\n", f"auth_proxies = {PROXY}\n",
                 "auth_header = X-Remote-User\n", "auth_header = X-Other\nauth_proxies = 127.0.0.5\n"):
        assert me(start(conf)[1], **basic("Admin@Example.com"))[0] == 401


def test_who_is_no_user_is_told_so_and_audited(front, database):
    status, why = me(front, **basic("nobody@example.com"))
    assert status == 403 and '"nobody@example.com"' in why and "No user of this hub" in why
    page = front.get("/", headers={**basic("nobody@example.com"), "Accept": "text/html"})
    assert page.status == 403 and "An admin makes users" in page.text
    assert database.count("audit_log", "action = 'sign-in refused' AND object = 'nobody@example.com'") == 2
    admin(database, "disable-user", "viewer@example.com")
    assert me(front, **basic("viewer@example.com"))[0] == 403, "a disabled user is none"
    admin(database, "enable-user", "viewer@example.com")
    assert me(front, **basic("viewer@example.com")) == "viewer@example.com"
    assert me(front, **basic("a,b"))[0] == 400, "two names"


def test_many_tries_of_strangers_are_limited_and_lock_out_no_user(front, hub, database):
    database.query("TRUNCATE limits")
    statuses = [me(front, **basic("nobody@example.com"))[0] for _ in range(12)]
    assert statuses == [403] * 10 + [429] * 2
    assert me(front, **basic("operator@example.com")) == "operator@example.com"
    assert people.login(hub, "operator@example.com").status == 200, "nor from that address"
    database.query("TRUNCATE limits")


def test_a_wrong_secret_signs_nobody_in_and_an_ended_one_no_longer(start, database):
    front = start(shown="obs_proxy_wrong")[1]
    status, why = me(front, **basic("operator@example.com"))
    assert status == 401 and "fleet_hub_admin proxy-secret" in why
    front = start(shown=secret_of(database, "second"))[1]
    assert me(front, **basic("operator@example.com")) == "operator@example.com"
    assert "signs nobody in any more" in admin(database, "end-proxy-secret", "second")
    assert me(front, **basic("operator@example.com"))[0] == 401
    assert database.count("proxy_secrets", "name = 'second'") == 0


def test_a_client_can_name_nobody_itself(front, secret):
    for sent in ({"X-Remote-User": "admin@example.com"}, {"x-remote-user": "admin@example.com",
                 "Observ-Proxy-Secret": "mine"}):
        assert me(front, **basic("operator@example.com"), **sent) == "operator@example.com"
    for name in ("X_Remote_User", "X-Remote_User", "Observ_Proxy_Secret"):
        refused = me(front, **basic("operator@example.com"), **{name: "admin@example.com"})
        assert refused == "operator@example.com" or refused[0] == 400, (name, refused)


def test_the_session_is_no_use_without_the_proxy(front, hub, secret):
    """Who has the secret, but not the proxy's address, could make the token: no header can carry it."""
    assert me(front, **basic("operator@example.com")) == "operator@example.com"
    made = hmac.new(secret.encode(), b"observ proxy session\0operator@example.com", hashlib.sha256).digest()
    token = base64.urlsafe_b64encode(made).decode().rstrip("=")
    for shown in (bearer(token), bearer("%0A" + token), {"Cookie": f"observ_session={token}"},
                  {"Cookie": f"observ_session=%0A{token}"}, {"Cookie": f'observ_session="\\n{token}"'}):
        assert me(hub, **shown)[0] == 401
    with socket.create_connection(("127.0.0.1", hub.port)) as s:
        s.sendall(f"GET /users HTTP/1.0\r\nAuthorization: Bearer\r\n \n{token}\r\n\r\n".encode())
        assert b" 200 " not in s.makefile("rb").readline()


def test_a_write_needs_the_form_of_the_session(front, database):
    page = Visitor(front, **basic("operator@example.com"))
    name = f"by-proxy-{uuid.uuid4().hex[:8]}"
    headers = {**basic("operator@example.com"), "Content-Type": FORM}
    refused = front.get("/servers", "POST", headers, "name=x-1")
    assert refused.status == 403
    page.get("/servers")
    assert page.post("/servers", {"Sec-Fetch-Site": "cross-site"}, name="x-2").status == 403
    assert page.post("/servers", name=name).status == 201
    assert database.one("SELECT created_by FROM servers WHERE vps_name = %s", name) == "operator@example.com"
    assert database.count("servers", "vps_name LIKE 'x-_'") == 0


def test_a_token_of_ones_own_goes_before(front):
    headers = {**basic("operator@example.com"), "X-Token": "t_viewer"}
    assert me(front, **headers) == "viewer@example.com"


def test_rights_follow_the_user_at_once(front, database):
    assert front.get("/users", headers=basic("operator@example.com")).status == 403
    admin(database, "change-user", "operator@example.com", "admin")
    assert front.get("/users", headers=basic("operator@example.com")).status == 200
    admin(database, "change-user", "operator@example.com", "operator")
    assert front.get("/users", headers=basic("operator@example.com")).status == 403
    page = Visitor(front, **basic("operator@example.com"))
    page.get("/help")
    assert page.post("/sign-out").status == 303 and page.get("/help").status == 200, "the proxy's word holds"


def test_without_a_user_the_proxys_requests_are_not_of_this_machine(start):
    hub, _ = start("anonymous = viewer\n" + CONF)
    with socket.create_connection(("127.0.0.1", hub.port), source_address=(PROXY, 0)) as s:
        s.sendall(b"GET /help HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert b" 403 " in s.makefile("rb").readline()
    assert hub.get("/help").status == 200


def test_many_first_requests_at_once_open_one_session(front, database):
    database.query("DELETE FROM sessions")
    curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-u", "operator@example.com:x"]
    commands = [subprocess.Popen([*curl, front.url("/help")], stdout=subprocess.PIPE, text=True)
                for _ in range(8)]
    assert [c.communicate(timeout=60)[0] for c in commands] == ["200"] * 8
    wait_for(lambda: database.count("sessions") == 1, "one session")
