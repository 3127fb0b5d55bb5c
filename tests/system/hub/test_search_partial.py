"""A search that no index answers looks as far as its time allows, says how far, and goes on from there."""
import html
import json
import re
import time

import pytest

from hub_server import Hub
from search_lines import CLOCK

BUDGET, COUNT_BUDGET = "0.25 s", "0.2 s"
SECONDS = 5
SEED = """INSERT INTO log_entries (timestamp, vps_name, app_name, level, message)
	SELECT now() - n * interval '1 s' - interval '2 h', 'v', 'slow', 'INFO', 'größe über ' || n
	FROM generate_series(1, %s) n"""
NEAR = """INSERT INTO log_entries (timestamp, vps_name, app_name, level, message)
	SELECT now() - n * interval '1 s' - interval '%s h', 'v', 'near', 'INFO', '!!!! ' || n
	FROM generate_series(1, 5) n"""


@pytest.fixture(scope="module")
def hub(cluster, tmp_path_factory):
    database = cluster.new_database()
    for most, limit in ((20000, "5 s"), (100001, "10 s")):          # a page asks twice, a file once
        assert database.one("SELECT search_budget(%s) < interval %s", most, limit)
    assert database.one("SELECT count_budget() < search_budget(100)")
    for function, budget in (("search_budget(p_max int)", BUDGET), ("count_budget()", COUNT_BUDGET)):
        database.query(f"CREATE OR REPLACE FUNCTION {function} RETURNS interval "
                       f"LANGUAGE sql IMMUTABLE RETURN interval '{budget}'")
    database.query(CLOCK)
    database.query(f"ALTER DATABASE {database.name} SET max_parallel_workers_per_gather = 0")
    database.query(SEED, 2000)
    database.query(NEAR, 1)
    database.query(NEAR, 20)
    server = Hub(tmp_path_factory.mktemp("hub"), database.url("postgres"), "fastcgi").start()
    yield server
    server.stop()
    database.drop()


def asked(hub, **params):
    began = time.monotonic()
    answer = hub.get("/logs", range="24h", **params)
    assert answer.status == 200 and time.monotonic() - began < SECONDS
    return answer


@pytest.mark.parametrize("q", ["!!!!", "!!!! OR ctx.ms>5", "NOT ctx.a=1 !!!!", '"größe !!!!" OR !!!!'])
def test_a_search_that_takes_too_long_says_how_far_it_looked(hub, q):
    answer = asked(hub, q=q, format="json").json
    assert [line["message"] for line in answer["lines"]] == [f"!!!! {n}" for n in range(1, 6)]
    assert answer["looked_back_to"] < answer["lines"][-1]["timestamp"]
    assert answer["looked_back_to"] <= answer["counted_since"]      # counts have less time than lines
    assert answer["older"] and not answer["looked_on_to"]


def test_the_page_says_it_and_goes_on_from_there(hub):
    answer = asked(hub, q="!!!!").text
    assert re.search(r"Looked back to [^;]*; older lines were not searched. Narrow the search or the range.",
                     re.sub("<[^>]*>", "", answer))
    assert "Between" not in answer and 'rel="next"' in answer
    first = asked(hub, q="!!!!", format="json").json
    second = asked(hub, q="!!!!", format="json", before=first["older"]).json
    assert second["lines"] == [] and second["looked_back_to"] < first["looked_back_to"]
    empty = asked(hub, q="!!!!", before=first["older"]).text
    assert "No line matches so far" in empty and "before=" in html.unescape(empty)
    newer = asked(hub, q="!!!!", format="json", after=second["older"]).json
    assert newer["lines"] or newer["looked_on_to"] > second["looked_back_to"]


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_a_file_says_it_in_its_last_line(hub, form):
    *lines, last = asked(hub, q="!!!!", format=form).text.splitlines()
    assert "Not complete: looked back to 20" in last
    if form == "ndjson":
        assert json.loads(last).keys() == {"note"} and "note" not in json.loads(lines[0])
    assert "note" not in lines[0] and len(lines) == 5 + (form == "csv")


def test_an_index_still_answers_the_whole_range(hub):
    answer = asked(hub, q="app:near", format="json").json
    assert len(answer["lines"]) == 10 and not answer["looked_back_to"] and not answer["counted_since"]
