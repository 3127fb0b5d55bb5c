"""The schema on Citus, over a coordinator and two workers: agents deliver exactly once, and every page gives
the same answer as on one PostgreSQL."""
import contextlib
import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import psycopg2
import pytest

import seed_fleet
from harness import BUILD, TOP, Cluster, Database, cluster_folder, run
from hub_server import Hub
from writer import Writer, append

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("hub", "watch")]
from openapi_requests import OPERATIONS, Requests, seed_alerts  # noqa: E402
from people import bearer, fill_with_tokens  # noqa: E402
from test_ingest import ONE, TWO  # noqa: E402
from test_openapi import ask, faults  # noqa: E402
from test_watch_whole import follow_an_alert  # noqa: E402


def citus_is_missing():
    """Of the PostgreSQL that scripts/pg runs, which is the newest."""
    newest = max(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    return not Path(f"/usr/share/postgresql/{newest.parts[-3]}/extension/citus.control").exists()


pytestmark = pytest.mark.skipif(citus_is_missing(), reason="Citus is not installed for this PostgreSQL")

SHARDS = 4
SETTINGS = ("shared_preload_libraries=citus", "max_prepared_transactions=100", "max_connections=200",
            f"citus.shard_count={SHARDS}", "shared_buffers=64MB")
ROLES = """DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hub') THEN
        CREATE ROLE hub LOGIN IN ROLE observ_hub; END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'agents') THEN
        CREATE ROLE agents LOGIN IN ROLE observ_agent_any; END IF; END $$"""


def psql(url, text):
    return run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, input=text)


def install(database, schema=(TOP / "schema.sql").read_text()):
    """As docs/schema.md says."""
    psql(database.url("postgres"), schema)
    psql(database.url("postgres"), (TOP / "templates" / "citus.sql").read_text())


class CitusCluster(Cluster):
    """The coordinator; its workers are in folders beside it. Nodes find each other by their sockets."""

    def __init__(self, folder):
        super().__init__(folder / "coordinator")
        self.workers = [Cluster(folder / f"worker{i}") for i in (1, 2)]

    def nodes(self):
        return [self, *self.workers]

    def start_all(self):
        for node in self.nodes():
            node.launch(*SETTINGS)

    def socket(self, node):
        return node.url().split()[0].removeprefix("host=")

    def new_database(self, schema=None):
        """An empty database on all nodes if schema is None, else with it."""
        self.databases += 1
        name = f"observ_{self.databases}"
        for node in self.nodes():
            psql(node.url(), f"CREATE DATABASE {name} TEMPLATE template0 ENCODING UTF8")
            psql(node.url(name), "CREATE EXTENSION citus")
        psql(self.url(name), f"SELECT citus_set_coordinator_host('{self.socket(self)}', 5432);" +
             "".join(f"SELECT citus_add_node('{self.socket(w)}', 5432);" for w in self.workers))
        database = Database(self, name)
        if schema:
            install(database, schema)
            database.query(ROLES)
        return database


@pytest.fixture(scope="module")
def citus():
    with cluster_folder() as folder:
        cluster = CitusCluster(folder)
        cluster.start_all()
        yield cluster
        for node in cluster.nodes():
            node.stop("immediate")


@pytest.fixture(scope="module")
def db(citus):
    database = citus.new_database((TOP / "schema.sql").read_text())
    yield database
    database.close()


# ---- tables ----------------------------------------------------------------------------------------------

def distributed(db):
    return {row[0] for row in db.query("SELECT logicalrelid::text FROM pg_dist_partition")}


def test_tables_are_distributed_by_server_and_lie_together(db):
    facts = {"vps_metrics", "health_checks", "log_entries", "agents", "log_streams", "gaps", "rejects",
             "metrics_5m", "metrics_1h", "latest_samples", "latest_checks"}
    partitions = {row[0] for row in db.query("""SELECT inhrelid::regclass::text FROM pg_inherits
        WHERE inhparent IN ('vps_metrics'::regclass, 'log_entries'::regclass)""")}
    assert len(partitions) >= 14 and facts | partitions <= distributed(db)
    assert db.query("SELECT DISTINCT colocationid FROM pg_dist_partition WHERE partmethod = 'h'")[1:] == []
    assert db.one("SELECT count(DISTINCT nodeport) > 0 FROM pg_dist_shard_placement")


def test_a_second_run_changes_nothing(db):
    def state():
        return db.query("""SELECT logicalrelid::text, colocationid, (SELECT count(*) FROM pg_dist_shard s
            WHERE s.logicalrelid = p.logicalrelid) FROM pg_dist_partition p ORDER BY 1""")
    before = state()
    install(db)
    assert state() == before
    again = subprocess.run(["psql", "-Xq", "-d", db.url("postgres"), "-f", TOP / "schema.sql"],
                           capture_output=True, text=True, timeout=60)
    assert "run citus.sql now" in again.stderr
    install(db)


def test_no_call_goes_to_a_worker_alone(db):
    """A worker would commit it at once, and not with its batch."""
    assert db.query("""SELECT objid::regproc FROM pg_dist_object JOIN pg_proc p ON p.oid = objid
        WHERE classid = 'pg_proc'::regclass
            AND (distribution_argument_index IS NOT NULL OR prosecdef)""") == []


# ---- agents ----------------------------------------------------------------------------------------------

def enrolled(db, server):
    """The URL of a new login of this server."""
    role, password = db.query("SELECT * FROM enroll(%s)", server)[0]
    return f"{db.url(role)} password={password}"


def test_an_agent_delivers_each_line_and_sample_once_through_kills(citus, db, make_agent, log):
    agent = make_agent(db, vps_name="kill-1", postgres_url=enrolled(db, "kill-1"), log_files=[str(log)])
    writer = Writer(log, 2000).start()
    for n in (1, 2000, 4000):
        agent.start()
        db.wait("SELECT count(*) >= %s FROM log_entries WHERE vps_name = 'kill-1'", n)
        agent.kill()
    agent.start()
    for i, worker in enumerate(citus.workers):
        db.wait("SELECT count(*) >= %s FROM log_entries WHERE vps_name = 'kill-1'", 6000 + 2000 * i)
        worker.stop("immediate")
        worker.start(*SETTINGS)
    db.close()                          # its connections to the workers broke
    written = writer.stop()
    db.wait("SELECT count(*) >= %s FROM log_entries WHERE vps_name = 'kill-1'", written)
    assert db.query("""SELECT count(*), count(DISTINCT (context->>'n')::int), max((context->>'n')::int) + 1
        FROM log_entries WHERE vps_name = 'kill-1'""") == [(written,) * 3]
    assert db.count("gaps", "vps_name = 'kill-1'") == db.count("rejects", "vps_name = 'kill-1'") == 0
    assert db.query("""SELECT timestamp FROM vps_metrics WHERE vps_name = 'kill-1'
        GROUP BY 1 HAVING count(*) > 1""") == []
    assert agent.stop() == 0


def test_a_row_that_a_check_refuses_stops_nothing(db, make_agent, log):
    db.query("ALTER TABLE log_entries ADD CONSTRAINT poison CHECK (message <> 'poison')")
    append(log, *(f"line {i}" for i in range(100)), "poison", "last line")
    agent = make_agent(db, vps_name="poison-1", log_files=[str(log)])
    agent.start()
    try:
        db.wait("SELECT count(*) = 101 FROM log_entries WHERE vps_name = 'poison-1'")
        assert db.query("SELECT sqlstate, convert_from(raw, 'UTF8') FROM rejects WHERE vps_name = 'poison-1'"
                        ) == [("23514", "poison")]
    finally:
        db.query("ALTER TABLE log_entries DROP CONSTRAINT poison")


TIME = 1795255200000000
BAD_ROWS = [
    ("push_metrics", [[915148800000000, False, None, 1]]),
    ("push_metrics", [[7258118400000000, False, None, 1]]),
    ("push_metrics", [[None, False, None, 1]]),
    ("push_metrics", [[TIME, None, None, 1]]),
    ("push_metrics", [[TIME, False, 7, 1]]),
    ("push_metrics", [[TIME, False, None, 1], [TIME, False, [], 1]]),
    ("push_checks", [[915148800000000, False, "u", 1, 1, True]]),
    ("push_checks", [[TIME, False, "", 1, 1, True]]),
    ("push_checks", [[TIME, False, "u" * 8193, 1, 1, True]]),
    ("push_checks", [[TIME, False, None, 1, 1, True]]),
    ("push_checks", [[TIME, False, "u", 1, 1, None]]),
    ("push_checks", [[TIME, False, "u", 1, 1, True] + [None] * 8 + [0]]),
    ("push_checks", [[TIME, False, "u", 1, 1, True] + [None] * 8 + [86401]]),
    ("push_gaps", [[TIME, 1, None, 1, 1, None]]),
    ("push_gaps", [[None, 1, "k", 1, 1, None]]),
    ("push_rejects", [[None, 1, 1, "22P02", "r", None]]),
    ("push_positions", [[7, 0, -1, False, "p", "f", "h", "t"]]),
    ("push_positions", [[7, 5, 6, False, "p", "f", "h", "t"]]),
]
BAD_LINES = [
    "'{7}', '{1}', '{0}', ARRAY[NULL::timestamptz], '{2}', '{l}', '{m}', '{NULL}'",
    "'{7}', '{1}', '{0}', ARRAY['1999-12-31Z'::timestamptz], '{2}', '{l}', '{m}', '{NULL}'",
    "'{7}', '{1}', '{0}', ARRAY[now()], '{NULL}', '{l}', '{m}', '{NULL}'",
    "'{7}', '{1}', '{0}', ARRAY[now()], '{2}', '{l}', '{NULL}', '{NULL}'",
    "'{7}', '{1}', '{0}', ARRAY[now()], '{6}', '{l}', '{m}', '{NULL}'",
]


def refusal(database, sql, *parameters):
    try:
        database.query(sql, *parameters)
    except psycopg2.Error as error:
        return error.pgcode
    return None


def test_refusals_have_the_code_that_one_postgresql_gives(cluster, db):
    """The agent decides by it whether a row is bad or the server."""
    plain = cluster.new_database()
    calls = [(f"SELECT {function}('refused-1', 'a', %s)", json.dumps(rows)) for function, rows in BAD_ROWS]
    calls += [(f"SELECT push_logs('refused-1', 'a', {arrays})",) for arrays in BAD_LINES]
    codes = {call: (refusal(plain, *call), refusal(db, *call)) for call in calls}
    plain.drop()
    assert {call: pair for call, pair in codes.items() if pair[0] != pair[1]} == {}
    assert sum(one is not None for one, _ in codes.values()) >= 15


def test_a_session_that_hangs_in_a_batch_is_ended_by_the_next_agent(db, make_agent, log):
    agent = make_agent(db, vps_name="hang-1", log_files=[str(log)]).start()
    append(log, "one")
    db.wait("SELECT count(*) = 1 FROM log_entries WHERE vps_name = 'hang-1'")
    agent.kill()
    dead = db.connect("agents")
    dead.autocommit = False
    with dead.cursor() as cursor:
        cursor.execute("SELECT observ.agent_hello('hang-1', 'shop', 1, NULL, '1', 60, now())")
    append(log, "two")
    began = time.monotonic()
    agent.start()
    db.wait("SELECT count(*) = 2 FROM log_entries WHERE vps_name = 'hang-1'", timeout=30)
    assert time.monotonic() - began < 30
    with pytest.raises(psycopg2.OperationalError), dead.cursor() as cursor:
        cursor.execute("SELECT 1")
    dead.close()
    assert agent.stop() == 0


def test_two_agents_of_one_name_are_told_apart(db, make_agent, log):
    first = make_agent(db, vps_name="twin-1", log_files=[str(log)]).start()
    append(log, "one")
    db.wait("SELECT count(*) = 1 FROM log_entries WHERE vps_name = 'twin-1'")
    make_agent(db, vps_name="twin-1", log_files=[str(log)]).start()
    assert first.wait(30) == 76


# ---- logins ----------------------------------------------------------------------------------------------

def admin(db, *arguments, status=0):
    done = subprocess.run([BUILD / "fleet_hub/fleet_hub_admin", "--url", db.url("enroller"), *arguments],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def roles(node, like):
    with contextlib.closing(psycopg2.connect(node.url())) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s ORDER BY 1", (like,))
        return [row[0] for row in cursor.fetchall()]


def test_the_commands_of_fleet_hub_admin_work_and_logins_are_on_all_nodes(citus, db):
    db.query("CREATE ROLE enroller LOGIN IN ROLE observ_enroll")
    db.query("SELECT epoch FROM agent_hello('seen-1', 'shop', 1, NULL, '0', 60, now())")
    assert "seen-1" in admin(db, "servers")
    admin(db, "enroll", "web-1")
    admin(db, "rotate", "web-1")
    for node in citus.nodes():
        assert len(roles(node, "obs_web_1%")) == 2
    assert "rotating" in admin(db, "servers")
    admin(db, "finish", "web-1")
    token = re.search(r"obs_token_\w+", admin(db, "token"))[0]
    password = re.search(r"\n\n\s*(\S{30,})\n", admin(db, "token", "2"))[1]
    last = db.one("SELECT role FROM bootstrap_tokens WHERE uses = 2")
    for server, status in (("new-1", 0), ("seen-1", 69), ("new-2", 0), ("new-3", 69)):
        done = subprocess.run([BUILD / "obs_agent/obs_agent", "enroll", "--server", server, "--url",
                               db.url(last)], input=password + "\n", capture_output=True, text=True,
                              timeout=60)
        assert done.returncode == status, done.stderr
    admin(db, "untoken", token)
    db.query("SELECT agent_hello('web-1', 'shop', 1, NULL, '0', 60, now())")
    admin(db, "retire", "web-1")
    assert db.one("SELECT retired_at IS NOT NULL FROM agents WHERE vps_name = 'web-1'")
    admin(db, "revoke", "new-1")
    for node in citus.nodes():
        assert roles(node, "obs_web_1%") == roles(node, "obs_new_1%") == roles(node, token) == []
        assert roles(node, "obs_new_2%") == ["obs_new_2"]


@pytest.mark.parametrize("group", ["observ_hub", "observ_watch", "observ_reader", "observ_enroll"])
def test_a_login_reads_the_views_of_its_group(db, group):
    db.query(f"CREATE ROLE reads_{group} LOGIN IN ROLE {group}")
    views = db.query("""SELECT relname FROM pg_class WHERE relnamespace = 'observ'::regnamespace
        AND relkind = 'v' AND has_table_privilege(%s, oid, 'SELECT')""", group)
    assert views
    with contextlib.closing(db.connect(f"reads_{group}")) as connection, connection.cursor() as cursor:
        for view, in views:
            cursor.execute(f"SELECT * FROM {view} LIMIT 1")


# ---- over HTTP -------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def posted(cluster, citus, tmp_path_factory):
    """A hub on one PostgreSQL and one on Citus, with the same rows and a user of each role; time passes."""
    plain, spread = cluster.new_database(), citus.new_database((TOP / "schema.sql").read_text())
    seed_fleet.seed(plain, lines=200)
    copy_rows(plain, spread)
    hubs = []
    for database in (plain, spread):
        fill_with_tokens(database)
        seed_alerts(database)
        database.query("UPDATE limit_policy SET burst = 100000")
        hubs.append(Hub(tmp_path_factory.mktemp("hub"), database.url("hub"), "fastcgi", body_kb=2048,
                        conf="agents_database = db.example.com/observ_metrics\n").start())
        hubs[-1].database = database
    yield hubs
    for hub in hubs:
        hub.stop()
    plain.drop()
    spread.drop()


def test_each_operation_of_the_api_does_what_openapi_says(posted):
    """Servers and their metrics, posts, enrolment, people, searches, alerts."""
    good = Requests(posted[1])
    operations = [o for o in OPERATIONS if not o.path.startswith("/install/")]      # of files
    for status in (200, 201, 204):
        assert faults(status, lambda o: ask(posted[1], good.of(o)), operations) == []


LINES = """SELECT app_name, logger, level, message FROM log_entries WHERE vps_name = 'post-1'
    ORDER BY logger, stream_offset"""
QUEUED = "SELECT sum(cardinality(messages)) FROM pattern_queue WHERE vps_name = 'post-1'"


def post_all(hub, at):
    """What the hub answers to both payloads, each of them twice and with a key, and to what does not fit."""
    made = hub.get("/api/v1/servers", "POST", {**bearer("t_admin"), "Content-Type": "application/json"},
                   '{"name": "post-1"}')
    assert made.status == 201, made.text

    def post(body, **headers):
        answer = hub.get("/api/v1/ingest", "POST", {**bearer(made.json["agent_token"]), **headers,
                                                    "Content-Type": "application/json"}, json.dumps(body))
        return answer.status, {k: v for k, v in answer.json.items() if k not in ("server_id", "received_at")}
    at, late = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at - back)) for back in (0, 7200))
    bodies = [ONE | {"ts": at}, TWO | {"timestamp": at, "score": 3}, TWO | {"timestamp": late},
              {"host": "web-1", "timestamp": at, "metrics": {}, "logs": TWO["logs"]}]
    keys = [{"Idempotency-Key": f"key {n}"} for n in range(len(bodies))]
    heard = [post(body, **headers) for body, key in zip(bodies, keys) for headers in ({}, {}, key, key)]
    assert [step for step in heard if step[0] != 200] == []
    faulty = (ONE | {"ts": "x"}, ONE | {"metrics": {"cpu_percent": "x"}}, {})
    return heard + [post(TWO, **keys[0])] + [post(body) for body in faulty]


def test_servers_post_both_payloads_once(posted):
    at = int(time.time()) - 60
    answers = [post_all(hub, at) for hub in posted]
    assert answers[0] == answers[1]
    rows = [hub.database.query(LINES) for hub in posted]
    assert rows[0] == rows[1] and len(rows[0]) >= 8
    assert [hub.database.count("vps_metrics", "vps_name = 'post-1'") for hub in posted] == [3, 3]
    queued = [hub.database.one(QUEUED) for hub in posted]
    assert queued[0] == queued[1] > 0


def test_a_retired_server_enrolls_again_when_it_is_made_anew(posted):
    """And a token that was replaced, or of a retired server, makes no login."""
    def go(hub):
        def call(method, path, body, token="t_admin"):
            answer = hub.get(path, method, {**bearer(token), "Content-Type": "application/json"},
                             json.dumps(body) if body is not None else None)
            heard.append((method, path, answer.status))
            return answer
        heard = []
        for _ in range(2):
            token = call("POST", "/api/v1/servers", {"name": "again-1"}).json["agent_token"]
            call("POST", "/api/v1/ingest", ONE | {"ts": int(time.time())}, token)
            login = call("POST", "/api/v1/agents/enroll", {"hostname": "x"}, token).json["database_user"]
            assert hub.database.count("pg_roles", f"rolname = '{login}'") == 1
            call("DELETE", "/api/v1/servers/again-1", None)
            assert hub.database.count("pg_roles", f"rolname = '{login}'") == 0
            call("POST", "/api/v1/ingest", ONE | {"ts": int(time.time())}, token)
            call("POST", "/api/v1/agents/enroll", {"hostname": "x"}, token)
        return heard
    one, other = map(go, posted)
    assert one == other and [status for *_, status in one] == [201, 200, 201, 204, 401, 401] * 2


def test_prometheus_scrapes_it(posted):
    """Each sample of the two databases, but for times and ages."""
    def scrape(hub):
        text = hub.get("/metrics", "GET", bearer("t_viewer")).text
        return {line.rsplit(" ", 1)[0] for line in text.splitlines()
                if "post-1" not in line and "again-1" not in line and "fra-1" in line}
    one, other = map(scrape, posted)
    assert one == other and len(one) > 20


# ---- pages -----------------------------------------------------------------------------------------------

NOW = int(time.time()) // 60 * 60 + 30
FREEZE = f"""SET citus.enable_ddl_propagation = off;
CREATE OR REPLACE FUNCTION pg_catalog.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
    AS 'SELECT to_timestamp({NOW})'"""


# No answer depends on how long it took, nor on a sample of the lines.
PATIENT = """CREATE OR REPLACE FUNCTION counted_lines() RETURNS int LANGUAGE sql IMMUTABLE RETURN 100000;
CREATE OR REPLACE FUNCTION count_budget() RETURNS interval LANGUAGE sql IMMUTABLE RETURN interval '20 s';
CREATE OR REPLACE FUNCTION search_budget(p_max int) RETURNS interval LANGUAGE sql IMMUTABLE
    RETURN interval '20 s'"""


def hours_ago(hours):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW - hours * 3600))


def copy_rows(source, target, tables=None):
    """All rows of these tables, else of all that are distributed."""
    for table, columns in source.query("""SELECT attrelid::regclass::text,
            string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
            JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'observ'::regnamespace
                AND relkind IN ('r', 'p') AND NOT relispartition
                AND attnum > 0 AND NOT attisdropped AND attgenerated = '' GROUP BY attrelid"""):
        if table in (tables or distributed(target)):
            rows = io.StringIO()
            with source.connection.cursor() as cursor:
                cursor.copy_expert(f"COPY (SELECT {columns} FROM {table}) TO STDOUT", rows)
            rows.seek(0)
            with target.connection.cursor() as cursor:
                cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN", rows)


@pytest.fixture(scope="module")
def hubs(cluster, citus, tmp_path_factory):
    """The same rows in one PostgreSQL and in Citus, a hub for each; time stands still."""
    plain, spread = cluster.new_database(), citus.new_database((TOP / "schema.sql").read_text())
    plain.query(ROLES)
    for node in (cluster, *citus.nodes()):
        psql(node.url(plain.name if node is cluster else spread.name), FREEZE)
    for database in (plain, spread):
        database.close()
        database.query("SELECT maintain()")
        database.query(PATIENT)
    seed_fleet.seed(plain, lines=20000)
    plain.query("SELECT maintain()")
    copy_rows(plain, spread)
    spread.query("ANALYZE")
    servers = [Hub(tmp_path_factory.mktemp("hub"), database.url("hub"), "fastcgi").start()
               for database in (plain, spread)]
    for server, database in zip(servers, (plain, spread)):
        server.database = database
    yield servers
    for server in servers:
        server.stop()
    plain.drop()
    spread.close()


RANGE = {"from": 3, "to": 0}            # hours ago
PAGES = [("/", {}), ("/", {"sort": "cpu"}), ("/", {"q": "shop", "state": "degraded"})]
PAGES += [(f"/servers/{name}", {"range": span}) for name in ("fra-1", "ams-2", "nyc-2")
          for span in ("1h", "24h", "7d", "90d")]
PAGES += [("/servers/fra-1", RANGE)]
PAGES += [("/logs", {"q": q, **RANGE}) for q in (
    "", "timeout", "nothing-like-it", '"upstream timeout"', "refused OR refreshed", "level>=error",
    "-level:info", "app:shop", "vps:fra-1 payment", "logger:db", "ctx.errno=111", "ctx.ms>500", "ctx.host:*",
    "ctx.path=/srv*", "(app:shop OR app:billing) NOT level:debug", "!!!", "ord*")]
PAGES += [("/logs", {"range": span}) for span in ("1h", "24h", "7d")]


@pytest.mark.parametrize("path, query", PAGES)
def test_a_page_answers_as_on_one_postgresql(hubs, path, query):
    query = {key: hours_ago(value) if key in RANGE else value for key, value in query.items()}
    one, other = (hub.get(path, format="json", **query) for hub in hubs)
    assert (one.status, other.status) == (200, 200), other.text
    assert one.json == other.json


@pytest.mark.parametrize("q", ["", "app:shop", "level>=warning", "payment"])
def test_counts_of_a_sample_are_the_same(hubs, q):
    answers = []
    for hub in hubs:
        for function, lines in (("counted_lines()", 100), ("sampled_lines(p_narrow boolean)", 400)):
            hub.database.query(f"CREATE OR REPLACE FUNCTION {function} RETURNS int "
                               f"LANGUAGE sql IMMUTABLE RETURN {lines}")
        answers.append(hub.get("/logs", format="json", q=q, range="24h"))
        hub.database.query(PATIENT)
    assert answers[0].json["estimated"] and answers[0].json == answers[1].json


def test_pages_of_lines_and_the_lines_around_one_are_the_same(hubs):
    query = {"q": "level>=warning", "format": "json", "range": "6h"}
    first = hubs[0].get("/logs", **query).json
    older = [hub.get("/logs", before=first["older"], **query).json for hub in hubs]
    assert older[0] == older[1] and len(older[0]["lines"]) == 100
    newer = [hub.get("/logs", after=older[0]["newer"], **query).json for hub in hubs]
    assert newer[0] == newer[1] and newer[0]["lines"] == first["lines"]
    line = first["lines"][50]
    around = {"vps": line["vps"], "app": line["app"], "stream": line["stream_id"],
              "offset": line["stream_offset"], "at": line["timestamp"], "format": "json"}
    near = [hub.get("/logs/around", **around).json for hub in hubs]
    assert near[0] == near[1] and len(near[0]["lines"]) > 20
    alone = [hub.get("/logs/line", id=line["id"], at=line["timestamp"], format="json").json for hub in hubs]
    assert alone[0] == alone[1] and alone[0]["line"]["id"] == line["id"]


@pytest.mark.parametrize("path, query, form", [
    ("/", {}, "csv"), ("/servers/fra-1", {"range": "24h"}, "csv"), ("/logs", {"range": "6h"}, "csv"),
    ("/logs", {"range": "6h"}, "ndjson"), ("/logs", {"q": "app:shop timeout", "range": "24h"}, "ndjson")])
def test_a_file_is_the_same(hubs, path, query, form):
    one, other = (hub.get(path, format=form, **query) for hub in hubs)
    assert one.status == other.status == 200 and one.text == other.text


# ---- alerts ----------------------------------------------------------------------------------------------

def uuid(n):
    return f"00000000-0000-4000-8000-{n:012}"


# A rule of each kind and of each way to read a metric, besides the default ones.
KINDS = [("anomaly", "cpu_percent", {"weeks": 1, "min_weeks": 1}), ("absent", "app_memory_mb", {}),
         ("check", None, {"of": 5}), ("check_slow", None, {"percent": 50}),
         ("certificate", None, {"measure": "life", "life_days": 100}), ("agent_silent", None, {}),
         ("loss", None, {"what": "rejects", "window_s": 86400}), ("sql", None, {"sql": "SELECT 1 AS value"}),
         ("new_pattern", None, {"window_s": 604800, "learn_s": 0, "late_s": 86400}),
         ("count_firing", None, {"of_rule": uuid(1)}), ("promql", None, {"promql": "up"}),
         ("heartbeat", None, {})]
KINDS += [("log_count", None, {"by": by, "window_s": 7200})
          for by in ("agent", "server", "application", "fleet")]
KINDS += [("log_share", None, {"by": by, "window_s": 7200, "min_lines": 1, "tree": {"levels": ["ERROR"]}})
          for by in ("agent", "server", "application", "fleet")]
KINDS += [("threshold", metric, {"agg": agg, "window_s": 1800})
          for metric in ("cpu_percent", "mount_percent", "app_memory_mb", "load_per_core", "uptime_s")
          for agg in ("last", "avg", "min", "max", "rate", "irate", "increase", "deriv", "changes", "resets",
                      "predict")]
KINDS += [("threshold", metric, {"agg": "avg", "rows": rows, "window_s": 7200})
          for metric in ("cpu_percent", "mount_percent") for rows in ("5m", "1h")]
KINDS += [("threshold", "agent_skew_s", {"agg": "last"})]
MATCHES = [[], [{"label": "server", "op": "=", "value": "fra-1"}],
           [{"label": "app", "op": "=~", "value": ".*s.*"},
            {"label": "environment", "op": "!=", "value": "x"}]]
RULE = """INSERT INTO alert_rules (rule_id, name, kind, metric, params, match, op, warning, lookback_s,
        is_active)
    VALUES (%s, %s, %s, %s, %s, %s, '>', 0.5, 3600, false)"""
VALUES = """SELECT r.name, v.subject, round(v.value::numeric, 6), v.problem FROM alert_rules r,
    rule_values(r, to_timestamp(%s), {}) v ORDER BY 1, 2"""
MANY = """SELECT rs[v.place].name, v.subject, round(v.value::numeric, 6), v.problem
    FROM (SELECT array_agg(r ORDER BY name) AS rs FROM alert_rules r) x,
        relevant_values(rs, to_timestamp(%s)) v
    ORDER BY 1, 2, 4"""
ROUTING = f"""INSERT INTO channels (channel_id, name, kind, settings) VALUES
    ('{uuid(7)}', 'hook', 'webhook', '{{"url": "https://hooks.example.com/"}}');
DELETE FROM alert_routes;
INSERT INTO alert_routes (route_id, channels, group_by, group_wait_s, group_interval_s, repeat_s)
    VALUES ('{uuid(8)}', '{{{uuid(7)}}}', '{{rule}}', 0, 60, 3600)"""


@pytest.fixture(scope="module")
def alerting(hubs):
    """The databases of the hubs, with the same rules and channel."""
    small = {"alert_rules", "inhibitions"}
    one, other = databases = [hub.database for hub in hubs]
    other.query(f"TRUNCATE {', '.join(small)}")
    copy_rows(one, other, small)
    for database in databases:
        database.query(ROUTING)
        database.query("UPDATE job_runs SET finished_at = now()")
    return databases


def test_a_rule_of_each_kind_has_the_values_of_one_postgresql(alerting):
    answers = []
    for database in alerting:
        database.query("""SELECT agent_hello('new-1', 'shop', 1, NULL, '0', 60, now());
            SELECT push_logs('new-1', 'shop', '{7,7}', '{1,1}', '{0,10}', ARRAY[now(), now()], '{4,4}',
                '{l,l}', '{user 42 failed,user 7 failed}', '{NULL,NULL}')""")
        learnt = database.one("SELECT learn_patterns()")
        database.query("""UPDATE agents SET first_seen_at = now() - interval '1 day', last_seen_at = now(),
            skew_ms = 0 WHERE vps_name = 'new-1'""")
        rules = [(kind, metric, json.dumps(params), json.dumps(match))
                 for kind, metric, params in KINDS for match in MATCHES]
        for n, rule in enumerate(rules):
            database.query(RULE, uuid(1000 + n), f"kind {n:03} {rule[0]}", *rule)
        answers.append([(learnt, database.query("SELECT app_name, pattern, lines FROM log_patterns")),
                        *(database.query(sql, NOW) for sql in (VALUES.format("true"), VALUES.format("false"),
                                                               MANY))])
        database.query("DELETE FROM alert_rules WHERE NOT is_active")
    assert answers[0][0] == (2, [("shop", "user * failed", 2)]) and len(answers[0][1]) > 500
    assert "SQL" not in str({row[3] for row in answers[0][3]}) and "push down" not in str(answers[1][3])
    for one, other in zip(*answers):
        assert one == other


def test_an_administrators_query_gives_the_rows_of_one_postgresql(alerting):
    query = "SELECT vps_name AS server, count(*) AS value FROM v_logs GROUP BY 1 ORDER BY 1"
    one, other = (database.one("SELECT select_values(%s)", query) for database in alerting)
    assert one == other and len(one) > 5


def deliver(database, now):
    """All messages that are due: one of each channel at a time."""
    while taken := database.query("SELECT take_notifications('w', 10, 60, to_timestamp(%s))", now):
        for message, in taken:
            database.query("SELECT notification_sent(%s, '{}', NULL, to_timestamp(%s))",
                           message["notification_id"], now)


def test_alerts_fire_tell_and_resolve_as_on_one_postgresql(alerting):
    """By the default rules. A clock that was wrong is set right, and nothing else changes."""
    answers = []
    for database in alerting:
        said = []
        for seconds in (0, 60, 120):
            said += [database.one("SELECT evaluate_alerts(to_timestamp(%s), 'w')", NOW + seconds)]
            deliver(database, NOW + seconds)
            if seconds:
                database.query("UPDATE agents SET skew_ms = 0")
        answers.append([said] + [database.query(sql) for sql in (
            """SELECT alert_id, subject, labels, state, severity, value, fired_at, resolved_at FROM alerts
                ORDER BY 1""",
            "SELECT at, alert_id, from_state, to_state, reason FROM alert_changes ORDER BY 1, 2",
            """SELECT kind, content - 'group_id', made_at FROM notifications
                ORDER BY made_at, content->>'group', kind""",
            "SELECT count(*) FROM notifications WHERE sent_at IS NOT NULL")])
    assert {row[3] for row in answers[0][1]} == {"firing", "resolved"}
    assert answers[0][4][0][0] > 0
    for one, other in zip(*answers):
        assert one == other


TOKEN = """WITH u AS (INSERT INTO users (email, role, created_by) VALUES ('ann@example.com', 'admin', 'test')
    RETURNING user_id)
    INSERT INTO api_tokens (token_hash, user_id, name, role, expires_at)
    SELECT sha256(sha256('t_admin')), user_id, 'test', 'admin', 'infinity' FROM u"""


def without_ids(value):
    """Messages have a random id, and are sorted by it."""
    if isinstance(value, dict):
        return {k: without_ids(sorted(v, key=lambda m: str(without_ids(m))) if k == "messages" else v)
                for k, v in value.items() if k not in ("notification_id", "id", "group_id")}
    return [without_ids(v) for v in value] if isinstance(value, list) else value


def test_pages_of_alerts_answer_as_on_one_postgresql(hubs, alerting):
    for database in alerting:
        database.query(TOKEN)
    alerts = [row[0] for row in alerting[0].query("SELECT alert_id FROM alerts ORDER BY 1")]
    rules = [row[0] for row in alerting[0].query("SELECT rule_id FROM alert_rules ORDER BY 1")]
    assert alerts and rules
    for path in ("/alerts", "/alert-rules", "/channels", "/routing", "/silences", "/heartbeats", "/",
                 *(f"/alerts/{a}" for a in alerts), *(f"/alert-rules/{r}" for r in rules)):
        one, other = (hub.get(path, headers={"Authorization": "Bearer t_admin"}, format="json")
                      for hub in hubs)
        assert (one.status, other.status) == (200, 200), path + other.text
        assert without_ids(one.json) == without_ids(other.json), path


def test_a_real_watcher_delivers_an_alert_and_its_end(db, tmp_path):
    firing, resolved = follow_an_alert(db, tmp_path / "w", "hot-1")
    (alert,) = firing["data"]["alerts"]
    assert alert["subject"]["server"] == "hot-1" and alert["value"] == 97.25
    assert resolved["data"]["alerts"][0]["alert_id"] == alert["alert_id"]
    assert resolved["type"] == "alerts.resolved"


def test_a_heartbeat_that_is_late_fires_as_on_one_postgresql(alerting):
    answers = []
    for database in alerting:
        database.query("""INSERT INTO heartbeats (heartbeat_id, name, every_s, grace_s, created_at)
            VALUES (%s, 'backup', 60, 0, to_timestamp(%s))""", uuid(9), NOW - 600)
        late = """SELECT v.subject, v.value FROM alert_rules r, rule_values(r, to_timestamp(%s)) v
            WHERE builtin = 'heartbeat'"""
        before = database.query(late, NOW)
        database.one("SELECT beat('backup')")
        database.query("UPDATE heartbeat_pings SET at = to_timestamp(%s)", NOW - 10)
        answers.append((before, database.query(late, NOW)))
    assert answers[0] == answers[1]
    assert [rows[0][1] for rows in answers[0]] == [540, 0]


# ---- retention and upgrades --------------------------------------------------------------------------------

def test_maintain_does_the_same_as_on_one_postgresql(cluster, citus):
    """Roll-ups, partitions, rows of the default partition, rows and partitions whose time is up."""
    answers = []
    for database in (cluster.new_database(), citus.new_database((TOP / "schema.sql").read_text())):
        database.query("SELECT make_partition('log_entries', current_date - 40)")
        database.query("UPDATE retention_policy SET keep = '20 days' WHERE kind = 'checks'")
        database.query("INSERT INTO retention_policy VALUES ('logs', 'shop', 'DEBUG', '1 day')")
        database.query("""INSERT INTO vps_metrics (timestamp, vps_name, app_name, cpu_percent)
            SELECT date_trunc('day', now()) - d * interval '10 days' - i * interval '1 min', 's' || i % 5,
                'shop', i FROM generate_series(1, 200) i, generate_series(0, 1) d""")
        database.query("""INSERT INTO log_entries (timestamp, vps_name, app_name, level, message)
            SELECT now() - d * interval '1 day', 's' || i, 'shop', l, 'm' FROM generate_series(1, 20) i,
            unnest('{0, 2, 5, 40}'::int[]) d, unnest('{INFO,DEBUG}'::text[]) l""")
        database.query("""INSERT INTO health_checks (timestamp, vps_name, app_name, url, success)
            SELECT now() - d * interval '1 day', 's' || i, 'shop', 'u', true FROM generate_series(1, 20) i,
            unnest('{0, 25}'::int[]) d""")
        said = [database.one("SELECT maintain()") for _ in range(2)]
        answers.append(said + [database.query(sql) for sql in (
            "SELECT timestamp::date, level, count(*) FROM log_entries GROUP BY 1, 2 ORDER BY 1, 2",
            "SELECT count(*) FROM health_checks",
            "SELECT * FROM metrics_5m ORDER BY vps_name, timestamp",
            "SELECT * FROM metrics_1h ORDER BY vps_name, timestamp",
            "SELECT timestamp, vps_name, cpu_percent FROM vps_metrics ORDER BY 1, 2",
            "SELECT count(*) FROM vps_metrics_default",
            "SELECT partition::text FROM partitions('log_entries') ORDER BY 1")])
        database.drop()
    assert "failed" not in answers[0][0] and answers[0] == answers[1]


OLDER = """DROP VIEW v_logs, v_checks;
    ALTER TABLE health_checks DROP COLUMN interval_s;
    ALTER TABLE log_entries DROP COLUMN search,
        ADD COLUMN search tsvector GENERATED ALWAYS AS (to_tsvector('simple'::regconfig, message)) STORED;
    DROP FUNCTION words, word_list, line_text, folded CASCADE"""


def test_a_newer_schema_upgrades_the_workers_too(citus):
    """The older one has a column, an index, views and functions less, and other words of log lines."""
    new = (TOP / "schema.sql").read_text()
    db = citus.new_database(new)
    for command in OLDER.split(";"):
        db.query(command)
    db.query("""INSERT INTO log_entries (timestamp, vps_name, app_name, level, message)
        SELECT now(), 's' || i, 'shop', 'INFO', '<orders/12>' FROM generate_series(1, 20) i""")
    query = "search @@ $$'12'$$::tsquery"
    assert db.count("log_entries", query) == 0
    install(db, new)
    assert db.count("log_entries", query) == 20
    db.query("SELECT push_checks('s1', 'shop', %s)",
             json.dumps([[int(time.time() * 1e6), False, "u", 200, 1, True] + [None] * 8 + [900]]))
    assert db.query("SELECT interval_s FROM health_checks") == [(900,)]
    shards = db.query("""SELECT result FROM run_command_on_shards('health_checks',
        'SELECT count(*) FROM pg_index WHERE indrelid = ''%s''::regclass')""")
    assert len(shards) == SHARDS and len(set(shards)) == 1 and int(shards[0][0]) == db.count(
        "pg_index", "indrelid = 'health_checks'::regclass")
    install(db, new)
    db.drop()
