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
		jsonb_build_object('ms', n %% 900, 'user_id', n %% 5000)
	FROM generate_series(1, %s) n"""
LINES = 30_000
TREES = [
    {}, {"text": "took", "quoted": False}, {"text": "timeout", "quoted": False},
    {"text": "absent", "quoted": False}, {"text": "GET /v1/orders", "quoted": True},
    {"text": "!!!!", "quoted": False}, {"levels": ["ERROR"]},
    {"column": "app_name", "op": "=", "value": "app3"}, {"column": "vps_name", "op": "=", "value": "v3"},
    {"column": "app_name", "op": "^", "value": "app3*"},
    {"column": "logger", "op": "=", "value": "com.example.Svc3"},
    {"context": "user_id", "op": "=", "value": "123"}, {"context": "ms", "op": ">", "value": "880"},
    {"and": [{"column": "app_name", "op": "=", "value": "app3"}, {"text": "timeout", "quoted": False}]},
    {"or": [{"column": "app_name", "op": "=", "value": "app3"}, {"text": "timeout", "quoted": False}]},
    {"not": {"text": "took", "quoted": False}},
]


@pytest.fixture(scope="module")
def plans(cluster):
    """Run a search; the plans of all that it executes."""
    database = cluster.new_database()
    database.query(SEED, LINES)
    connection = psycopg2.connect(database.url("postgres"))
    connection.autocommit = True
    cursor = connection.cursor()
    for setup in ("VACUUM ANALYZE observ.log_entries", "LOAD 'auto_explain'",
                  "SET auto_explain.log_min_duration = 0", "SET auto_explain.log_nested_statements = on",
                  "SET auto_explain.log_analyze = on", "SET auto_explain.log_timing = off",
                  "SET auto_explain.log_format = json", "SET client_min_messages = log",
                  "SET search_path = observ, pg_catalog"):
        cursor.execute(setup)

    def run(tree, days):
        del connection.notices[:]
        cursor.execute("SELECT count(*) FROM found_lines(%s, now() - %s * interval '1 day', now(), %s)",
                       (json.dumps(tree), days, PAGE))
        found = [json.loads(notice[notice.index("{"):notice.rindex("}") + 1])
                 for notice in connection.notices if "Query Text" in notice]
        return [p for p in found if "log_entries" in p["Query Text"]]

    yield run
    connection.close()
    database.close()


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
