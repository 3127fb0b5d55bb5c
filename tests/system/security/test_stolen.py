"""An attacker has the login of one server and connects with it: can add rows about that server, and nothing
else."""
import concurrent.futures
import contextlib
import os
import re
import signal

import psycopg2
import pytest
from harness import TOP, Cluster, cluster_folder, run, wait_for

KB = 1024
ENDED = "terminating connection|closed the connection"


def psql(cluster, database, *arguments, **options):
    return run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", cluster.url(database), *arguments, **options).strip()


class Thief:
    """The login of server web-1 in a hardened database that also has web-2."""

    def __init__(self, folder):
        self.cluster = Cluster(folder)
        self.cluster.start("max_connections=60", "max_locks_per_transaction=64")
        self.db = self.cluster.new_database()
        with open(TOP / "templates" / "observ-harden.sql", encoding="utf-8") as script:
            psql(self.cluster, self.db.name, stdin=script)
        self.passwords = dict(self.db.query("SELECT * FROM enroll('web-1') UNION ALL SELECT * "
                                            "FROM enroll('web-2')"))
        hba = self.cluster.folder / "data" / "pg_hba.conf"
        hba.write_text(f"local all postgres,observ_admin trust\nlocal {self.db.name} +observ_agent "
                       "scram-sha-256\n"
                       f"local {self.db.name} +observ_bootstrap scram-sha-256\nlocal all all reject\n")
        self.db.query("SELECT pg_reload_conf()")
        self.db.close()

    def connect(self, role="obs_web_1", database=None, **options):
        connection = psycopg2.connect(self.cluster.url(database or self.db.name, role),
                                      password=self.passwords.get(role, "x"), **options)
        connection.autocommit = True
        return connection

    def ask(self, sql, *parameters, role="obs_web_1"):
        with contextlib.closing(self.connect(role)) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def refusal(self, sql, *parameters, role="obs_web_1"):
        """(SQLSTATE, message); (None, ...) when it succeeded."""
        try:
            return None, str(self.ask(sql, *parameters, role=role))[:200]
        except psycopg2.Error as error:
            return error.pgcode, str(error)

    def others(self):
        """Everything that must not change: the schema, the roles, and the rows of other servers."""
        shape = re.sub(r"^\\(un)?restrict .*$", "", run("pg_dump", "-s", self.cluster.url(self.db.name)),
                       flags=re.M)
        rows = self.db.query("""SELECT 'roles', string_agg((r.*)::text, ';' ORDER BY rolname) FROM pg_roles r
            UNION ALL SELECT 'members', string_agg((m.*)::text, ';' ORDER BY (m.*)::text)
                FROM pg_auth_members m
            UNION ALL SELECT 'agent_roles', string_agg((a.*)::text, ';' ORDER BY role) FROM agent_roles a
            UNION ALL SELECT 'agents', string_agg((a.*)::text, ';') FROM agents a WHERE vps_name <> 'web-1'
            UNION ALL SELECT 'logs', string_agg(message, ';') FROM log_entries WHERE vps_name <> 'web-1'
            UNION ALL SELECT 'objects', count(*)::text FROM pg_largeobject_metadata
            UNION ALL SELECT 'databases', string_agg(datname, ';') FROM pg_database
            UNION ALL SELECT 'policy', string_agg((p.*)::text, ';') FROM retention_policy p""")
        return shape, rows


@pytest.fixture(scope="module")
def thief():
    with cluster_folder() as folder:
        t = Thief(folder)
        write(t, "web-2", "obs_web_2", "honest")
        yield t
        t.db.close()
        t.cluster.stop("immediate")


LOGS = ("SELECT observ.push_logs(%s, %s, '{{7}}', array_fill(1::smallint, ARRAY[{n}]), array_fill(0::bigint, "
        "ARRAY[{n}]), "
        "array_fill(%s::timestamptz, ARRAY[{n}]), array_fill(2::smallint, ARRAY[{n}]), array_fill('l'::text, "
        "ARRAY[{n}]), "
        "array_fill(%s::text, ARRAY[{n}]), array_fill(NULL::jsonb, ARRAY[{n}]))")


def logs(n=1):
    return LOGS.format(n=n)


def write(t, vps, role, message, app="shop", when="now"):
    """Push one line as an agent of that server would."""
    t.ask("SELECT observ.agent_hello(%s, %s, 1, NULL, '1', 60, now())", vps, app, role=role)
    t.ask(logs(), vps, app, when, message, role=role)


def test_it_can_add_rows_about_its_server(thief):
    write(thief, "web-1", "obs_web_1", "lie")
    assert thief.db.query("SELECT vps_name FROM log_entries WHERE message = 'lie'") == [("web-1",)]


# Attempts, and the SQLSTATE of their refusal.
REFUSED = {
    # as another server
    "hello as another": ("SELECT observ.agent_hello('web-2', 'shop', 1, NULL, '1', 60, now())", "42501"),
    "logs of another": ("SELECT observ.push_logs('web-2', 'shop', '{}', '{}', '{}', '{}', '{}', '{}', '{}', "
                        "'{}')", "42501"),
    "metrics of another": ("SELECT observ.push_metrics('web-2', 'shop', '[]')", "42501"),
    "positions of another": ("SELECT observ.push_positions('web-2', 'shop', '[]')", "42501"),
    "positions read of another": ("SELECT observ.agent_streams('web-2', 'shop', 1)", "42501"),
    # reading and changing tables
    **{f"read {t}": (f"SELECT * FROM observ.{t}", "42501")
       for t in ("agents", "log_entries", "vps_metrics", "agent_roles", "v_logs")},
    "copy a table": ("COPY observ.log_entries TO STDOUT", "42501"),
    "insert": ("INSERT INTO observ.gaps DEFAULT VALUES", "42501"),
    "lock": ("BEGIN; LOCK TABLE observ.agents IN ACCESS SHARE MODE", "42501"),
    "lock the catalog": ("BEGIN; LOCK TABLE pg_catalog.pg_class IN ROW EXCLUSIVE MODE", "42501"),
    "read passwords": ("SELECT * FROM pg_authid", "42501"),
    "read large objects": ("SELECT * FROM pg_largeobject", "42501"),
    "read statistics": ("SELECT * FROM pg_statistic", "42501"),
    "a sequence": ("SELECT nextval('observ.log_entries_id_seq')", "42501"),
    # creating objects
    "temporary table": ("CREATE TEMP TABLE t (x int)", "42501"),
    "temporary view": ("CREATE TEMP VIEW t AS SELECT 1", "42501"),
    "table in public": ("CREATE TABLE public.t (x int)", "42501"),
    "table in observ": ("CREATE TABLE observ.t (x int)", "42501"),
    "schema": ("CREATE SCHEMA t", "42501"),
    "function": ("CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "42501"),
    "replace a function": ("CREATE OR REPLACE FUNCTION observ.max_apps() RETURNS bigint LANGUAGE sql "
                           "IMMUTABLE AS 'SELECT 9'", "42501"),
    "extension dblink": ("CREATE EXTENSION dblink SCHEMA public", "42501"),
    "drop": ("DROP TABLE observ.agents", "42501"),
    "truncate": ("TRUNCATE observ.log_entries", "42501"),
    "alter": ("ALTER TABLE observ.agents ADD x int", "42501"),
    "database": ("CREATE DATABASE t", "42501"),
    "database settings": ("ALTER DATABASE {db} SET work_mem = '1GB'", "42501"),
    "subscription": ("CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p WITH (connect = false)",
                     "42501"),
    "publication": ("CREATE PUBLICATION p FOR ALL TABLES", "42501"),
    # the server's files, programs, settings
    "read a file": ("SELECT pg_read_file('/etc/passwd')", "42501"),
    "list a folder": ("SELECT pg_ls_dir('/')", "42501"),
    "copy from a file": ("COPY observ.agents FROM '/etc/passwd'", "42501"),
    "copy to a file": ("COPY (SELECT 1) TO '/tmp/stolen'", "42501"),
    "copy to a program": ("COPY (SELECT 1) TO PROGRAM 'id'", "42501"),
    "import a large object": ("SELECT lo_import('/etc/passwd')", "42501"),
    "export a large object": ("SELECT lo_export(1, '/tmp/stolen')", "42501"),
    "make a large object": ("SELECT lo_create(0)", "42501"),
    "make a large object of bytes": ("SELECT lo_from_bytea(0, 'x')", "42501"),
    "system settings": ("ALTER SYSTEM SET fsync = off", "42501"),
    "setting of a superuser": ("SET session_replication_role = replica", "42501"),
    "temp_file_limit": ("SET temp_file_limit = -1", "42501"),
    "reload": ("SELECT pg_reload_conf()", "42501"),
    "checkpoint": ("CHECKPOINT", "42501"),
    "library": ("LOAD '/tmp/x.so'", "42501"),
    "write to the WAL": ("SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000))", "42501"),
    "notify by function": ("SELECT pg_notify('x', 'y')", "42501"),
    # roles and sessions
    "become the owner": ("SET ROLE observ_owner", "42501"),
    "become another server": ("SET ROLE obs_web_2", "42501"),
    "become a superuser": ("SET SESSION AUTHORIZATION postgres", "42501"),
    "more rights": ("ALTER ROLE obs_web_1 CREATEROLE", "42501"),
    "more connections": ("ALTER ROLE obs_web_1 CONNECTION LIMIT 1000", "42501"),
    "a longer life": ("ALTER ROLE obs_web_1 VALID UNTIL 'infinity'", "42501"),
    "password of another": ("ALTER ROLE obs_web_2 PASSWORD 'x'", "42501"),
    "settings of another": ("ALTER ROLE obs_web_2 SET statement_timeout = 1", "42501"),
    "a new role": ("CREATE ROLE t LOGIN", "42501"),
    "hand its rights on": ("GRANT observ_agent TO obs_web_2", "42501"),
    "enroll": ("SELECT observ.enroll('web-3')", "42501"),
    "revoke": ("SELECT observ.revoke_server('web-2')", "42501"),
    "maintain": ("SELECT observ.maintain()", "42501"),
    "a partition": ("SELECT observ.make_partition('log_entries', '2199-01-01')", "42501"),
    "end a session": ("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> 'obs_web_1'",
                      "42501"),
    "a prepared transaction": ("BEGIN; SELECT txid_current(); PREPARE TRANSACTION 'x'", "55000"),
    # locks
    "advisory lock": ("SELECT pg_advisory_lock(1)", "42501"),
    "advisory lock, tried": ("SELECT pg_try_advisory_xact_lock_shared(1, 2)", "42501"),
    "a table full of locks": ("SELECT pg_advisory_lock(i) FROM generate_series(1, 1000000) i", "42501"),
    # values
    "a value of 1 GB": (f"SELECT observ.push_gaps('web-1', 'a', to_jsonb(repeat('x', {1 << 30})))", "54000"),
    "JSON of 80 MB": ("SELECT observ.push_gaps('web-1', 'a', to_jsonb(array_fill(repeat('x', 1000000), "
                      "'{80}')))", "54000"),
    "JSON of 40 MB as state": ("SELECT observ.push_open('web-1', 'a', 1, 1, to_jsonb(array_fill(repeat('x', "
                               "1000000), '{40}')))", "OB002"),
    "a line of 300 MB": ("SELECT observ.push_logs('web-1', 'a', '{7}', '{1}', '{0}', ARRAY[now()], '{2}', "
                         "'{l}', "
                         "array_fill(repeat('x', 300000000), '{1}'), '{NULL}')", "54000"),
    "a million streams": ("SELECT observ.push_logs('web-1', 'a', array_fill(1::bigint, '{10000000}'), '{1}', "
                          "'{0}', ARRAY[now()], "
                          "'{2}', '{l}', '{m}', '{NULL}')", "54000"),
    "details of 2 MB": ("SELECT observ.push_metrics('web-1', 'a', "
                        "jsonb_build_array(jsonb_build_array(1795255200000000, false, "
                        "jsonb_build_object('a', repeat('x', 2000000)), 1)))", "54000"),
    "a name of 1 MB": ("SELECT observ.agent_hello('web-1', repeat('x', 1000000), 1, NULL, '1', 60, now())",
                       "22023"),
    "a clock at the end of time": ("SELECT observ.agent_hello('web-1', 'a', 1, NULL, '1', 60, 'infinity')",
                                   "22023"),
    "an epoch that ends all others": ("SELECT observ.agent_hello('web-1', 'a', 1, 9223372036854775807, '1', "
                                      "60, now())", "22023"),
}


def test_nothing_else_succeeds(thief):
    before = thief.others()
    wrong = {}
    for what, (sql, wanted) in REFUSED.items():
        code, message = thief.refusal(sql.replace("{db}", thief.db.name))
        if code != wanted:
            wrong[what] = (code, message)
    assert not wrong
    assert thief.others() == before, "and nothing has changed"


@pytest.mark.parametrize("when", ["infinity", "-infinity", "294276-01-01Z", "9999-12-31Z", "0001-01-01Z BC",
                                  "1999-12-31Z"])
def test_impossible_times_are_refused(thief, when):
    assert thief.refusal(logs(), "web-1", "shop", when, "x")[0] == "22008"


def test_false_times_leave_no_partition(thief):
    """Such rows go into the default partition; only days within the retention, and four days ahead, get a
    partition."""
    for when in ("2000-01-01Z", "2199-12-31Z"):
        thief.ask(logs(), "web-1", "shop", when, "far off")
    thief.ask(logs(), "web-1", "shop", "now", "x")
    thief.db.query("SELECT maintain()")
    days = ("SELECT min(lower_bound) > now() - interval '91 days' "
            "AND max(upper_bound) < now() + interval '5 days' FROM partitions(%s)")
    assert all(thief.db.one(days, t) for t in ("log_entries", "vps_metrics", "health_checks"))
    assert thief.db.one("SELECT ok FROM job_runs ORDER BY started_at DESC LIMIT 1")


def test_large_values_leave_the_server_its_memory(thief):
    """A value that is too large is refused before it is parsed: the backend holds it once or twice, never its
    parts."""
    with contextlib.closing(thief.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
        value = "x" * (200 << 20)
        with pytest.raises(psycopg2.Error, match=r"2097\d+ bytes in one call, at most 33554432 are taken"):
            cursor.execute("SELECT observ.push_logs('web-1', 'a', '{7}', '{1}', '{0}', ARRAY[now()], '{2}', "
                           "'{l}', ARRAY[%s], '{NULL}')", (value,))
        peak = re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{pid}/status", encoding="ascii").read())
        assert int(peak[1]) * KB < 10 * len(value)
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,), "the session goes on"


def test_applications_and_streams_are_counted(thief):
    thief.db.query("INSERT INTO agents (vps_name, app_name, epoch, first_seen_at, last_seen_at) "
                   "SELECT 'web-1', 'app ' || i, 1, now(), now() FROM generate_series(1, max_apps()) i")
    thief.db.query("INSERT INTO log_streams SELECT 'web-1', 'many', i, 'p', 'f', 'h', 't', 0, true, now() "
                   "FROM generate_series(1, max_streams()) i")
    code, message = thief.refusal("SELECT observ.agent_hello('web-1', 'one more', 1, NULL, '1', 60, now())")
    assert (code, 'server "web-1" has 1000 applications' in message) == ("54000", True), message
    code, message = thief.refusal("SELECT observ.push_positions('web-1', 'many', '[[-1, 0, 1, \"\", false, "
                                  "\"p\", \"f\", \"h\", \"t\"]]')")
    assert (code, '"many" on "web-1" has 500000 log files' in message) == ("54000", True), message
    assert thief.refusal("SELECT observ.agent_hello('web-1', 'shop', 1, NULL, '1', 60, now())")[0] is None, \
        "what is known goes on"
    thief.db.query("DELETE FROM agents WHERE app_name LIKE 'app %%'")
    thief.db.query("DELETE FROM log_streams WHERE app_name = 'many'")


def test_connections_stay_for_others(thief):
    with contextlib.ExitStack() as held:
        with pytest.raises(psycopg2.OperationalError, match="too many connections for role"):
            for _ in range(100):
                held.enter_context(contextlib.closing(thief.connect()))
        write(thief, "web-2", "obs_web_2", "still there")
        assert thief.db.one("SELECT count(*) FROM pg_stat_activity WHERE usename = 'obs_web_1'") == 20


def test_other_databases_refuse_it(thief):
    with pytest.raises(psycopg2.OperationalError, match="pg_hba.conf rejects"):
        thief.connect(database="postgres")


def maintain_without(thief, wait):
    """The output of maintain() with shorter limits for sessions, which would take too long in a test."""
    body = thief.db.one("SELECT pg_get_functiondef('maintain_sessions'::regproc)")
    assert f"'{wait}'" in body
    # It waits until the sessions that it terminates are gone, and counts only those.
    thief.db.query(body.replace(f"'{wait}'", "'0'").replace("(pid, 1000)", "(pid, 60000)"))
    try:
        return thief.db.one("SELECT maintain()")
    finally:
        thief.db.query(body)


def test_locks_and_long_transactions_end(thief):
    """It overrides its timeouts and keeps a transaction open, with a snapshot and locks that maintain()
    needs."""
    with contextlib.closing(thief.connect()) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("SET idle_in_transaction_session_timeout = 0")
        cursor.execute(logs(), ("web-1", "shop", "2199-01-01", "holds the default partition"))
        write(thief, "web-2", "obs_web_2", "not held up")
        said = maintain_without(thief, "1 minute")
        assert said.startswith("1 transactions ended that were open for too long")
        assert thief.db.one("SELECT ok FROM job_runs ORDER BY started_at DESC LIMIT 1"), said
        with pytest.raises(psycopg2.OperationalError, match=ENDED):
            cursor.execute("SELECT 1")
    assert thief.db.count("log_entries", "message = 'holds the default partition'") == 0


@pytest.mark.parametrize("sql", ["PREPARE p AS SELECT FROM observ.log_entries_default",
                                 "PREPARE p AS DELETE FROM observ.agent_roles"])
def test_a_lock_by_prepare_is_ended_after_seconds(thief, sql):
    """PREPARE takes the locks of a statement that the role may not run. A token can do that, too."""
    token = dict(thief.db.query("SELECT * FROM make_token()"))
    thief.passwords.update(token)
    for role in ("obs_web_1", *token):
        with contextlib.closing(thief.connect(role)) as connection, connection.cursor() as cursor:
            connection.autocommit = False
            cursor.execute("SET idle_in_transaction_session_timeout = 0")
            cursor.execute(sql)
            said = maintain_without(thief, "10 seconds")
            assert said.startswith("1 transactions ended"), said
            with pytest.raises(psycopg2.OperationalError, match=ENDED):
                cursor.execute("SELECT 1")


def hold_all(thief, role, stack):
    """Sessions that block their own termination, and default privileges that would prevent dropping the
    role."""
    thief.ask("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", role=role)
    for sql in (f"ALTER ROLE {role} PASSWORD 'x'", "PREPARE p AS DELETE FROM observ.agent_roles",
                "PREPARE p AS DELETE FROM observ.bootstrap_tokens"):
        connection = stack.enter_context(contextlib.closing(thief.connect(role)))
        connection.autocommit = False
        connection.cursor().execute("SET idle_in_transaction_session_timeout = 0")
        connection.cursor().execute(sql)


def at_once(thief, sql, *parameters):
    """The operator's statement, which does not wait for the attacker, and is not tried again."""
    with contextlib.closing(thief.db.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")
        cursor.execute(sql, parameters or None)
        return cursor.fetchall()


@pytest.mark.parametrize("end", ["SELECT revoke_server('web-9')", "SELECT enroll('web-9')",
                                 "SELECT rotate_finish('web-9')"])
def test_it_cannot_keep_itself(thief, end):
    thief.passwords.update(thief.db.query("SELECT * FROM enroll('web-9')"))
    with contextlib.ExitStack() as held:
        hold_all(thief, "obs_web_9", held)
        if "finish" in end:
            at_once(thief, "SELECT * FROM rotate_server('web-9')")
        at_once(thief, end)
    assert thief.db.one("SELECT count(*) FROM pg_stat_activity WHERE usename = 'obs_web_9'") == 0
    thief.db.query("SELECT revoke_server('web-9')")
    assert thief.db.one("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'obs_web_9%%'") == 0


def test_it_cannot_keep_itself_by_one_session_after_the_other(thief):
    """Each session starts when the one before it is about to be terminated, and queues for the same lock."""
    thief.passwords.update(thief.db.query("SELECT * FROM enroll('web-9')"))
    with contextlib.ExitStack() as held, concurrent.futures.ThreadPoolExecutor() as pool:
        for turn in range(4):
            connection = held.enter_context(contextlib.closing(thief.connect("obs_web_9")))
            connection.autocommit = False
            connection.cursor().execute("PREPARE p AS DELETE FROM observ.agent_roles")
            if turn == 0:
                enrolling = pool.submit(at_once, thief, "SELECT enroll('web-8')")
                thief.db.wait("SELECT count(*) > 0 FROM pg_locks "
                              "WHERE relation = 'observ.agent_roles'::regclass AND NOT granted")
        assert enrolling.result()
    thief.db.query("SELECT revoke_server('web-8'), revoke_server('web-9')")


def test_a_token_cannot_keep_itself(thief):
    (role, password), = thief.db.query("SELECT * FROM make_token()")
    thief.passwords[role] = password
    with contextlib.ExitStack() as held:
        hold_all(thief, role, held)
        assert at_once(thief, "SELECT revoke_token(%s)", role) == [(True,)]
    assert thief.db.one("SELECT count(*) FROM pg_roles WHERE rolname = %s", role) == 0


def test_a_token_in_use_is_taken_back(thief):
    """A token locks its own row, and the server that it enrolled is not visible before it commits."""
    (role, password), = thief.db.query("SELECT * FROM make_token()")
    thief.passwords[role] = password
    with contextlib.closing(thief.connect(role)) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        cursor.execute("SET idle_in_transaction_session_timeout = 0")
        cursor.execute("SELECT observ.bootstrap_enroll('taken back')")
        assert at_once(thief, "SELECT revoke_token(%s)", role) == [(True,)]
        with pytest.raises(psycopg2.OperationalError, match=ENDED):
            cursor.execute("SELECT 1")
    assert thief.db.count("agent_roles", "vps_name = 'taken back'") == 0


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_token_does_not_look_through_an_old_snapshot(thief, level):
    """Otherwise it would not see that the name was enrolled meanwhile, and would take it over."""
    thief.passwords.update(thief.db.query("SELECT * FROM make_token()"))
    role = list(thief.passwords)[-1]
    with contextlib.closing(thief.connect(role)) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        with pytest.raises(psycopg2.Error, match="in read committed transactions only"):
            cursor.execute("SELECT observ.bootstrap_enroll('fresh')")
    assert thief.db.count("agent_roles", "vps_name = 'fresh'") == 0


def test_a_table_full_of_savepoints_locks_ends_with_its_process(thief):
    """PostgreSQL cannot prevent this, as docs/security.md says: others are locked out until an operator kills
    the process."""
    with contextlib.closing(thief.connect()) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        gap = """SELECT observ.push_gaps('web-1', 'shop', '[[1795255200000000,1,"x",1,1,"x"]]')"""
        with pytest.raises(psycopg2.Error, match="out of shared memory"):
            for _ in range(200):
                cursor.execute(f"SAVEPOINT s; {gap};" * 500)
        with pytest.raises(psycopg2.OperationalError, match="out of shared memory"):
            thief.connect("obs_web_2").close()
        os.kill(connection.info.backend_pid, signal.SIGTERM)
        wait_for(lambda: not os.path.exists(f"/proc/{connection.info.backend_pid}"), "the end of the process")
        write(thief, "web-2", "obs_web_2", "in again")
    assert thief.db.count("gaps", "vps_name = 'web-1' AND bytes = 1") == 0


def test_a_flood_of_notifications_reaches_nobody(thief):
    """NOTIFY cannot be revoked. No session here listens, so the queue stays empty, and others keep
    writing."""
    with contextlib.closing(thief.connect()) as connection, connection.cursor() as cursor:
        for _ in range(200):
            cursor.execute(f"NOTIFY x, '{'y' * 7999}'")
        write(thief, "web-2", "obs_web_2", "not bothered")
    assert thief.db.one("SELECT pg_notification_queue_usage()") == 0


def test_its_own_password_is_taken_back(thief):
    """PostgreSQL lets each role change its own password and settings: that harms only itself, and enroll()
    undoes it."""
    thief.ask("ALTER ROLE obs_web_1 SET work_mem = '1GB'")
    thief.ask("ALTER ROLE obs_web_1 PASSWORD 'mine'")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        thief.connect()
    thief.passwords["obs_web_1"] = "mine"
    assert thief.ask("SHOW work_mem") == [("1GB",)]
    thief.passwords.update(thief.db.query("SELECT * FROM enroll('web-1')"))
    assert thief.ask("SHOW work_mem") == [("4MB",)]
    assert thief.ask("SHOW temp_file_limit") == [("256MB",)]


def test_revoking_ends_its_sessions_at_once(thief):
    with contextlib.closing(thief.connect()) as connection, connection.cursor() as cursor:
        thief.db.query("SELECT revoke_server('web-1')")
        with pytest.raises(psycopg2.OperationalError, match=ENDED):
            wait_for(lambda: cursor.execute("SELECT 1"), "the end of the session")
    with pytest.raises(psycopg2.OperationalError, match="pg_hba.conf rejects"):      # it is no agent now
        thief.connect()
    assert thief.db.count("log_entries", "vps_name = 'web-1'") > 0, "what it wrote stays"
