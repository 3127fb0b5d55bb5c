"""The plans of found_lines() for each class of query: by an index, and never a sort of more than the page."""
import json

import psycopg2
import pytest

PAGE = 101
SEED = """INSERT INTO log_entries (timestamp, vps_name, app_name, level, logger, message, context)
	SELECT date_trunc('hour', now()) - n * interval '20 s', 'v' || n %% 20, 'app' || n %% 10,
		(ARRAY['INFO', 'INFO', 'INFO', 'WARNING', 'ERROR'])[1 + n %% 5], 'com.example.Svc' || n %% 7,
		format('GET /v1/orders/%%s took %%s ms%%s', n, n %% 900,
			CASE WHEN n %% 33 = 0 THEN ' timeout' END),
		jsonb_build_object('ms', n %% 900, 'user_id', n %% 5000, 'status', n %% 5, 'ok', n %% 3 = 0,
			'tags', jsonb_build_array('a', 'b' || n %% 9))
	FROM generate_series(1, %s) n"""
LINES = 30_000
# A server and an application with few lines, between those of the others. The last of them are a day old.
QUIET = """INSERT INTO log_entries (timestamp, vps_name, app_name, level, logger, message, context)
	SELECT now() - interval '1 day' - n * interval '1 h', 'quiet', 'rare', 'INFO', 'com.example.Quiet',
		'GET /v1/orders took 1 ms', '{"status": 77, "ms": 1}' FROM generate_series(1, 40) n"""
TREES = [
    {}, {"text": "took", "quoted": False}, {"text": "timeout", "quoted": False},
    {"text": "absent", "quoted": False}, {"text": "GET /v1/orders", "quoted": True},
    {"text": "!!!!", "quoted": False}, {"levels": ["ERROR"]},
    {"column": "app_name", "op": "=", "value": "app3"}, {"column": "vps_name", "op": "=", "value": "v3"},
    {"column": "app_name", "op": "^", "value": "app3*"},
    {"column": "logger", "op": "=", "value": "com.example.Svc3"},
    {"context": "user_id", "op": "=", "value": "123"}, {"context": "ms", "op": ">", "value": "880"},
    {"context": "status", "op": "=", "value": "1"}, {"context": "status", "op": "=", "value": "77"},
    {"context": "ok", "op": "=", "value": "true"}, {"context": "tags", "op": "=", "value": "b3"},
    {"context": "status", "op": "=*", "value": ""}, {"context": "nokey", "op": "=*", "value": ""},
    {"context": "status", "op": "^", "value": "7*"}, {"context": "ms", "op": "<", "value": "0"},
    {"and": [{"column": "vps_name", "op": "=", "value": "quiet"}, {"text": "took", "quoted": False}]},
    {"and": [{"column": "vps_name", "op": "=", "value": "v3"},
             {"context": "status", "op": "=", "value": "1"}]},
    {"and": [{"column": "app_name", "op": "=", "value": "app3"}, {"text": "timeout", "quoted": False}]},
    {"or": [{"column": "app_name", "op": "=", "value": "app3"}, {"text": "timeout", "quoted": False}]},
    {"not": {"text": "took", "quoted": False}},
]


@pytest.fixture(scope="module")
def plans(cluster):
    """Run a search; the plans of all that it executes."""
    database = cluster.new_database()
    database.query(SEED, LINES)
    database.query(QUIET)
    connection = psycopg2.connect(database.url("postgres"))
    connection.autocommit = True
    cursor = connection.cursor()
    for setup in ("VACUUM ANALYZE observ.log_entries", "LOAD 'auto_explain'",
                  "SET auto_explain.log_min_duration = 0", "SET auto_explain.log_nested_statements = on",
                  "SET auto_explain.log_analyze = on", "SET auto_explain.log_timing = off",
                  "SET auto_explain.log_format = json", "SET client_min_messages = log",
                  "SET search_path = observ, pg_catalog"):
        cursor.execute(setup)

    def run(tree, days, until="now()"):
        del connection.notices[:]
        cursor.execute(f"""SELECT count(*) FROM (SELECT {until} AS until) t,
            found_lines(%s, until - %s * interval '1 day', until, %s)""", (json.dumps(tree), days, PAGE))
        found = [json.loads(notice[notice.index("{"):notice.rindex("}") + 1])
                 for notice in connection.notices if "Query Text" in notice]
        return [p for p in found if "log_entries" in p["Query Text"]]

    yield run
    connection.close()
    database.drop()


def nodes(plan):
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def sorts_a_page(node):
    return node.get("Sort Method", "top-N heapsort") == "top-N heapsort" or node["Actual Rows"] <= PAGE


@pytest.mark.parametrize("days", [1, 7])
@pytest.mark.parametrize("tree", TREES, ids=json.dumps)
def test_an_index_answers_and_no_sort_is_larger_than_the_page(plans, tree, days):
    executed = plans(tree, days)
    assert executed
    for plan in executed:
        for node in nodes(plan["Plan"]):
            if node["Node Type"] == "Seq Scan":         # an empty partition has no better plan
                assert node["Actual Rows"] + node.get("Rows Removed by Filter", 0) == 0, plan
            if "Sort" in node["Node Type"]:
                assert sorts_a_page(node), plan


def looked_at(executed):
    """How many lines these plans read."""
    return sum((node["Actual Rows"] + node.get("Rows Removed by Filter", 0) +
                node.get("Rows Removed by Index Recheck", 0)) * node.get("Actual Loops", 1)
               for plan in executed for node in nodes(plan["Plan"]) if "Scan" in node["Node Type"])


FEW = [{"column": "vps_name", "op": "=", "value": "quiet"},
       {"column": "app_name", "op": "=", "value": "rare"},
       {"and": [{"column": "vps_name", "op": "=", "value": "quiet"}, {"text": "took", "quoted": False}]},
       {"and": [{"column": "app_name", "op": "=", "value": "rare"},
                {"not": {"text": "absent", "quoted": False}}]},
       {"and": [{"column": "vps_name", "op": "=", "value": "quiet"},
                {"context": "ms", "op": "<", "value": "5"}]}]


@pytest.mark.parametrize("tree", FEW, ids=json.dumps)
def test_the_lines_of_one_server_or_application_never_walk_those_of_the_others(plans, tree):
    assert looked_at(plans(tree, 7)) < 10 * 40


MANY = [{"text": "took", "quoted": False}, {"text": "orders*", "quoted": False},
        {"context": "ok", "op": "=", "value": "true"}]


# The newest line is at a full hour. All of this is a time of the search, and none of the clock.
@pytest.mark.parametrize("minutes", [1, 8, 40, 59, 600])
@pytest.mark.parametrize("tree", MANY, ids=json.dumps)
def test_the_lines_that_are_read_do_not_depend_on_how_long_ago_the_newest_line_was(plans, tree, minutes):
    hour = "date_trunc('hour', now())"
    assert looked_at(plans(tree, 7, f"{hour} + interval '{minutes} min'")) == looked_at(plans(tree, 7, hour))


@pytest.mark.parametrize("at", ["00:00", "00:01", "00:30", "08:10", "12:00", "22:08", "22:40", "23:59"])
@pytest.mark.parametrize("tree", MANY, ids=json.dumps)
def test_what_many_lines_have_is_found_without_reading_many_more_at_any_time_of_day(plans, tree, at):
    day = f"(date_trunc('day', now() AT TIME ZONE 'UTC') - interval '1 day' + time '{at}') AT TIME ZONE 'UTC'"
    assert looked_at(plans(tree, 7, day)) < 12 * PAGE
