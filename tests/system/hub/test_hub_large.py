"""Large, many or odd rows break no page: lists are cut with a mark, files are complete, errors name the
limit."""
import csv
import io
import json
import re
import subprocess
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from hub_server import ANONYMOUS, FLEET_HUB, Hub

LONG = "0123456789" * 10_000                  # 100 kB


@pytest.fixture(scope="module")
def rows(cluster):
    database = cluster.new_database()
    database.query("""DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hub') THEN
        CREATE ROLE hub LOGIN IN ROLE observ_hub; END IF; END $$""")
    yield database
    database.drop()


@pytest.fixture(autouse=True)
def empty(rows):
    yield
    rows.query("TRUNCATE agents, log_entries, vps_metrics, health_checks, gaps, rejects, log_streams, "
               "latest_samples, latest_checks")


def serve(mode):
    @pytest.fixture(scope="module")
    def started(rows, tmp_path_factory):
        server = Hub(tmp_path_factory.mktemp("hub"), rows.url("hub"), mode).start()
        yield server
        server.stop()
    return started


hub, cgi = serve("fastcgi"), serve("cgi")


@pytest.fixture(params=["cgi", "fastcgi"])
def either(request, hub, cgi):
    return cgi if request.param == "cgi" else hub


def add_line(rows, message="m", context=None, vps="big-1", app="shop", logger=None, ago_s=10, level="INFO"):
    return rows.one("""INSERT INTO log_entries (timestamp, vps_name, app_name, level, logger, message,
        context, stream_id, stream_offset)
        VALUES (now() - %s * interval '1 s', %s, %s, %s, %s, %s, %s::jsonb, 1, nextval('log_entries_id_seq'))
            RETURNING id""",
                    ago_s, vps, app, level, logger, message,
                    context if context is None or isinstance(context, str) else json.dumps(context))


def add_agent(rows, vps="big-1", app="shop", state=None):
    rows.query("""INSERT INTO agents (vps_name, app_name, epoch, version, interval_s, first_seen_at,
        last_seen_at, state)
        VALUES (%s, %s, 1, '0.1.0', 60, now(), now(),
            %s::jsonb)""", vps, app, None if state is None else json.dumps(state))


def whole(hub, line):
    """The page and the JSON of a line, by the link in the list."""
    url = urlsplit(line["whole"])
    query = {k: v[0] for k, v in parse_qs(url.query).items()}
    return hub.get(url.path, **query), hub.get(url.path, **query, format="json").json["line"]


# ---- long values ----------------------------------------------------------------------------

@pytest.mark.smoke
def test_a_hundred_long_lines_are_a_page_and_files(either, rows):
    rows.query("""INSERT INTO log_entries (timestamp, vps_name, app_name, level, message, context)
        SELECT now() - i * interval '1 s', 'big-1', 'shop', 'INFO', i || ' ' || %s, jsonb_build_object('body',
            %s::text, 'n', i)
        FROM generate_series(1, 100) i""", LONG, LONG)
    page, listed = either.get("/logs"), either.get("/logs", format="json")
    assert page.status == 200 and listed.status == 200, either.log()[-500:]
    assert len(page.body) < 3_000_000 and len(listed.body) < 1_000_000
    assert page.text.count("characters: show all") == 100 and page.text.count("the context has 100 kB: show "
                                                                              "all") == 100
    line = listed.json["lines"][0]
    assert line["message"] == f"1 {LONG}"[:4000] and line["message_length"] == 100_002
    assert line["context_length"] > 100_000 and line["context"] == {"n": 1, "body": LONG[:200] + "…"}
    one_page, one = whole(either, line)
    assert one_page.status == 200 and f"1 {LONG}</pre>" in one_page.text
    assert one["message"] == f"1 {LONG}" and one["context"] == {"body": LONG, "n": 1}
    table = list(csv.DictReader(io.StringIO(either.get("/logs", format="csv").text)))
    assert [row["message"] for row in table] == [f"{i} {LONG}" for i in range(1, 101)]
    assert json.loads(table[99]["context"]) == {"body": LONG, "n": 100}
    lines = [json.loads(text) for text in either.get("/logs", format="ndjson").text.splitlines()]
    assert [(x["message"], x["context"]["n"]) for x in lines] == [(f"{i} {LONG}", i) for i in range(1, 101)]
    near = either.get("/logs/around", vps="big-1", app="shop", stream=1, offset=0, at="2026-01-01")
    assert near.status == 404 and "Lines are deleted when their time is up" in near.text


CONTEXTS = {
    "thousands of keys": json.dumps({f"key_{i}": i for i in range(5000)}),
    "a deep array": "[" * 3000 + "]" * 3000,
    "a deep object": '{"a":' * 3000 + "1" + "}" * 3000,
    "deep below a key": '{"k": ' + "[" * 900 + "]" * 900 + "}",
    "long keys": json.dumps({"k" * 3000 + str(i): "v" for i in range(40)}),
    "a number": "12345678901234567890123", "a text": json.dumps(LONG),
    "an array": json.dumps(list(range(3000))), "null": "null", "false": "false", "no member": "{}",
    "many digits": '{"n": 1e4000}',
    "nulls": json.dumps({str(i): None for i in range(300)}),
    "quotes": json.dumps({"q" + "\"'<&>" * 10: "\"'<&>" * 5000}),
    "what is invisible": json.dumps({"\u202e" * 50 + str(i): "\u202e" * 50 for i in range(100)}),
}


@pytest.mark.parametrize("what", CONTEXTS)
def test_no_context_breaks_a_page(hub, rows, what):
    for i in range(100):
        add_line(rows, f"line {i}", CONTEXTS[what], ago_s=i + 1)
    for query in ({}, {"q": "line " + "x" * 3000 + " OR line"}, {"format": "json"}):
        assert hub.get("/logs", **query).status == 200, (what, query, hub.log()[-500:])
    id_, at = rows.query("SELECT id::text, to_json(timestamp) #>> '{}' FROM log_entries "
                         "ORDER BY timestamp DESC LIMIT 1")[0]
    stored = rows.one("SELECT context::text FROM log_entries WHERE id = %s", id_)
    for form in ({}, {"format": "json"}, {"format": "ndjson"}):
        answer = hub.get("/logs/line", id=id_, at=at, **form)
        assert answer.status == 200, (what, hub.log()[-500:])
        assert not form or stored in answer.text, "whole, as the database has it"
    assert len(hub.get("/logs", format="csv").text.splitlines()) == 101


@pytest.mark.smoke
def test_a_page_of_the_worst_possible_lines_is_a_page(hub, rows):
    """Each character of a line becomes several in the page, each field two links that contain the query."""
    context = {f"{i:02d}" + "é" * 20: "\u202e" * 20 for i in range(24)}
    for i in range(100):
        add_line(rows, "\u202e" * 9000, context, vps="é" * 500, app="ü" * 500, logger="\u202e" * 9000,
                 ago_s=i + 1)
    for q in ("", "é" * 128, "-" + "é" * 1300):
        answer = hub.get("/logs", q=q)
        assert answer.status == 200, (q, hub.log()[-500:])


def test_long_names_are_cut_or_wrapped(hub, rows):
    vps, app, logger = "v" * 1500, "a" * 1000, "l" * 50_000
    add_agent(rows, vps, app)
    add_line(rows, "hello", {"a": 1}, vps, app, logger)
    line = hub.get("/logs", format="json").json["lines"][0]
    assert line["logger"] == "l" * 200 + "…" and line["vps"] == vps and whole(hub,
                                                                              line)[1]["logger"] == logger
    assert hub.get("/logs").status == 200 and hub.get("/").status == 200
    assert hub.get("/servers/" + vps).status == 200
    assert json.loads(hub.get("/logs", format="ndjson").text)["logger"] == logger


def test_a_name_is_whole_in_the_title_up_to_a_character(hub, rows):
    vps = "x" + "é" * 100
    add_agent(rows, vps)
    page = hub.get("/servers/" + "x" + "%C3%A9" * 100)
    assert page.status == 200 and re.search(r"<title>x(é+) - Observ</title>", page.text)
    add_agent(rows, "a/b")
    assert "<title>a/b - Observ</title>" in hub.get("/servers/a%2Fb").text


def test_a_server_with_large_values_has_a_page(hub, rows):
    add_agent(rows, state={"last_error": LONG, "outbox": {"trouble": LONG}})
    for i in range(400):
        rows.query("""INSERT INTO health_checks (timestamp, vps_name, app_name, url, success, error_class,
            error_message)
            VALUES (now(), 'big-1', 'shop', %s, %s, 'body',
                %s)""", f"http://h/{i}/" + "u" * 8000, i % 2 == 0, LONG)
    rows.query("""INSERT INTO gaps (timestamp, vps_name, app_name, kind, lines, bytes, detail)
        SELECT now() - interval '1 min', 'big-1', 'shop', 'kind ' || i, 1, 1, %s
            FROM generate_series(1, 60) i""", LONG)
    rows.query("""INSERT INTO rejects (timestamp, vps_name, app_name, sqlstate, reason, raw)
        SELECT now() - interval '1 min', 'big-1', 'shop', '22P02', %s, convert_to(%s, 'UTF8')
            FROM generate_series(1, 60) i""", LONG, LONG)
    add_line(rows, LONG)
    page, data = hub.get("/servers/big-1"), hub.get("/servers/big-1", format="json")
    assert page.status == 200 and data.status == 200, hub.log()[-500:]
    assert len(page.body) < 3_000_000 and len(data.body) < 2_000_000
    assert (data.json["checks_more"] == 200 and len(data.json["checks"]) == 200
            and "200 more checks" in page.text)
    assert not any(check["success"] for check in data.json["checks"]), "those that fail are listed first"
    assert data.json["gaps_more"] == 10 and "10 more kinds" in page.text
    assert len(list(csv.DictReader(io.StringIO(hub.get("/servers/big-1", format="csv").text)))) == 400
    assert hub.get("/").status == 200
    line, = data.json["lines"]
    assert (line["message"] == LONG[:400] and line["message_length"] == 100_000
            and "/logs/line?id=" in page.text)


def add_check(rows, url, interval_s, ago, success=False):
    rows.query("""INSERT INTO health_checks (timestamp, vps_name, app_name, url, success, error_class,
        interval_s)
        VALUES (now() - %s::interval, 'big-1', 'shop', %s, %s, 'refused', %s)""",
               ago, url, success, interval_s)
    rows.query("SELECT rebuild_latest()")


@pytest.mark.parametrize("interval_s, ago, state", [
    (None, "19 min", "down"), (None, "21 min", "unknown"), (60, "21 min", "unknown"), (600, "29 min", "down"),
    (600, "31 min", "unknown"), (3600, "55 min", "down"), (3600, "2 h 59 min", "down"),
    (3600, "3 h 1 min", None), (86400, "71 h", "down"), (86400, "73 h", None)])
def test_a_result_counts_for_three_intervals_of_its_check(hub, rows, interval_s, ago, state):
    """The fleet and the server's page say the same. None: the check is no longer listed."""
    add_agent(rows)
    add_check(rows, "http://a/", interval_s, ago)
    fleet = hub.get("/", format="json").json["servers"][0]
    assert fleet["state"] == ("down" if state == "down" else "up")
    assert fleet["checks"] == (1 if state == "down" else None)
    page = hub.get("/servers/big-1")
    checks = hub.get("/servers/big-1", format="json").json["checks"]
    assert [c["state"] for c in checks] == ([state] if state else [])
    rows_of = csv.DictReader(io.StringIO(hub.get("/servers/big-1", format="csv").text))
    assert [row["state"] for row in rows_of] == ([state] if state else [])
    assert state is None or f'<use href="#{state}"/>' in page.text


def test_the_last_result_of_a_rare_check_counts(hub, rows):
    add_agent(rows)
    add_check(rows, "http://a/", 3600, "2 h")
    add_check(rows, "http://a/", 3600, "1 h", success=True)
    add_check(rows, "http://b/", 3600, "2 h", success=True)
    add_check(rows, "http://b/", 3600, "5 min")
    fleet = hub.get("/", format="json").json["servers"][0]
    assert (fleet["state"], fleet["checks"], fleet["failing"]) == ("degraded", 2, 1)
    checks = {c["url"]: c["state"] for c in hub.get("/servers/big-1", format="json").json["checks"]}
    assert checks == {"http://a/": "up", "http://b/": "down"}


def test_many_applications_on_a_server_have_charts(hub, rows):
    for i in range(60):
        add_agent(rows, app=f"app-{i}")
    rows.query("""INSERT INTO vps_metrics (timestamp, vps_name, app_name, app_cpu_percent, app_memory_mb)
        SELECT now() - s * interval '1 min', 'big-1', 'app-' || i, i, i
            FROM generate_series(0, 59) i, generate_series(1, 60) s""")
    chart = next(c for c in hub.get("/servers/big-1", format="json").json["charts"] if c["id"] == "app_cpu")
    assert (len(chart["series"]) == 20 and chart["series_more"] == 40
            and "app-59" in [s["name"] for s in chart["series"]])
    assert "40 more" in hub.get("/servers/big-1").text


def test_a_line_too_large_for_a_page_says_where_it_is(either, rows):
    line = add_line(rows, "<" * 9_000_000)
    at = either.get("/logs", format="json").json["lines"][0]["timestamp"]
    answer = either.get("/logs/line", id=line, at=at)
    assert answer.status == 500 and "too much for one page" in answer.text and "format=ndjson" in answer.text
    assert "/logs/line: the page is larger than its limit" in either.log()
    assert (json.loads(either.get("/logs/line", id=line, at=at, format="ndjson").text)["message"]
            == "<" * 9_000_000)
    assert either.get("/logs").status == 200


def test_an_answer_beyond_the_limit_has_a_reason_in_the_log(either, rows):
    line = add_line(rows, "\\" * 20_000_000)
    at = either.get("/logs", format="json").json["lines"][0]["timestamp"]
    for form in ({}, {"format": "json"}):
        answer = either.get("/logs/line", id=line, at=at, **form)
        assert answer.status == 500 and "limit for a page" in answer.text
    assert re.search(r"answer of 4\d{7} bytes is larger than the limit of 33554432", either.log())
    assert len(either.get("/logs/line", id=line, at=at, format="csv").text) > 20_000_000


# ---- files ------------------------------------------------------------------------------------

def test_a_file_has_all_matches(either, rows):
    rows.query("""INSERT INTO log_entries (timestamp, vps_name, app_name, level, message)
        SELECT now() - i * interval '1 s', 'big-1', 'shop', 'INFO', 'match ' || i
            FROM generate_series(1, 350) i""")
    expected = [f"match {i}" for i in range(1, 351)]
    answer = either.get("/logs", q="match", format="csv")
    assert (answer.headers["Content-Disposition"] == 'attachment; filename="observ-logs.csv"'
            and answer.headers["Observ-Rows-Max"] == "100000")
    assert [row["message"] for row in csv.DictReader(io.StringIO(answer.text))] == expected
    answer = either.get("/logs", q="match", format="ndjson")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    lines = [json.loads(text) for text in answer.text.splitlines()]
    assert ([line["message"] for line in lines] == expected
            and all(re.fullmatch(r"20.*\+00:00", line["timestamp"]) for line in lines))
    last = lines[99]
    rest = either.get("/logs", q="match", format="ndjson",
                      before=f"{last['timestamp']},{last['id']},{last['vps']}")
    assert [json.loads(text)["message"] for text in rest.text.splitlines()] == expected[100:]
    assert either.get("/logs", q="no such thing", format="ndjson").body == b""
    head = either.get("/logs", method="HEAD", format="csv")
    assert head.status == 200 and head.body == b"" and head.headers["Content-Type"].startswith("text/csv")
    assert either.get("/", format="ndjson").status == 400


@pytest.mark.smoke
def test_values_of_a_file_are_exact(either, rows):
    message = "=1+1 \"quoted\", ünï \u202e\x1b[31m\n\tat x\r\n;"
    context = {"text": message, "big": 12345678901234567890123, "small": 1.10, "none": None, "list": [1, "2"]}
    add_line(rows, message, context, logger="-logger")
    row, = csv.DictReader(io.StringIO(either.get("/logs", format="csv").body.decode(), newline=""))
    assert (row["message"] == "'" + message and row["logger"] == "'-logger"
            and json.loads(row["context"]) == context)
    line = json.loads(either.get("/logs", format="ndjson").text)
    assert line["message"] == message and line["context"] == context and line["stream_id"] == 1


def test_a_file_ends_at_its_limit_and_says_so(either, rows):
    rows.query("""INSERT INTO log_entries (timestamp, vps_name, app_name, level, message)
        SELECT now() - i * interval '1 ms', 'big-1', 'shop', 'INFO', 'm' FROM generate_series(1, 100001) i""")
    lines = either.get("/logs", format="ndjson").text.splitlines()
    assert len(lines) == 100_001 and json.loads(lines[99_999])["message"] == "m"
    assert json.loads(lines[-1])["note"].startswith("Not complete: a file ends after 100000 rows or 256 MiB, "
                                                    "and there are more.")
    table = list(csv.reader(io.StringIO(either.get("/logs", format="csv").text)))
    assert len(table) == 100_002 and table[-1][0].startswith("# Not complete: a file ends after 100000 rows")
    assert {len(row) for row in table} == {10}
    listed = either.get("/logs", format="json", rows="all").json
    assert listed["limit"] == {"rows": 100_000, "bytes": 256 * 1024 * 1024}
    assert len(listed["lines"]) == listed["count"] == 100_000 and listed["complete"] is False
    narrow = either.get("/logs", format="csv", columns="message,ctx.a").text.splitlines()
    for note in (json.loads(lines[-1])["note"], table[-1][0], listed["note"], narrow[-1]):
        assert note.strip('"# ').startswith("Not complete: a file ends after 100000 rows"), note
        place = re.search(r"before=(\S+,\d+,big-1)", note)[1]
        rest = either.get("/logs", format="json", rows="all", before=place).json
        assert (rest["count"], rest["complete"], "note" in rest) == (1, True, False), note
    rows.query("DELETE FROM log_entries WHERE id = (SELECT max(id) FROM log_entries)")
    assert "Not complete" not in either.get("/logs", format="ndjson").text[-300:]


def test_a_json_file_has_all_matches_and_says_its_limit(either, rows):
    rows.query("""INSERT INTO log_entries (timestamp, vps_name, app_name, level, message, context)
        SELECT now() - i * interval '1 s', 'big-1', 'shop', 'INFO', 'match ' || i,
            '{"big": 12345678901234567890123}' FROM generate_series(1, 250) i""")
    answer = either.get("/logs", q="match", format="json", rows="all")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="observ-logs.json"'
    assert [line["message"] for line in answer.json["lines"]] == [f"match {i}" for i in range(1, 251)]
    assert answer.json["lines"][0]["context"] == {"big": 12345678901234567890123}
    assert (answer.json["complete"], answer.json["count"]) == (True, 250)
    none = either.get("/logs", q="no such thing", format="json", rows="all").json
    assert none == {"limit": {"rows": 100_000, "bytes": 256 * 1024 * 1024}, "lines": [], "count": 0,
                    "complete": True}
    line = answer.json["lines"][0]
    near = either.get("/logs/around", vps="big-1", app="shop", stream=1, offset=1, at=line["timestamp"],
                      format="json", rows="all")
    assert near.json["complete"] is True


def test_chosen_columns_are_those_of_page_and_files(either, rows):
    context = {"status": 500, "a b": "x, \"y\"", "user": {"name": "anna"}, "dots.in": True, "none": None,
               "big": 12345678901234567890123, "small": 1.10, "list": [1, "2"], "long": "l" * 3000}
    context |= {f"padding_{i}": i for i in range(30)}
    add_line(rows, "=first", context, ago_s=1)
    add_line(rows, "second", None, ago_s=2)
    keys = {"ctx.status": 500, 'ctx."a b"': 'x, "y"', "ctx.user.name": "anna", "ctx.dots.in": True,
            "ctx.none": None, "ctx.big": 12345678901234567890123, "ctx.small": 1.1, "ctx.list": [1, "2"],
            "ctx.long": "l" * 3000}
    columns = ",".join(["level", *keys, "message"])
    text = either.get("/logs", format="ndjson", columns=columns).text
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[0] == {"level": "INFO", **keys, "message": "=first"}
    assert lines[1] == {"level": "INFO", **dict.fromkeys(keys), "message": "second"}
    assert list(lines[0]) == ["level", *keys, "message"]
    assert either.get("/logs", format="json", rows="all", columns=columns).json["lines"] == lines
    table = list(csv.reader(io.StringIO(either.get("/logs", format="csv", columns=columns).text)))
    assert table[0] == ["level", *keys, "message"]
    assert table[1] == ["INFO", "500", 'x, "y"', "anna", "true", "null", "12345678901234567890123", "1.1",
                        '[1, "2"]', "l" * 3000, "'=first"]
    assert table[2] == ["INFO", *[""] * len(keys), "second"]
    page = either.get("/logs", format="json", columns=columns).json["lines"]
    assert page[1] == lines[1]
    assert page[0] | {"whole": 0, "context_length": 0} == lines[0] | {
        "ctx.long": "l" * 200 + "…", "whole": 0, "context_length": 0}, "cut as in the page, with a mark"
    text = either.get("/logs", columns=columns).text
    for part in ('<th scope="col">user.name<', ">anna</td>", ">12345678901234567890123</td>"):
        assert part in text
    for wrong in ("colour", "ctx.", ",".join(f"ctx.k{i}" for i in range(17))):
        assert either.get("/logs", columns=wrong).status == 400


@pytest.mark.parametrize("form", ["csv", "ndjson", "json&rows=all"])
def test_a_file_whose_database_fails_on_the_way_says_so(rows, form, tmp_path):
    (tmp_path / "hub.conf").write_text(ANONYMOUS)
    rows.query("""INSERT INTO log_entries (timestamp, vps_name, app_name, level, message)
        SELECT now() - i * interval '1 ms', 'big-1', 'shop', 'INFO', repeat('m', 20000)
            FROM generate_series(1, 1000) i""")
    environment = {"REQUEST_METHOD": "GET", "REQUEST_URI": f"/logs?format={form}",
                   "QUERY_STRING": f"format={form}", "SERVER_ADDR": "127.0.0.1",
                   "REMOTE_ADDR": "127.0.0.1", "OBSERV_DATABASE_URL": rows.url("hub"),
                   "OBSERV_HUB_CONFIG": str(tmp_path / "hub.conf")}
    with subprocess.Popen([FLEET_HUB], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        # then stop reading: the hub waits, with most rows still to come
        head = process.stdout.read(1000)
        rows.query("""SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
            WHERE application_name = 'fleet_hub' AND datname = current_database()""")
        rest, said = process.communicate(timeout=60)
    assert head.startswith(b"Status: 200 OK")
    lines = rest.decode().splitlines()
    assert len(lines) < 1000 and "Not complete: the database failed on the way" in lines[-1] and said


def test_every_server_is_in_the_file_of_the_fleet(hub, rows):
    rows.query("""INSERT INTO agents (vps_name, app_name, epoch, version, interval_s, first_seen_at,
        last_seen_at)
        SELECT 'many-' || i, 'shop', 1, '0.1.0', 60, now(), now() FROM generate_series(1, 350) i""")
    assert len(list(csv.DictReader(io.StringIO(hub.get("/", format="csv").text)))) == 350
    assert len(hub.get("/", format="json").json["servers"]) == 350


def test_the_surrounding_lines_are_whole_in_a_file(hub, rows):
    ids = [add_line(rows, f"{i} {LONG}", ago_s=100 - i) for i in range(50)]
    line = hub.get("/logs", format="json").json["lines"][25]
    query = {"vps": "big-1", "app": "shop", "stream": 1, "offset": line["stream_offset"],
             "at": line["timestamp"]}
    assert hub.get("/logs/around", **query).status == 200
    lines = [json.loads(x) for x in hub.get("/logs/around", **query, format="ndjson").text.splitlines()]
    assert [x["id"] for x in lines] == ids and all(len(x["message"]) > 100_000 for x in lines)
    assert len(list(csv.DictReader(io.StringIO(hub.get("/logs/around", **query, format="csv").text)))) == 50


# ---- text, times, numbers --------------------------------------------------------------------------

@pytest.mark.parametrize("sign", ["\u202e", "\u202a", "\u2066", "\u2069", "\u200f", "\u061c", "\u200b",
                                  "\u0085", "\ufeff", "\U000e0041"])
def test_characters_that_turn_or_hide_text_are_shown_everywhere(hub, rows, sign):
    odd = f"a{sign}b"
    add_agent(rows, odd, odd, {"last_error": odd, "outbox": {"trouble": odd},
                               "tail": {"troubles": [{"path": odd, "why": odd}]}})
    line = add_line(rows, odd, {odd: odd}, odd, odd, odd)
    rows.query("""INSERT INTO health_checks (timestamp, vps_name, app_name, url, success, error_class,
        error_message)
        VALUES (now(), %s, %s, %s, false, %s, %s)""", odd, odd, odd, odd, odd)
    rows.query("SELECT rebuild_latest()")
    rows.query(
        "INSERT INTO gaps (timestamp, vps_name, app_name, kind, detail) VALUES (now(), %s, %s, %s, %s)", odd,
        odd, odd, odd)
    rows.query("INSERT INTO log_streams SELECT %s, %s, 1, %s, 'f', '', '', 1, false, now()", odd, odd, odd)
    found = hub.get("/logs", format="json").json["lines"][0]
    assert found["message"] == odd
    shown = f"a⟨U+{ord(sign):04X}⟩b"
    for path, query in [("/", {}), ("/logs", {}), ("/logs", {"q": odd}),
                        ("/servers/" + "".join(f"%{b:02X}" for b in odd.encode()), {}),
                        ("/logs/line", {"id": line, "at": found["timestamp"]}), ("/logs", {"from": odd}),
                        ("/", {"q": odd}),
                        ("/logs/around", {"vps": odd, "app": odd, "stream": 1,
                                          "offset": found["stream_offset"], "at": found["timestamp"]})]:
        page = hub.get(path, **query)
        assert page.status == (400 if "from" in query else 200), hub.log()[-500:]
        assert sign not in page.text and shown in page.text, (path, query)


@pytest.mark.parametrize("path", ["/logs", "/servers/big-1"])
def test_every_form_of_time_that_the_hub_prints_is_accepted(hub, rows, path):
    add_agent(rows)
    add_line(rows)
    data = hub.get(path, format="json").json
    at = data["lines"][0].get("timestamp") or data["lines"][0]["at"]
    year, month, day, clock = time.strftime("%Y %m %d %H:%M:%S", time.gmtime(time.time() - 60)).split()
    forms = [data["time"], data["from"], at, f"{year}-{month}-{day}T{clock}+00:00",
             f"{year}-{month}-{day}T{clock}Z",
             f"{year}-{month}-{day}T{clock}+0530", f"{year}-{month}-{day} {clock}",
             f"{year}-{month}-{day}T{clock[:5]}", f"{year}-{month}-{day}",
             f"{month}-{day} {clock}.250", clock, str(int(time.time()) - 60),
             str(int(time.time() - 60) * 1000), time.strftime("%b %d %H:%M", time.gmtime(time.time() - 60))]
    for form in forms:
        assert hub.get(path, **{"from": form}).status == 200, form
    raw = hub.get(f"{path}?format=json&from={year}-{month}-{day}T{clock}+00:00")
    assert raw.status == 200 and raw.json["from"][:16] <= f"{year}-{month}-{day}T{clock}"[:16]
    for none in ["yesterday?", "2026-13-01", "12", "2026-11-30T25:00:00Z"]:
        answer = hub.get(path, to=none)
        assert answer.status == 400 and f"“{none}”" not in answer.text
        assert (f"&quot;{none}&quot; cannot be read as &quot;to&quot;: write it as 2026-11-30T06:00:00Z"
                in answer.text)
    answer = hub.get(path, **{"from": "2026-01-02", "to": "2026-01-01"})
    assert answer.status == 400 and "which is not later than its beginning" in answer.text


def numbers(text):
    """The numbers of a JSON text, as text."""
    return re.findall(r"[:\[,]\s*(-?[0-9][0-9.eE+-]*)", re.sub(r'"(\\.|[^"\\])*"', '""', text))


def test_no_number_has_zeros_at_its_end(hub, rows):
    add_agent(rows)
    rows.query("""INSERT INTO vps_metrics (timestamp, vps_name, app_name, cpu_percent, load_avg_1m,
            psi_cpu_percent, memory_percent, memory_total_mb,
            disk_total_gb, app_cpu_percent, app_memory_mb, net_rx_bytes_per_s, net_tx_bytes_per_s)
        SELECT now() - s * interval '1 min', 'big-1', 'shop', 10, 7.5, 8, 50.1, 8000, 160, 1.5, 300, 1000, 0
            FROM generate_series(0, 50) s""")
    rows.query("""INSERT INTO health_checks (timestamp, vps_name, app_name, url, success, response_time_ms)
        VALUES (now(), 'big-1', 'shop', 'http://h/', true, 20)""")
    for i in range(7):
        add_line(rows, level="ERROR", ago_s=i + 1)
    for path in ("/", "/servers/big-1", "/logs"):
        text = hub.get(path, format="json").text
        assert [n for n in numbers(text) if re.search(r"\.\d*0$", n)] == [], path
    page = hub.get("/servers/big-1").text
    assert re.findall(r'<span class="hi">([^<]*)</span>', page)[:4] == ["100", "100", "10", "10"]
    assert not re.search(r"\d\.\d*0000", page)


# ---- logs that cannot be read ------------------------------------------------------------------------

def test_a_log_that_cannot_be_read_is_on_both_pages(hub, rows):
    add_agent(rows, state={"tail": {"troubles": [{"path": f"/var/log/{i}.log", "why": "Permission denied"}
                                                 for i in range(8)]}})
    add_agent(rows, vps="fine-1", state={"tail": {"troubles": []}})
    page, data = hub.get("/servers/big-1").text, hub.get("/servers/big-1", format="json").json
    agent, = data["agents"]
    assert agent["unreadable"][0] == {"path": "/var/log/0.log", "why": "Permission denied"}
    assert len(agent["unreadable"]) == 5 and agent["unreadable_more"] == 3 and agent["state"] == "degraded"
    assert "cannot read /var/log/0.log: Permission denied" in page and "and 3 more logs" in page
    servers = {server["vps"]: server for server in hub.get("/", format="json").json["servers"]}
    assert servers["big-1"]["state"] == "degraded" and servers["fine-1"]["state"] == "up"
    assert "8 logs cannot be read: /var/log/0.log: Permission denied" in hub.get("/").text
