"""openapi.yaml against the hub: its paths are those of the route table, and each status that it names is
provoked, with an answer of the form that it promises. Through lighttpd, as CGI."""
import http.client
import itertools
import json
import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema
import psycopg2
import pytest
import seed_fleet
import yaml
from harness import BUILD
from hub_server import FLEET_HUB, Answer, Hub
from people import bearer, fill_with_tokens, token
from test_routes import rows

FILE = Path(__file__).parents[3] / "fleet_hub/openapi.yaml"
API = yaml.safe_load(FILE.read_text())
TOOLS = Path(os.environ.get("OBSERV_PAGE_TOOLS", BUILD / "page-tools")) / "node_modules/.bin"
NEVER = "00000000-0000-4000-8000-000000000000"
AWAY = {"X-Forwarded-For": "192.0.2.9"}
PROBLEM = "application/problem+json"
number = itertools.count()


class Operation:
    def __init__(self, path, method, said):
        self.path, self.method, self.said = path, method.upper(), said
        self.role, self.tag, self.limit = said["x-role"], said["tags"][0], said.get("x-limit")
        body = said.get("requestBody", {"content": {}})["content"].get("application/json")
        self.takes = body["schema"]["$ref"].split("/")[-1] if body else None
        self.statuses = {int(status): resolve(answer) for status, answer in said["responses"].items()}

    def __repr__(self):
        return f"{self.method} {self.path}"


def resolve(node):
    while "$ref" in node:
        found = API
        for part in node["$ref"][2:].split("/"):
            found = found[part]
        node = found
    return node


OPERATIONS = [Operation(path, method, said) for path, methods in API["paths"].items()
              for method, said in methods.items()]


# ---- the file -----------------------------------------------------------------------------------------

def test_the_paths_are_those_of_the_route_table():
    programs = {(path.replace("*", "{id}"), method) for _, path, methods in rows() for method in methods
                if method != "HEAD" and (path.startswith(("/api/v1", "/v1/"))
                                         or path in ("/health", "/healthz", "/metrics", "/ingest",
                                                     "/install.sh", "/install/*"))}
    assert {(o.path, o.method) for o in OPERATIONS} == programs


def test_the_file_is_what_the_hub_prints_and_serves(hub):
    printed = subprocess.run([FLEET_HUB, "--print-openapi"], capture_output=True, text=True, check=True)
    assert printed.stdout == FILE.read_text()
    answer = hub.get("/api/v1/openapi.yaml")
    assert (answer.status, answer.text) == (200, FILE.read_text())
    assert answer.headers["Content-Type"] == "application/yaml"


@pytest.mark.parametrize("command", [["redocly", "lint"], ["spectral", "lint", "-r"]])
def test_linters_of_openapi_find_no_fault(command, tmp_path):
    program = shutil.which(command[0], path=TOOLS)
    if not program:
        pytest.skip(f"{TOOLS} has no {command[0]}, see CONTRIBUTING.md")
    if command[-1] == "-r":
        rules = tmp_path / "rules.yaml"
        rules.write_text('extends: ["spectral:oas"]\n')
        command = [*command, str(rules)]
    done = subprocess.run([program, *command[1:], FILE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_shows_each_operation_and_each_form(hub):
    page = hub.get("/api").text
    for operation in OPERATIONS:
        assert f"<code>{operation.path}</code>" in page
    for kind in ("schemas", "responses"):
        for name in API["components"][kind]:
            assert f'id="{name}"' in page, name
    for name in set(page.split('href="#')[1:]):
        assert f'id="{name.split(chr(34))[0]}"' in page


# ---- the hub --------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def database(cluster):
    it = cluster.new_database()
    fill_with_tokens(it)
    seed_fleet.seed(it, lines=200)
    it.query("UPDATE limit_policy SET burst = 100000")
    yield it
    it.drop()


@pytest.fixture(scope="module")
def hub(database, tmp_path_factory):
    packages = tmp_path_factory.mktemp("packages")
    (packages / "a_1_all.deb").write_bytes(b"deb")
    server = Hub(tmp_path_factory.mktemp("hub"), database.url("hub"), conf=f"packages = {packages}\n",
                 body_kb=2048).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """start(url, conf): another hub."""
    started = []

    def go(url, conf=""):
        started.append(Hub(tmp_path_factory.mktemp("hub"), url, conf=conf, body_kb=2048).start())
        return started[-1]
    yield go
    for server in started:
        server.stop()


class Requests:
    """Makes, for each operation, a request that is carried out."""

    def __init__(self, hub):
        self.hub = hub
        answer = self.send("POST", "/api/v1/users", {"email": "carla@example.com", "role": "viewer"})
        self.password = answer.json["password"]

    def send(self, method, path, body=None, role="admin"):
        answer = self.hub.get(path, method, {**bearer(f"t_{role}"), "Content-Type": "application/json"},
                              json.dumps(body) if body is not None else None)
        assert answer.status < 300, (method, path, answer.text)
        return answer

    def server(self):
        return self.send("POST", "/api/v1/servers", {"name": f"s-{next(number)}"}).json

    def body(self, operation):
        n = next(number)
        if operation.takes == "Payload":
            return {"ts": time.time() - n / 1000, "metrics": {"cpu_percent": n % 100}}
        return {"NewServer": {"name": f"new-{n}"}, "ServerChange": {"team": "core"},
                "NewBootstrapToken": {"uses": 2}, "Enrolment": {"hostname": f"host-{n}"},
                "Login": {"username": "carla@example.com", "password": self.password},
                "NewUser": {"email": f"u{n}@example.com"}, "UserChange": {"role": "operator"},
                "NewToken": {"name": "x"}, "NewSearch": {"name": f"n{n}", "q": "a"},
                "SearchChange": {"range": "7d"}, "NewDeploy": {"app": "shop", "release": f"r{n}"},
                None: None}[operation.takes]

    def id(self, operation):
        if "{id}" not in operation.path:
            return ""
        if operation.tag == "users":
            return self.send("POST", "/api/v1/users", {"email": f"u{next(number)}@example.com"}).json["email"]
        if operation.tag == "tokens":
            return self.send("POST", "/api/v1/tokens", {"name": "x"}).json["token_id"]
        if operation.tag == "searches":
            return self.send("POST", "/api/v1/searches", {"name": f"s{next(number)}", "shared": True},
                             operation.role).json["search_id"]
        if operation.tag == "bootstrap-tokens":
            return self.send("POST", "/api/v1/bootstrap-tokens", {}).json["id"]
        if operation.tag == "install":
            return "a_1_all.deb"
        if operation.tag == "auth":
            return self.hub.get("/api/v1/auth/me", headers=bearer(self.session())).json[
                "sessions"][0]["session_id"]
        return "fra-1" if operation.method == "GET" else self.server()["name"]

    def session(self):
        return token(self.hub, "carla@example.com", self.password)

    def token(self, operation):
        if operation.role == "server":
            return self.server()["agent_token"]
        if operation.takes == "Enrolment":
            return self.send("POST", "/api/v1/bootstrap-tokens", {}).json["token"]
        if operation.tag == "auth":
            return self.session()
        return f"t_{operation.role}"

    def of(self, operation):
        """(method, path, headers, body)"""
        body = self.body(operation)
        path = operation.path.replace("{id}", self.id(operation))
        if operation.path.endswith("/metrics/servers/{id}"):
            path += "?metric=cpu_percent"
        headers = {"Content-Type": "application/json"} if operation.method in ("POST", "PATCH") else {}
        if operation.role != "none" or operation.takes == "Enrolment":
            headers |= bearer(self.token(operation))
        return operation.method, path, headers, json.dumps(body) if body is not None else None


@pytest.fixture(scope="module")
def good(hub):
    return Requests(hub)


def ask(hub, request):
    method, path, headers, body = request
    return hub.get(path, method, headers, body)


def fault(operation, status, answer):
    """What is wrong with the answer, or None."""
    if answer.status != status:
        return f"{answer.status}, not {status}: {answer.body[:300]}"
    said = operation.statuses[status]
    if "content" not in said:
        return None if answer.body == b"" else "a body that is not described"
    media = answer.headers["Content-Type"].split(";")[0]
    if media not in said["content"]:
        return f"{media} is not described"
    for name in said.get("headers", {}):
        if name != "Link" and name not in answer.headers and "problem" in media:
            return f"no {name}"
    if "json" in media:
        schema = {**said["content"][media]["schema"], "components": API["components"]}
        errors = list(jsonschema.Draft202012Validator(schema).iter_errors(answer.json))
        return f"{errors[0].message[:300]} at {list(errors[0].absolute_path)}" if errors else None
    return None


def faults(status, provoke, operations=OPERATIONS):
    found = [(o, fault(o, status, provoke(o))) for o in operations if status in o.statuses]
    assert found
    return [(o, why) for o, why in found if why]


# ---- each status ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("status", [200, 201, 204])
def test_what_is_right_is_done(hub, good, status):
    assert faults(status, lambda o: ask(hub, good.of(o))) == []


def test_400_for_an_address_that_cannot_be_read(hub, good):
    def provoke(operation):
        method, path, headers, body = good.of(operation)
        more = "&".join(f"p{n}=1" for n in range(65))
        return ask(hub, (method, path + ("&" if "?" in path else "?") + more, headers, body))
    assert faults(400, provoke) == []


def test_401_without_a_token_and_with_a_wrong_one(hub, good):
    for shown in ({}, bearer("wrong")):
        def provoke(operation):
            method, path, headers, body = good.of(operation)
            headers.pop("Authorization", None)
            return ask(hub, (method, path, {**headers, **shown, **AWAY}, body))
        assert faults(401, provoke) == []


def test_403_for_who_may_not(hub, good, start, database):
    open_to_here = start(database.url("hub"), "anonymous = viewer\n")

    def provoke(operation):
        method, path, headers, body = good.of(operation)
        if operation.role in ("operator", "admin"):
            headers |= bearer("t_viewer")
        elif operation.role == "server":
            server = good.server()
            good.send("PATCH", f"/api/v1/servers/{server['name']}", {"is_active": False})
            headers |= bearer(server["agent_token"])
        elif operation.takes == "Enrolment":
            body = json.dumps({"hostname": "fra-1"})
        elif operation.takes == "Login":
            headers |= AWAY
        elif method == "GET":
            headers.pop("Authorization")
            return ask(open_to_here, (method, path, {**headers, **AWAY}, body))
        else:
            headers["Cookie"] = "observ_session=" + headers.pop("Authorization").split()[1]
        return ask(hub, (method, path, headers, body))
    assert faults(403, provoke) == []


def test_404_for_what_is_not_there(hub, good):
    def provoke(operation):
        method, _, headers, body = good.of(operation)
        query = "?metric=cpu_percent" if operation.path.endswith("/metrics/servers/{id}") else ""
        return ask(hub, (method, operation.path.replace("{id}", NEVER) + query, headers, body))
    assert faults(404, provoke) == []


def test_411_without_a_length(hub, good):
    def provoke(operation):
        method, path, headers, _ = good.of(operation)
        connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=30)
        connection.putrequest(method, path)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = Answer(connection.getresponse())
        connection.close()
        return answer
    assert faults(411, provoke) == []


def test_413_for_a_body_beyond_the_limit(hub, good):
    def provoke(operation):
        method, path, headers, _ = good.of(operation)
        most = int(operation.said["description"].split("The body has ")[1].split()[0])
        return ask(hub, (method, path, headers, "x" * (most + 1)))
    assert faults(413, provoke) == []


def test_415_for_another_media_type(hub, good):
    def provoke(operation):
        method, path, headers, _ = good.of(operation)
        return ask(hub, (method, path, {**headers, "Content-Type": "text/xml"}, "<a/>"))
    assert faults(415, provoke) == []


def test_422_names_the_field_that_does_not_fit(hub, good):
    def provoke(operation):
        method, path, headers, _ = good.of(operation)
        if operation.method == "DELETE":
            return ask(hub, (method, "/api/v1/users/admin@example.com", headers, None))
        body = {"metrics": 5} if operation.takes == "Payload" else {"no such field": 1}
        answer = ask(hub, (method, path, headers, json.dumps(body)))
        assert answer.status != 422 or answer.json["errors"], operation
        return answer
    assert faults(422, provoke) == []


def test_429_says_when_to_come_again(hub, good, database):
    def provoke(operation):
        requests = [good.of(operation) for _ in range(2)]
        if operation.takes == "Login":
            wrong = json.dumps({"username": "carla@example.com", "password": "wrong"})
            requests = [(method, path, headers, wrong) for method, path, headers, _ in requests * 2]
        elif operation.role == "server":
            requests[1] = (*requests[1][:2], requests[0][2], requests[1][3])
        policy = database.one("SELECT burst FROM limit_policy WHERE kind = %s", operation.limit)
        database.query("TRUNCATE limits")
        database.query("UPDATE limit_policy SET burst = 1, per = '1 day' WHERE kind = %s", operation.limit)
        answers = [ask(hub, request) for request in requests]
        database.query("UPDATE limit_policy SET burst = %s WHERE kind = %s", policy, operation.limit)
        database.query("TRUNCATE limits")
        return answers[-1]
    assert faults(429, provoke) == []


def test_503_while_the_database_is_away(good, start):
    away = start("host=/nonexistent user=hub dbname=x")
    assert faults(503, lambda o: ask(away, good.of(o))) == []


def test_504_while_the_database_does_not_answer(hub, good, database):
    """All tables are locked; all requests wait at the same time."""
    operations = [o for o in OPERATIONS if 504 in o.statuses]
    requests = [good.of(o) for o in operations]
    tables = database.one("SELECT string_agg(format('observ.%I', tablename), ', ') FROM pg_tables "
                          "WHERE schemaname = 'observ'")
    holder = psycopg2.connect(database.url("postgres"))
    with holder.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
        with ThreadPoolExecutor(len(requests)) as pool:
            answers = dict(zip(operations, pool.map(lambda r: ask(hub, r), requests)))
    holder.close()
    assert faults(504, lambda o: answers[o]) == []


def test_each_status_of_the_file_has_its_test():
    assert {status for o in OPERATIONS for status in o.statuses} == {
        200, 201, 204, 400, 401, 403, 404, 411, 413, 415, 422, 429, 503, 504}
