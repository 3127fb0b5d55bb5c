"""Limits count what fails, too; and only so many passwords are hashed at once, in all processes."""
import json
import os
import subprocess
from pathlib import Path

import people
import pytest
from harness import wait_for
from hub_server import FLEET_HUB, Hub
from people import PASSWORD, admin, bearer

JSON = {"Content-Type": "application/json"}
MEMORY_MIB = 128                        # of argon2id, so that a process that hashes is seen by its size


@pytest.fixture(scope="module")
def database(cluster):
    it = cluster.new_database()
    people.fill(it)
    people.fill_with_tokens(it)
    yield it
    it.close()


@pytest.fixture(scope="module")
def hub(database, tmp_path_factory):
    server = Hub(tmp_path_factory.mktemp("hub"), database.url("hub"), "fastcgi", conf="").start()
    yield server
    server.stop()


@pytest.fixture
def limit(database):
    """limit(kind, burst): so many a day."""
    before = dict(database.query("SELECT kind, (burst, per)::text FROM limit_policy"))
    database.query("TRUNCATE limits")

    def go(kind, burst):
        database.query("UPDATE limit_policy SET burst = %s, per = '1 day' WHERE kind = %s", burst, kind)
    yield go
    database.query("TRUNCATE limits")
    for kind, policy in before.items():
        burst, per = policy.strip("()").split(",")
        database.query("UPDATE limit_policy SET burst = %s, per = %s WHERE kind = %s", int(burst),
                       per.strip('"'), kind)


def post(hub, path, body, token=None, method="POST"):
    text = body if isinstance(body, str) else json.dumps(body)
    return hub.get(path, method, {**JSON, **(bearer(token) if token else {})}, text)


@pytest.mark.parametrize("path, body, token, status", [
    ("/api/v1/servers", {}, "t_operator", 422),                 # the function refuses
    ("/api/v1/servers", "{", "t_operator", 400),                # the hub does, before
    ("/api/v1/servers", {"name": "x"}, "t_viewer", 403),
    ("/api/v1/users", {"email": "a@b", "password": "short"}, "t_admin", 422),
    ("/api/v1/searches", {"name": "x", "range": "2h"}, "t_viewer", 422),
])
def test_a_write_that_is_refused_counts(hub, limit, path, body, token, status):
    limit("write", 3)
    answers = [post(hub, path, body, token) for _ in range(5)]
    # What does not get as far as the function is told what is wrong, and yet counts.
    beyond = status if status in (400, 403) or "users" in path else 429
    assert [a.status for a in answers] == [status] * 3 + [beyond] * 2
    refused = post(hub, "/api/v1/searches", {"name": "right"}, token)
    assert refused.status == 429 and int(refused.headers["Retry-After"]) > 0
    assert post(hub, "/api/v1/searches", {"name": path + str(status)},
                "t_viewer" if token != "t_viewer" else "t_admin").status == 201, "others are not affected"


def test_an_ingest_that_is_refused_counts_for_its_server_alone(hub, limit):
    one, other = (post(hub, "/api/v1/servers", {"name": name}, "t_admin").json["agent_token"]
                  for name in ("refused-1", "refused-2"))
    limit("ingest", 3)
    statuses = [post(hub, "/api/v1/ingest", {"metrics": 5}, one).status for _ in range(5)]
    assert statuses == [422] * 3 + [429] * 2
    assert post(hub, "/api/v1/ingest", {"ts": 1, "metrics": {}}, other).status == 422
    for wrong in ("obs_server_wrong", "t_admin"):
        assert {post(hub, "/api/v1/ingest", {"metrics": 5}, wrong).status for _ in range(5)} == {401}
    assert post(hub, "/api/v1/ingest", {"metrics": 5}, other).status == 422, "strangers charge nobody"


def test_a_try_to_enroll_counts_for_its_address(hub, limit):
    limit("enroll", 3)
    body = {"hostname": "x"}
    statuses = [post(hub, "/api/v1/agents/enroll", body, "obs_token_wrong").status for _ in range(5)]
    assert statuses == [401] * 3 + [429] * 2


def test_a_search_that_fails_counts(hub, limit):
    limit("search", 3)
    answers = [hub.get("/api/v1/logs?range=nonsense", headers=bearer("t_viewer")).status for _ in range(5)]
    assert answers == [400] * 3 + [429] * 2
    assert hub.get("/api/v1/logs", headers=bearer("t_admin")).status == 200


def hashing(folder):
    """How many processes of the hub have the memory of a password now."""
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "exe").readlink() == FLEET_HUB.resolve() and str(folder) in (
                    process / "environ").read_bytes().decode(errors="replace"):
                pages = int((process / "statm").read_text().split()[1])
                found += pages * os.sysconf("SC_PAGE_SIZE") > MEMORY_MIB * 1024 * 1024 * 0.8
        except (OSError, ValueError):
            continue
    return found


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_passwords_at_once_than_the_policy_says_by_cgi_too(database, tmp_path, limit, most):
    hub = Hub(tmp_path / "hub", database.url("hub"),
              conf=f"password_memory_mib = {MEMORY_MIB}\npassword_passes = 3\n").start()
    assert people.login(hub, "viewer@example.com").status == 200, "the password is stored at that cost now"
    for kind in ("sign-in by address", "sign-in by account"):
        limit(kind, 1000)
    database.query("UPDATE limit_policy SET burst = %s WHERE kind = 'password hash'", most)
    curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %header{retry-after}", "-d",
            f"username=viewer@example.com&password={PASSWORD.replace(' ', '+')}",
            hub.url("/api/v1/auth/login")]
    commands = [subprocess.Popen(curl, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    seen = []
    wait_for(lambda: seen.append(hashing(tmp_path)) or all(c.poll() is not None for c in commands),
             "all sign-ins answered")
    answers = [c.communicate()[0].split() for c in commands]
    hub.stop()
    assert max(seen) == most, seen
    assert {a[0] for a in answers} <= {"200", "429"} and ["200"] in answers, answers
    assert all(a[1:] == (["2"] if a[0] == "429" else []) for a in answers), answers
    assert database.one("SELECT count(*) FROM hash_slots WHERE busy_until > now()") == 0, "all are given back"


def test_a_sign_in_that_finds_no_slot_is_told_when_to_come_again(hub, database, limit):
    database.query("DELETE FROM hash_slots")
    database.query("UPDATE limit_policy SET burst = 1 WHERE kind = 'password hash'")
    database.query("SELECT take_hash_slot()")
    answer = people.login(hub, "viewer@example.com")
    assert (answer.status, answer.headers["Retry-After"], answer.json["error"]) == (429, "2", "slow_down")
    made = post(hub, "/api/v1/users", {"email": "new@example.com"}, "t_admin")
    assert (made.status, made.headers["Retry-After"]) == (429, "2")
    database.query("UPDATE hash_slots SET busy_until = now() - interval '1 s'")
    assert people.login(hub, "viewer@example.com").status == 200
    assert post(hub, "/api/v1/users", {"email": "new@example.com"}, "t_admin").status == 201
    admin(database, "delete-user", "new@example.com")
