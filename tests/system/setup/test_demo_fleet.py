"""The servers of `make demo` that do not exist: what examples/demo/fleet.sql writes, without the demo."""
import datetime

import pytest
from harness import TOP, run
from hub_server import Hub

FACTS = {"vps_metrics": "cpu_percent, memory_percent, disk_percent, app_memory_mb, details",
         "health_checks": "url, success, status_code, response_time_ms, error_class",
         "log_entries": "level, logger, message, context"}
EVENING = datetime.datetime(2026, 1, 15, 20, tzinfo=datetime.timezone.utc)


class Fleet:
    def __init__(self, database):
        self.db = database
        run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database.url("postgres"), "-f",
            TOP / "examples/demo/fleet.sql")
        database.query("SELECT simulated.make_days()")
        self.began = database.query("SELECT now()")[0][0]

    def advance(self, before_s=0):
        self.db.query("SELECT simulated.advance(%s, %s)", self.began,
                      self.began - datetime.timedelta(seconds=before_s))

    def rows(self, table, columns, hours):
        return self.db.query(f"SELECT timestamp, vps_name, app_name, {columns} FROM {table} "
                             "WHERE timestamp > %s ORDER BY 1, 2, 3, 4, 5",
                             self.began - datetime.timedelta(hours=hours))

    def last(self, hours):
        return {table: self.rows(table, columns, hours) for table, columns in FACTS.items()}


@pytest.fixture(scope="module")
def fleet(cluster):
    database = cluster.new_database()
    made = Fleet(database)
    made.advance()
    database.query("SELECT simulated.judge_story(%s)", made.began)
    yield made
    database.drop()


@pytest.fixture(scope="module")
def hub(fleet, cluster, tmp_path_factory):
    fleet.db.query("""DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hub') THEN
        CREATE ROLE hub LOGIN IN ROLE observ_hub; END IF; END $$""")
    server = Hub(tmp_path_factory.mktemp("hub"), fleet.db.url("hub"), "fastcgi").start()
    yield server
    server.stop()


def test_every_row_is_marked_as_simulated(fleet):
    for table in ("agents", "log_streams", "servers", *FACTS):
        rows, marked = fleet.db.query(f"SELECT count(*), count(*) FILTER (WHERE vps_name LIKE "
                                      f"'%%.simulated') FROM {table}")[0]
        assert rows > 0 and rows == marked, table


def test_the_rows_are_in_the_partitions_of_their_days(fleet):
    for table in FACTS:
        assert fleet.db.query(f"SELECT count(*) FROM {table}_default")[0][0] == 0
        days, = fleet.db.query(f"SELECT count(DISTINCT tableoid) FROM {table}")[0]
        assert days >= 7, table


def test_a_newcomer_sees_each_state(hub):
    page = hub.get("/", format="json").json
    states = {server["vps"].split(".")[0]: server["state"] for server in page["servers"]}
    assert len(states) >= 8 and {"down", "offline", "degraded", "up"} <= set(states.values())
    apps = {app["app"]: app for server in page["servers"] for app in server["apps"]}
    assert apps["reports"]["why"].startswith("silent for ")
    assert any("disk" in server["why"] for server in page["servers"])
    assert page["counts"]["failing"] > 0 and page["counts"]["errors_per_min"] > 0


def test_servers_have_labels(hub):
    found = hub.get("/servers", format="json", environment="staging", tag="simulated").json
    assert "staging-1.simulated" in str(found) and "web-1.simulated" not in str(found)


def test_charts_of_a_week_have_no_hole(hub):
    page = hub.get("/servers/web-1.simulated", format="json", range="7d").json
    for chart in page["charts"]:
        for series in chart["series"]:
            known = [value is not None for value in series["avg"]]
            assert all(known[2:-2]), (chart["id"], series["name"])
    cpu = next(chart for chart in page["charts"] if chart["id"] == "cpu")["series"][0]["avg"]
    assert max(cpu[2:-2]) > 2 * min(cpu[2:-2]), "no difference between day and night"


def test_no_page_says_lost(hub, fleet):
    for name, in fleet.db.query("SELECT DISTINCT vps_name FROM agents"):
        page = hub.get(f"/servers/{name}", format="json").json
        assert not page["losses"] and page["mounts"], name
        assert all(agent["lost"] == 0 and agent["pending"] == 0 for agent in page["agents"]), name


def test_a_certificate_is_near_its_end(hub):
    checks = hub.get("/servers/edge-1.simulated", format="json").json["checks"]
    assert [check["cert_days"] for check in checks if check["cert_soon"]] == [9]


def test_a_release_is_followed_by_errors_until_it_is_rolled_back(hub):
    def found(**query):
        return hub.get("/logs", format="json", **query).json

    told = {line["message"]: line["timestamp"] for line in found(q="app:api logger:deploy")["lines"]}
    released, rolled_back = told["release 3.9.0 deployed"], told["release 3.9.0 rolled back to 3.8.2"]
    assert found(q="TypeError voucher.discount", **{"from": released, "to": rolled_back})["count"] > 100
    assert found(q="TypeError", range="7d")["count"] == found(q="TypeError", **{
        "from": released, "to": rolled_back})["count"]


def test_its_alerts_fit_its_story(fleet, hub):
    """They are those of the engine, at past times; a disk is acknowledged, staging is silenced."""
    def ended(rule):
        return {name.split(".")[0] for name, in fleet.db.query("""SELECT DISTINCT subject->>'server'
            FROM alerts WHERE labels->>'rule' = %s AND state = 'resolved'""", rule)}

    now = {(a["rule"], a["subject"]["server"].split(".")[0]): a
           for a in hub.get("/alerts", format="json").json["items"]}
    assert {("Agent silent", "worker-2"), ("Agent silent", "batch-1"), ("Certificate expires", "edge-1"),
            ("CPU waits for disks", "worker-2"), ("Check down", "staging-1")} <= set(now)
    assert [now["Agent silent", name]["value_text"] for name in ("worker-2", "batch-1")] == [
        "offline", "stale"]
    assert now["Check down", "staging-1"]["value_text"] == "3 failures"
    assert now["Disk full", "db-2"]["acked_by"] == "zoe@shop.example"
    assert "api-1" in ended("Check down") & ended("Many errors in the log")
    assert "db-1" in ended("CPU waits for disks")
    assert "environment" in str(hub.get("/silences", format="json").json)
    assert fleet.db.query("SELECT count(*) FROM notifications")[0][0] == 0


def test_a_trace_leads_through_several_servers(hub, fleet):
    trace, = fleet.db.query("SELECT context->>'trace_id' FROM log_entries WHERE message = 'receipt sent' "
                            "ORDER BY timestamp DESC OFFSET 5 LIMIT 1")[0]
    lines = hub.get("/logs", format="json", q=f"ctx.trace_id={trace}", range="24h").json["lines"]
    assert {line["app"] for line in lines} == {"proxy", "storefront", "api", "worker"}


def test_lines_stand_in_their_file_in_the_order_of_time(fleet):
    disorder, holes = fleet.db.query("""SELECT count(*) FILTER (WHERE timestamp < before),
            count(*) FILTER (WHERE stream_offset <= at)
        FROM (SELECT timestamp, stream_offset, lag(timestamp) OVER w AS before,
                lag(stream_offset) OVER w AS at
            FROM log_entries WINDOW w AS (PARTITION BY vps_name, app_name ORDER BY stream_offset)) l""")[0]
    assert (disorder, holes) == (0, 0)
    assert fleet.db.query("""SELECT s.vps_name, s.app_name FROM log_streams s JOIN log_entries l
        USING (vps_name, app_name) GROUP BY 1, 2, s.position
        HAVING s.position <= max(l.stream_offset)""") == []


def test_another_call_changes_nothing(fleet):
    before = fleet.last(24), fleet.db.query("SELECT * FROM agents ORDER BY 1, 2")
    fleet.advance()
    assert (fleet.last(24), fleet.db.query("SELECT * FROM agents ORDER BY 1, 2")) == before


def test_small_steps_write_the_same_rows_as_one(cluster):
    """So the fleet is the same in each demo, and goes on without a seam while it runs. The steps end within
    scenes: each just before a line that comes seconds after the first of its scene."""
    database = cluster.new_database()
    fleet = Fleet(database)
    fleet.began = EVENING
    database.query("CREATE OR REPLACE FUNCTION simulated.history() RETURNS interval "
                   "LANGUAGE sql IMMUTABLE RETURN interval '6 hours'")
    fleet.advance()
    at_once = fleet.last(6)
    late = database.query("SELECT extract(epoch FROM %s - timestamp)::float8 FROM log_entries "
                          "WHERE message = 'receipt sent' ORDER BY timestamp", EVENING)
    database.query("SELECT simulated.remove()")
    assert not any(fleet.last(6).values()) and len(late) > 90
    for before_s, in late:
        fleet.advance(before_s + 0.001)
    fleet.advance()
    in_steps = fleet.last(6)
    database.drop()
    for table, rows in at_once.items():
        assert len(rows) > 50 and in_steps[table] == rows, table


def test_remove_leaves_no_row(cluster):
    database = cluster.new_database()
    fleet = Fleet(database)
    database.query("CREATE OR REPLACE FUNCTION simulated.history() RETURNS interval "
                   "LANGUAGE sql IMMUTABLE RETURN interval '1 hour'")
    fleet.advance()
    database.query("INSERT INTO agents (vps_name, app_name, epoch, first_seen_at, last_seen_at) "
                   "VALUES ('real', 'shop', 1, now(), now())")
    database.query("SELECT observ.maintain()")
    database.query("SELECT simulated.remove()")
    tables = [name for name, in database.query(
        "SELECT table_name FROM information_schema.columns JOIN information_schema.tables "
        "USING (table_schema, table_name) WHERE table_schema = 'observ' AND column_name = 'vps_name' "
        "AND table_type = 'BASE TABLE'")]
    left = {name: database.query(f"SELECT DISTINCT vps_name FROM {name}") for name in tables}
    database.drop()
    assert {name: rows for name, rows in left.items() if rows} == {"agents": [("real",)]}
