"""openapi.yaml against the hub: its paths are those of the route table, and each status that it names is
provoked, with an answer of the form that it promises. Through lighttpd, as CGI."""
import http.client
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl

import jsonschema
import psycopg2
import pytest
import seed_fleet
import yaml
from harness import BUILD
from hub_server import FLEET_HUB, Answer, Hub, HubBehindNginx
from openapi_requests import API, AWAY, FILE, JSON, OPERATIONS, Requests, seed_alerts, undescribed
from people import FORM, bearer, fill_with_tokens
from test_routes import rows

TOOLS = Path(os.environ.get("OBSERV_PAGE_TOOLS", BUILD / "page-tools")) / "node_modules/.bin"
PROBLEM = "application/problem+json"
# The others need another hub, a client that breaks HTTP, or a limit that is reached; tests here provoke them.
SPECMATIC_TRIES = "STATUS='200,201,204,401,404,422'"


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


class Strict(yaml.SafeLoader):
    """A key that stands twice in one object is an error, as for other readers of YAML."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"{keys} in line {node.start_mark.line + 1}"
        return super().construct_mapping(node, deep)


def test_no_key_stands_twice_and_each_tag_is_described():
    said = yaml.load(FILE.read_text(), Strict)
    assert {o.tag for o in OPERATIONS} == {tag["name"] for tag in said["tags"]}


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
    seed_alerts(it)
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
def behind_nginx(hub, database, tmp_path_factory):
    """As FastCGI, with the packages of the other one."""
    server = HubBehindNginx(tmp_path_factory.mktemp("nginx"), database.url("hub"),
                            "\n".join(line for line in hub.conf.read_text().splitlines()
                                      if line.startswith("packages")) + "\n", body_kb=2048).start()
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
        described = {"Content-Type", "Content-Length"} & set(answer.headers)
        return f"{described} of no body" if described or answer.body else None
    media = answer.headers["Content-Type"].split(";")[0]
    if media not in said["content"]:
        return f"{media} is not described"
    for name in said.get("headers", {}):
        if name != "Link" and name not in answer.headers and "problem" in media:
            return f"no {name}"
    if "json" in media:
        schema = {**said["content"][media]["schema"], "components": API["components"]}
        errors = list(jsonschema.Draft202012Validator(schema).iter_errors(answer.json))
        if errors:
            return f"{errors[0].message[:300]} at {list(errors[0].absolute_path)}"
        more = undescribed(said["content"][media]["schema"], answer.json)
        return f"not described: {' '.join(sorted(set(more)))}" if more else None
    return None


def faults(status, provoke, operations=OPERATIONS):
    found = [(o, fault(o, status, provoke(o))) for o in operations if status in o.statuses]
    assert found
    return [(o, why) for o, why in found if why]


# ---- each status ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("status", [201, 200, 204])
def test_what_is_right_is_done(hub, good, status):
    """First what makes something, so that lists have it."""
    assert faults(status, lambda o: ask(hub, good.of(o))) == []


@pytest.mark.parametrize("operation, media", [(o, media) for o in OPERATIONS for media in o.media[1:]],
                         ids=str)
def test_each_medium_of_a_body_does_the_same(hub, good, operation, media):
    done = min(operation.statuses)
    assert fault(operation, done, ask(hub, good.of(operation, media))) is None


@pytest.mark.parametrize("status", [201, 200, 204, 401, 404, 412, 422])
def test_nginx_and_fastcgi_do_the_same(behind_nginx, good, status):
    makers = {401: good.with_a_wrong_token, 404: good.of_nothing, 412: good.outdated,
              422: good.that_does_not_fit}
    make = makers.get(status, good.of)
    assert faults(status, lambda o: ask(behind_nginx, make(o))) == []


def test_400_for_an_address_that_cannot_be_read(hub, good):
    def provoke(operation):
        method, path, headers, body = good.of(operation)
        more = "&".join(f"p{n}=1" for n in range(65))
        return ask(hub, (method, path + ("&" if "?" in path else "?") + more, headers, body))
    assert faults(400, provoke) == []


def test_401_without_a_token_and_with_a_wrong_one(hub, good):
    for make in (good.without_a_token, good.with_a_wrong_token):
        assert faults(401, lambda o, make=make: ask(hub, make(o))) == []


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
    assert faults(404, lambda o: ask(hub, good.of_nothing(o))) == []


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


def test_412_for_a_state_that_is_over(hub, good):
    assert faults(412, lambda o: ask(hub, good.outdated(o))) == []


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
        answer = ask(hub, good.that_does_not_fit(operation))
        assert answer.status != 422 or answer.json["errors"], operation
        return answer
    assert faults(422, provoke) == []


def test_429_says_when_to_come_again(hub, good, database):
    def provoke(operation):
        requests = [good.of(operation) for _ in range(2)]
        if operation.takes == "Login":
            wrong = json.dumps({"username": "carla@example.com", "password": "wrong"})
            requests = [(method, path, headers, wrong) for method, path, headers, _ in requests * 2]
        elif operation.tag == "heartbeats":
            requests[1] = requests[0]
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
        200, 201, 204, 400, 401, 403, 404, 411, 412, 413, 415, 422, 429, 503, 504}


# ---- specmatic ------------------------------------------------------------------------------------------

def example(request, answer):
    """A request and its answer, as specmatic reads them."""
    method, path, headers, body = request
    path, _, query = path.partition("?")
    form = headers.get("Content-Type") == FORM
    asked = {"method": method, "path": path, "query": dict(parse_qsl(query)), "headers": headers}
    if body:
        asked |= {"form-fields": dict(parse_qsl(body))} if form else {"body": json.loads(body)}
    media = answer.headers["Content-Type"]
    said = {"status": answer.status, "headers": {"Content-Type": media} if media else {}}
    if answer.body:
        said["body"] = answer.json if media.split(";")[0] in (JSON, PROBLEM) else answer.text
    return {"http-request": asked, "http-response": said}


def test_specmatic_finds_the_hub_to_be_as_described(hub, good, tmp_path):
    jar = TOOLS.parent / "specmatic/specmatic.jar"
    if not (jar.exists() and shutil.which("java")):
        pytest.skip(f"{TOOLS.parent} has no specmatic, see CONTRIBUTING.md")
    examples = tmp_path / "examples"
    examples.mkdir()
    made = [make for operation in OPERATIONS for make in good.in_each_medium(operation)]
    refused = {401: good.with_a_wrong_token, 404: good.of_nothing, 422: good.that_does_not_fit}
    made += [partial(make, operation, media) for operation in OPERATIONS for status, make in refused.items()
             if status in operation.statuses for media in operation.media]
    for n, make in enumerate(made):
        (examples / f"{n}.json").write_text(json.dumps(example(make(), ask(hub, make()))))
    with (BUILD / "specmatic.log").open("w+") as log:
        done = subprocess.run(["java", "-jar", jar, "test", f"--testBaseURL=http://127.0.0.1:{hub.port}",
                               "--timeout=30", f"--examples={examples}", f"--filter={SPECMATIC_TRIES}", FILE],
                              cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT, timeout=600)
        log.seek(0)
        said = log.read()
    assert "100% API Coverage" in said, said[-5000:]
    assert "Failures: 0" in said and "Errors: 0" in said, said[-5000:]
    assert done.returncode == 0
