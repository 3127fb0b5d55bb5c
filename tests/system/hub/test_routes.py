"""Roles by route: each pair of route_roles.txt with a request of nobody and of each role, and no pair beside
these."""
import subprocess
from pathlib import Path

import pytest
from hub_server import FLEET_HUB, Hub
from people import ROLES, admin, bearer, hub_role, token

LIST = Path(__file__).with_name("route_roles.txt")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
NEVER = "00000000-0000-4000-8000-000000000000"
# What asks for something else than a session: a password, a token in the body.
OTHERWISE = ("/sign-in", "/account/password", "/api/v1/agents/enroll")
ENDS_THE_SESSION = ("/sign-out", "/api/v1/auth/logout")


def rows():
    """[(needs, path, methods)]"""
    lines = [line.split() for line in LIST.read_text().splitlines() if line[0] != "#"]
    return [(needs, path, ["GET", "HEAD"] if method == "GET" else [method])
            for needs, method, path, *_ in lines]


@pytest.fixture(scope="module")
def hub(cluster, tmp_path_factory):
    database = cluster.new_database()
    hub_role(database)
    for role in ROLES:
        admin(database, "create-user", f"{role}@example.com", role)
    database.query("DELETE FROM limit_policy")
    server = Hub(tmp_path_factory.mktemp("hub"), database.url("hub"), "fastcgi", conf="").start()
    yield server
    server.stop()
    database.drop()


def test_the_list_is_the_table_of_the_hub():
    printed = subprocess.run([FLEET_HUB, "--print-routes"], capture_output=True, text=True, check=True).stdout
    listed = [line for line in LIST.read_text().splitlines() if not line.startswith("#")]
    assert printed.splitlines() == listed


def ask(hub, method, path, session):
    body = "{}" if method in ("POST", "PUT", "PATCH") else None
    form = not path.startswith(("/api/", "/v1/", "/ingest"))
    media = "application/x-www-form-urlencoded" if form else "application/json"
    return hub.get(path.replace("*", NEVER), method,
                   {**(bearer(session) if session else {}), **({"Content-Type": media} if body else {})},
                   "" if form and body else body)


@pytest.mark.parametrize("role", [None, *ROLES])
def test_each_role_gets_what_it_needs_and_no_more(hub, role):
    session = token(hub, f"{role}@example.com") if role else None
    wrong = []
    for needs, path, methods in rows():
        for method in methods:
            status = ask(hub, method, path, session).status
            if role and path in ENDS_THE_SESSION:
                session = token(hub, f"{role}@example.com")
            if needs in ("server", "bootstrap"):
                allowed, refused = False, (401, 403)
            else:
                allowed = needs == "public" or (role and ROLES.index(role) >= ROLES.index(needs))
                refused = (403,) if role else (401,)
            if ((status in (401, 403)) == bool(allowed) and path not in OTHERWISE
                    or not allowed and status not in refused or status >= 500):
                wrong.append((needs, method, path, status))
    assert not wrong


def test_other_methods_are_refused_with_the_list_of_those_that_work(hub):
    session = token(hub, "admin@example.com")
    taken = {}
    for _, path, methods in rows():
        taken.setdefault(path, set()).update(methods)
    for path, methods in taken.items():
        for method in set(METHODS) - methods:
            answer = ask(hub, method, path, session)
            assert answer.status == 405, (method, path, answer.status)
            assert set(answer.headers["Allow"].split(", ")) == methods, path
