"""The plans of the pages: facts are read by an index, whatever else is joined to them."""
import json
import re

import psycopg2
import pytest
import seed_fleet

from hub_server import HUB_QUERIES

FACTS = re.compile(r"(vps_metrics|health_checks|log_entries|gaps|rejects|metrics_5m|metrics_1h)"
                   r"(_\d{8}|_default)?$")
AGENTS = 400
LINES = 40_000
FEW = LINES // 100              # right after midnight the day's partition is so small that no index pays
SEARCH = [json.dumps(tree) for tree in ({}, {"text": "timeout", "quoted": False},
                                        {"column": "vps_name", "op": "=", "value": "srv-0003"},
                                        {"context": "user_id", "op": "=", "value": "42"})]
HOURS = [(1, 3600), (24, 86400), (168, 604800), (2160, 7776000)]
NONE = [None] * 7
PAGES = ([("fleet", ["", "", sort, size, "1", view, "", "", "", "0", group, "", ""])
          for sort, group in (("", ""), ("cpu", ""), ("", "team")) for size in ("0", "1000", None)
          for view in ("", "wall")]
         + [(page, ["srv-0003", None, None, str(seconds)]) for page in ("server", "checks", "losses")
            for _, seconds in HOURS]
         + [("delivery", ["srv-0003"])]
         + [(page, [tree, None, None, str(seconds), *more]) for tree in SEARCH for _, seconds in HOURS[:3]
            for page, more in (("logs", NONE), ("logs_counts", []))]
         + [("line", ["7", "2026-01-01T00:00:00Z"]), ("around", ["srv-0003", "app-0", "1", "230",
                 "2026-01-01T00:00:00Z"])])


@pytest.fixture(scope="module")
def plans(cluster):
    """Run a page's query; the plans of all that it executes."""
    database = cluster.new_database()
    seed_fleet.seed_many(database, AGENTS)
    seed_fleet.seed_lines(database, LINES, 3 * 86400)
    database.query("SELECT maintain()")
    connection = psycopg2.connect(database.url("postgres"))
    connection.autocommit = True
    cursor = connection.cursor()
    for setup in ("VACUUM ANALYZE", "LOAD 'auto_explain'", "SET auto_explain.log_min_duration = 0",
                  "SET auto_explain.log_nested_statements = on", "SET auto_explain.log_analyze = on",
                  "SET auto_explain.log_timing = off", "SET auto_explain.log_format = json",
                  "SET search_path = observ, pg_catalog", "SET plan_cache_mode = force_custom_plan"):
        cursor.execute(setup)

    def run(page, parameters):
        file, = (p for p in HUB_QUERIES if p.stem == page)
        sql = file.read_text()
        cursor.execute("DEALLOCATE ALL")
        cursor.execute(f"PREPARE page AS {sql}")
        del connection.notices[:]
        cursor.execute("SET client_min_messages = log")
        cursor.execute(f"EXECUTE page ({', '.join(['%s'] * len(parameters))})", parameters)
        cursor.execute("SET client_min_messages = notice")
        return [json.loads(notice[notice.index("{"):notice.rindex("}") + 1])
                for notice in connection.notices if "Query Text" in notice]

    yield run
    connection.close()
    database.drop()


def nodes(plan):
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


@pytest.mark.parametrize("page, parameters", PAGES, ids=lambda v: v if isinstance(v,
        str) else " ".join(map(str, v))[:40])
def test_no_page_reads_all_facts(plans, page, parameters):
    executed = plans(page, parameters)
    assert executed
    for plan in executed:
        for node in nodes(plan["Plan"]):
            if node["Node Type"] == "Seq Scan" and FACTS.match(node["Relation Name"]):
                read = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
                assert read < FEW, (node["Relation Name"], read)
