"""Histogram and facets: exact for few lines, a bounded sample of many, which says that it is one."""
import time

import pytest

from hub_server import Hub
from search_lines import CLOCK

LINES, DAYS = 120_000, 4
BURST = 20_000
SECONDS = 3
COUNT_BUDGET = """CREATE OR REPLACE FUNCTION count_budget() RETURNS interval LANGUAGE sql IMMUTABLE
    RETURN interval '%s'"""
SEED = """INSERT INTO log_entries (timestamp, vps_name, app_name, level, logger, message)
    SELECT CASE WHEN n > %(lines)s - %(burst)s THEN now() - interval '30 h' + n %% 1200 * interval '1 s'
            ELSE now() - n * interval '%(days)s days' / (%(lines)s - %(burst)s) END, 'v' || n %% 50, 'app'
                || n %% 10,
        CASE WHEN n %% 20 = 0 THEN 'ERROR' WHEN n %% 10 = 3 THEN 'WARNING' ELSE 'INFO' END, 'l' || n %% 3,
        CASE WHEN n %% 4 = 0 THEN 'quarter' ELSE 'other' END ||
            CASE WHEN n %% 400 = 0 THEN ' seldom' ELSE '' END || ' !!!'
    FROM generate_series(1, %(lines)s) n"""


@pytest.fixture(scope="module")
def lines(cluster):
    database = cluster.new_database()
    database.query("SELECT make_partition('log_entries', (now() AT TIME ZONE 'UTC')::date - n) "
                   "FROM generate_series(3, 5) n")
    database.query(SEED % {"lines": LINES, "burst": BURST, "days": DAYS})
    database.query(COUNT_BUDGET % "20 s")              # a busy machine changes no count
    database.query("VACUUM ANALYZE log_entries")
    database.query(f"ALTER DATABASE {database.name} SET max_parallel_workers_per_gather = 0")  # for CLOCK
    yield database
    database.drop()


@pytest.fixture(scope="module")
def hub(lines, tmp_path_factory):
    server = Hub(tmp_path_factory.mktemp("hub"), lines.url("postgres"), "fastcgi").start()
    yield server
    server.stop()


def counts(hub, q="", **query):
    answer = hub.get("/logs", format="json", q=q, **{"range": "7d", **query})
    assert answer.status == 200, answer.text + hub.log()[-1000:]
    return answer.json


@pytest.mark.parametrize("q, where", [("seldom", "message LIKE '%% seldom%%'"), ("seldom app:app0", "false"),
                                      ("absent", "false"), ("seldom vps:v0", "message LIKE '%% seldom%%' AND "
                                                            "vps_name = 'v0'")])
def test_few_lines_are_counted_each(hub, lines, q, where):
    data = counts(hub, q)
    if where != "false" or q == "absent":
        assert data["count"] == lines.count("log_entries", where)
    assert data["estimated"] is False and data["counted_since"] is None
    assert sum(bar["n"] for bar in data["histogram"] or []) == data["count"]


@pytest.mark.parametrize("q, part", [("", 1), ("quarter", 0.25), ("!!!", 1), ("level:error", 0.05),
                                     ("app:app3", 0.1), ("-quarter", 0.75), 
                                     ("level:error OR app:app3", 0.15)])
def test_the_sample_of_many_lines_is_near(hub, q, part):
    data = counts(hub, q)
    expected = LINES * part
    assert data["estimated"] is True
    assert abs(data["count"] - expected) < 0.2 * expected + 300
    assert abs(sum(bar["n"] for bar in data["histogram"]) - data["count"]) < 100
    apps = next(f for f in data["facets"] if f["field"] == "app")["values"]
    if q == "":
        assert all(abs(v["n"] - LINES / 10) < 0.3 * LINES / 10 for v in apps) and len(apps) == 10


def test_a_sample_without_a_match_is_no_exact_count(lines, tmp_path):
    """A third of the time is enough for a sixth of the lines; of the others a sample is looked at."""
    lines.query(CLOCK)
    lines.query(COUNT_BUDGET % "60 s")
    hub = Hub(tmp_path, lines.url("postgres"), "cgi").start()
    try:
        data = counts(hub, "???", range="7d")
    finally:
        hub.stop()
        lines.query("DROP FUNCTION observ.clock_timestamp()")
        lines.query(COUNT_BUDGET % "20 s")
    assert data["count"] == 0 and data["estimated"] is True and data["counted_since"] is None


def test_a_burst_is_in_the_histogram(hub):
    bars = counts(hub)["histogram"]
    top = max(bars, key=lambda bar: bar["n"])
    usual = sorted(bar["n"] for bar in bars)[len(bars) // 2]
    assert top["n"] > 4 * usual and 0.5 * BURST < top["n"] < 2 * BURST


def test_the_page_says_that_it_estimates(hub):
    assert "about" in hub.get("/logs", range="7d").text and "about" not in hub.get("/logs", range="7d",
                                                                                   q="seldom").text


@pytest.mark.smoke
def test_a_page_can_be_had_without_counts(hub):
    data, page = counts(hub, counts="no"), hub.get("/logs", range="7d", counts="no").text
    assert len(data["lines"]) == 100 and "histogram" not in data and "facets" not in data
    assert 'class="hist"' not in page and 'class="facets"' not in page and "Histogram and filters" in page


def test_counts_that_take_too_long_say_since_when(hub, lines):
    lines.query(COUNT_BUDGET % "0.05 s")
    lines.query("""INSERT INTO log_entries (timestamp, vps_name, app_name, level, message)
        SELECT now() - n * interval '1 s', 'slow', 'slow', 'INFO', repeat('größe über ', 5000)
        FROM generate_series(1, 200) n""")
    try:
        began = time.monotonic()
        data = counts(hub, '"größe !!!"', range="1h")
        assert time.monotonic() - began < SECONDS + 3       # the lines of the page have their own time
        assert data["counted_since"] and data["counted_since"] > data["from"]
        assert "counted since" in hub.get("/logs", range="1h", q='"größe !!!"').text
    finally:
        lines.query("DELETE FROM log_entries WHERE app_name = 'slow'")
        lines.query(COUNT_BUDGET % "20 s")
