"""Exactly once: a writer numbers its lines, faults happen, and in the end each line is one row."""
import contextlib
import http.server
import json
import os
import random
import socket
import threading
import time

import pytest
from harness import Watch, wait_for
from writer import Writer, check_exactly_once


@pytest.fixture
def answering():
    """answering(status) -> URL of an HTTP server that always answers with it."""
    servers = []

    def start(status):
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/health"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.smoke
def test_a_line_is_in_the_database_within_two_seconds(db, make_agent, log):
    log.write_text('{"message":"first"}\n')
    agent = make_agent(db, log_files=[str(log)]).start()
    db.wait("SELECT count(*) = 1 FROM log_entries")
    with open(log, "a") as f, Watch(agent) as watch:
        f.write('{"level":"ERROR","message":"second","context":{"order":7}}\n')
        f.flush()
        began = time.monotonic()
        db.wait("SELECT count(*) = 2 FROM log_entries")
        took = time.monotonic() - began
    assert took < 2.0 + watch.stall
    assert db.query("SELECT level, message, context->>'order' FROM log_entries WHERE message = 'second'") == \
        [("ERROR", "second", "7")]


@pytest.mark.alone
@pytest.mark.smoke
def test_metrics_appear_each_interval(db, make_agent):
    agent = make_agent(db)
    with Watch(agent) as watch:
        agent.start()
        db.wait("SELECT count(*) >= 3 FROM vps_metrics", timeout=40)
    gaps = [r[0] for r in db.query("""SELECT extract(epoch
                                        FROM timestamp - lag(timestamp) OVER (ORDER BY timestamp))::float
                                        FROM vps_metrics ORDER BY timestamp OFFSET 2""")]
    assert all(abs(g - 10) < 1.5 + watch.stall for g in gaps), gaps
    row = db.query("SELECT cpu_percent, memory_percent, disk_percent, load_avg_1m FROM vps_metrics "
                   "ORDER BY timestamp OFFSET 1 LIMIT 1")[0]
    assert all(v is not None and v >= 0 for v in row), row


@pytest.mark.smoke
def test_a_failing_check_appears_with_its_class(db, make_agent, answering):
    """Good, 503, and a closed port; the last two have different error classes."""
    urls = [answering(200), answering(503), "http://127.0.0.1:1/"]
    make_agent(db, health_checks=[{"url": u, "interval": 10, "retries": 0} for u in urls]).start()
    db.wait("SELECT count(DISTINCT url) = 3 FROM health_checks", timeout=25)
    found = {url: rest for url, *rest in db.query(
        "SELECT DISTINCT ON (url) url, success, status_code, error_class FROM health_checks "
        "ORDER BY url, timestamp DESC")}
    assert found == {urls[0]: [True, 200, None], urls[1]: [False, 503, "status"],
                     urls[2]: [False, None, "refused"]}
    assert db.one("SELECT bool_and(response_time_ms > 0) FROM health_checks WHERE success")
    assert db.query("SELECT DISTINCT interval_s FROM health_checks") == [(10,)]


def test_killed_fifty_times_while_the_server_restarts(own_cluster, make_agent, log):
    db = own_cluster.new_database()
    chance = random.Random(20)
    agent = make_agent(db, log_files=[str(log)])
    writer = Writer(log, rate=5000).start()
    for kill in range(50):
        agent.start()
        time.sleep(chance.uniform(0.05, 2.5))   # the instant of the kill: any will do
        agent.kill()
        if kill % 10 == 5:
            own_cluster.stop(chance.choice(["fast", "immediate"]))
            own_cluster.start()
    written = writer.stop()
    agent.start()
    check_exactly_once(db, written)


def test_server_restarts_under_a_running_agent(own_cluster, make_agent, log):
    db = own_cluster.new_database()
    agent = make_agent(db, log_files=[str(log)]).start()
    writer = Writer(log, rate=5000).start()
    for mode in ("fast", "immediate", "fast"):
        before = db.count("log_entries")
        db.wait("SELECT count(*) > %s FROM log_entries", before)
        db.close()
        own_cluster.stop(mode)
        own_cluster.start()
        db.wait("SELECT count(*) > %s FROM log_entries", before, timeout=10)
    check_exactly_once(db, writer.stop())
    assert agent.running()


def test_backends_killed_at_random(own_cluster, make_agent, log):
    db = own_cluster.new_database()
    chance = random.Random(7)
    make_agent(db, log_files=[str(log)]).start()
    writer = Writer(log, rate=5000).start()
    for _ in range(20):
        time.sleep(chance.uniform(0.05, 0.8))   # the instant: any will do
        db.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'agents'")
    check_exactly_once(db, writer.stop())






def test_truncation_is_a_gap_and_the_new_text_is_read_once(db, make_agent, log):
    make_agent(db, log_files=[str(log)]).start()
    for turn, text in enumerate(["old one\nold two\n", "new\n", "longer than all that was here before\n"]):
        log.write_text(text)                    # truncates the same file
        db.wait("SELECT count(*) >= %s FROM log_entries", [2, 3, 4][turn])
    assert sorted(m for (m,) in db.query("SELECT message FROM log_entries")) == \
        ["longer than all that was here before", "new", "old one", "old two"]
    assert db.query("SELECT kind, count(*)::int FROM gaps GROUP BY kind") == [("truncated", 2)]


def test_a_line_too_long_is_cut_marked_and_counted(db, make_agent, log):
    make_agent(db, log_files=[str(log)]).start()
    with open(log, "w") as f:
        f.write("before\n" + "x" * 1_000_000 + "\n" + "y" * 262144 + "\nafter\n")
    db.wait("SELECT count(*) = 4 FROM log_entries")
    rows = db.query("SELECT length(message), context->>'_cut_bytes' FROM log_entries ORDER BY stream_offset")
    assert rows == [(6, None), (262144, "1000000"), (262144, None), (5, None)]
    assert db.query("SELECT kind, lines::int, bytes::int FROM gaps") == [("line_cut", 1, 1_000_000 - 262144)]


def test_of_two_agents_with_one_identity_the_older_is_fenced(db, make_agent, log):
    log.write_text("one\n")
    first = make_agent(db, name="first", log_files=[str(log)]).start()
    db.wait("SELECT count(*) = 1 FROM log_entries")
    second = make_agent(db, name="second", log_files=[str(log)]).start()
    second.wait_said("connected to the database")
    with open(log, "a") as f:
        f.write("two\n")
    assert first.wait(15) == 76
    assert "another agent" in first.said()
    assert db.query("SELECT host, conflict, conflict_at > now() - interval '1 minute' FROM v_agents") == \
        [(os.uname().nodename, os.uname().nodename, True)], "and that there were two can be seen"
    db.wait("SELECT count(*) = 2 FROM log_entries")
    assert second.running()
    assert db.query("SELECT message, count(*)::int FROM log_entries GROUP BY 1 ORDER BY 1") == [("one", 1),
                                                                                                ("two", 1)]


def test_rights_taken_away_and_given_back(db, make_agent, log):
    writer = Writer(log, rate=1000).start()
    agent = make_agent(db, log_files=[str(log)]).start()
    db.wait("SELECT count(*) > 100 FROM log_entries")
    db.query("REVOKE observ_agent_any FROM agents")
    agent.wait_said("database refuses")
    assert "42501" in agent.said()
    db.query("GRANT observ_agent_any TO agents")
    check_exactly_once(db, writer.stop(), timeout=90)


def test_a_refused_sign_in_is_reported_with_its_fix(db, make_agent):
    agent = make_agent(db, postgres_url=db.url("nobody_here")).start()
    agent.wait_said("check user and password in the URL, and pg_hba.conf")
    assert "28000" in agent.said() and "LOCATION" not in agent.said()
    db.query("CREATE ROLE nobody_here LOGIN IN ROLE observ_agent_any")
    try:
        agent.wait_said("connected to the database", timeout=70)
    finally:
        agent.kill()
        db.query("DROP ROLE nobody_here")


def test_fault_11_a_slow_line_is_not_a_dead_one(db, make_agent, log):
    """A batch of 1 MB at 40 kB/s takes longer than 15 s, after which the agent gives up a silent database."""
    settings = dict(pair.split("=", 1) for pair in db.url().split())

    def pump(source, target, rate):
        with contextlib.suppress(OSError):
            while data := source.recv(1024):
                if rate:
                    time.sleep(len(data) / rate)        # the line
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve(listener):
        with contextlib.suppress(OSError):
            while True:
                near, far = listener.accept()[0], socket.socket(socket.AF_UNIX)
                far.connect(f"{settings['host']}/.s.PGSQL.{settings['port']}")
                threading.Thread(target=pump, args=(near, far, 40_000), daemon=True).start()
                threading.Thread(target=pump, args=(far, near, 0), daemon=True).start()

    with socket.socket() as listener:
        # the line is slow, not the proxy
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        threading.Thread(target=serve, args=[listener], daemon=True).start()
        log.write_text("".join(f"line {i} {'x' * 200}\n" for i in range(4900)))
        url = (f"host=127.0.0.1 port={listener.getsockname()[1]} user=agents dbname={settings['dbname']} "
               "sslmode=disable")
        agent = make_agent(db, postgres_url=url, log_files=[str(log)]).start()
        db.wait("SELECT count(*) = 4900 FROM log_entries", timeout=90)
        assert "no answer" not in agent.said()


@pytest.mark.smoke
def test_stops_within_five_seconds_under_load(db, make_agent, log):
    agent = make_agent(db, log_files=[str(log)]).start()
    writer = Writer(log, rate=20000).start()
    db.wait("SELECT count(*) > 1000 FROM log_entries")
    assert agent.stop(timeout=5.0) == 0
    agent.start()
    check_exactly_once(db, writer.stop())


def test_once_writes_one_round_and_ends(db, make_agent, log):
    log.write_text("one\ntwo\n")
    done = make_agent(db, log_files=[str(log)]).run("--once")
    assert done.returncode == 0, done.stderr
    assert (db.count("log_entries"), db.count("vps_metrics") >= 1) == (2, True)


def test_dry_run_prints_json_and_writes_nothing(db, make_agent, log):
    log.write_text('ERROR one\n{"message":"two"}\n')
    done = make_agent(db, log_files=[str(log)]).run("--once", "--dry-run")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(r["level"], r["message"], r.get("context")) for r in rows if r["table"] == "log_entries"] == \
        [("ERROR", "one", {"_prefix": "ERROR "}), ("INFO", "two", None)]
    assert any(r["table"] == "vps_metrics" and r["memory_percent"] > 0 for r in rows)
    assert (db.count("log_entries"), db.count("vps_metrics"), db.count("agents")) == (0, 0, 0)


@pytest.mark.smoke
def test_status_reports_delivery_and_files(db, make_agent, log):
    log.write_text("one\n")
    agent = make_agent(db, log_files=[str(log)]).start()
    db.wait("SELECT count(*) = 1 FROM log_entries")
    db.wait("SELECT count(*) > 0 FROM vps_metrics")
    status = agent.status()
    assert status["connected"] and status["lost"] == 0
    assert status["tail"]["streams"][0]["path"] == str(log)
    kinds = status["rows_by_kind"]
    tables = {"logs": "log_entries", "metrics": "vps_metrics", "checks": "health_checks", "gaps": "gaps",
              "rejects": "rejects"}
    assert {kind: db.count(table) for kind, table in tables.items()} == kinds
    assert sum(kinds.values()) == status["rows"]
    agent.kill()
    stopped = agent.run("status")
    assert stopped.returncode == 69 and "is the agent running?" in stopped.stderr


@pytest.mark.smoke
def test_a_log_that_cannot_be_followed_is_in_the_database_at_once_and_until_it_can(db, make_agent, log):
    """The agent sends this at once, not with the next metrics, which are due in an hour here."""
    other = log.with_name("other.log")
    make_agent(db, log_files=[str(log), str(other)], collection_interval=3600).start()
    db.wait("SELECT count(*) > 0 FROM vps_metrics")
    os.mkfifo(other)
    db.wait("SELECT state->'tail'->'troubles'->0->>'path' = %s FROM agents", str(other))
    assert "not a regular file" in db.one("SELECT state->'tail'->'troubles'->0->>'why' FROM agents")
    other.unlink()
    other.write_text("one\n")
    db.wait("SELECT state->'tail'->'troubles' = '[]' FROM agents")
    assert db.count("vps_metrics") == 1


def test_one_error_of_several_addresses_is_logged_once(make_agent):
    agent = make_agent(None,
                       postgres_url="postgresql://agents@127.0.0.1:1,127.0.0.2:1/x?sslmode=disable").start()
    agent.wait_said("database away")
    refused = [line for line in (agent.said() + agent.run("doctor").stdout).splitlines()
               if "Connection refused" in line]
    assert len(refused) >= 2
    for line in refused:
        assert (line.count("Connection refused") == 1 and "the same at" in line.lower()
                and "127.0.0.2" in line), line


@pytest.mark.parametrize("other", [
    pytest.param("""CREATE FUNCTION observ.push(text, text, bigint, bigint, jsonb, jsonb, jsonb)
                    RETURNS void LANGUAGE sql AS 'SELECT'""", id="several parameters"),
    pytest.param("""CREATE FUNCTION observ.push(jsonb) RETURNS SETOF void
                    LANGUAGE plpgsql AS $$BEGIN RAISE 'no function for rows of kind 0'
                    USING ERRCODE = '42883'; END$$""", id="no such kind of row"),
])
def test_a_schema_of_another_version_is_said_and_loses_nothing(db, make_agent, other):
    db.query("ALTER FUNCTION observ.push RENAME TO push_kept")
    db.query(other)
    agent = make_agent(db).start()
    agent.wait_said("the schema is older or newer than this program: run schema.sql of this version")
    db.query("DROP FUNCTION observ.push")
    db.query("ALTER FUNCTION observ.push_kept RENAME TO push")
    db.wait("SELECT count(*) > 0 FROM vps_metrics", timeout=100)


@pytest.mark.parametrize("part, words", [
    ("dbname=nowhere", "create the database and run schema.sql in it"),
    ("user=nobody",
     "check user and password in the URL, and pg_hba.conf; a retired or revoked server has no login"),
])
def test_doctor_has_the_agents_own_hint(db, make_agent, part, words):
    """A refusal of the server has one hint, for every program."""
    key = part.split("=", maxsplit=1)[0]
    url = " ".join(part if pair.startswith(key) else pair for pair in db.url().split())
    agent = make_agent(None, postgres_url=url).start()
    agent.wait_said(words)
    said = [line for line in agent.run("doctor").stdout.splitlines() if line.startswith("FAIL database ")]
    assert len(said) == 1 and said[0].endswith("; " + words), said


@contextlib.contextmanager
def systemd_listens(folder):
    """The notifications of an agent to systemd: (seconds since the start, STATUS=)."""
    path, said = folder / "notify", []
    began = time.monotonic()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.setblocking(False)

        def look():
            with contextlib.suppress(BlockingIOError):
                while True:
                    lines = listener.recv(65536).decode().splitlines()
                    said.extend((time.monotonic() - began, line[7:]) for line in lines
                                if line.startswith("STATUS="))
            return said

        yield path, look


def test_the_units_status_follows_what_happens(db, make_agent, log, short_dir):
    """Connected, the first commit, a lost server, a refused reload: each changes the status at once, not
    after 30 s."""
    with systemd_listens(short_dir) as (notify, look):
        agent = make_agent(db, log_files=[str(log)], environment={"NOTIFY_SOCKET": str(notify)}).start()
        good = agent.config.read_text()

        def wait_status(words):
            wait_for(lambda: look() and words in look()[-1][1],
                     f"{words!r} in STATUS=, not {look()[-1:]}", 90)

        wait_status("ok, last commit ")
        agent.config.write_text("monitoring: [")
        agent.reload()
        wait_status("; the last reload was refused: " + str(agent.config) + ":2:1: ")
        agent.config.write_text(good)
        agent.reload()
        wait_for(lambda: look()[-1][1].startswith("ok") and "refused" not in look()[-1][1],
                 "the good one", 90)
        db.query("ALTER ROLE agents NOLOGIN")
        db.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'agents'")
        try:
            wait_status("buffering since ")
        finally:
            db.query("ALTER ROLE agents LOGIN")
        wait_status("ok, last commit ")
        assert len(look()) <= look()[-1][0] + 2, "more than one a second"


@pytest.mark.smoke
def test_reload_keeps_the_old_configuration_when_the_new_one_is_broken(db, make_agent, log):
    other = log.with_name("other.log")
    agent = make_agent(db, log_files=[str(log)]).start()
    log.write_text("one\n")
    db.wait("SELECT count(*) = 1 FROM log_entries")
    agent.config.write_text("monitoring: [")
    agent.reload()
    agent.wait_said("not reloaded")
    agent.configure({"enabled": True, "vps_name": "test", "collection_interval": 10, "postgres_url": db.url(),
                     "log_files": [str(log), str(other)]})
    agent.reload()
    agent.wait_said("configuration reloaded")
    other.write_text("two\n")
    with open(log, "a") as f:
        f.write("three\n")
    db.wait("SELECT count(*) = 3 FROM log_entries")


def test_reload_adds_the_first_log_file(db, make_agent, log):
    """The tail source starts late here and must still get the database's positions, or it would wait for
    ever."""
    settings = {"enabled": True, "vps_name": "test", "collection_interval": 10, "postgres_url": db.url()}
    agent = make_agent(db).start()
    db.wait("SELECT count(*) >= 1 FROM vps_metrics", timeout=20)
    log.write_text("one\n")
    agent.configure({**settings, "log_files": [str(log)]})
    agent.reload()
    db.wait("SELECT count(*) = 1 FROM log_entries")
    with open(log, "a") as f:
        f.write("two\n")
    db.wait("SELECT count(*) = 2 FROM log_entries")
    assert db.count("gaps") == 0


def test_a_database_set_back_does_not_end_the_agent(db, make_agent, log):
    """A failover or a restore lost the last hello, batch and position: no other agent has taken over."""
    log.write_text("before the backup\n")
    agent = make_agent(db, log_files=[str(log)]).start()
    db.wait("SELECT count(*) = 1 FROM log_entries")
    db.query("""WITH a AS (UPDATE agents SET epoch = epoch - 1, last_seq = 0), s AS (DELETE FROM log_streams)
                DELETE FROM log_entries""")
    with open(log, "a") as f:
        f.write("after\n")
    db.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'agents'")
    db.wait("SELECT count(*) = 2 FROM log_entries")
    assert agent.running()


def test_many_files_take_turns(db, make_agent, tmp_path):
    """More busy files than a batch has streams."""
    files = [tmp_path / f"many/{i}.log" for i in range(150)]
    files[0].parent.mkdir()
    make_agent(db, log_files=[str(tmp_path / "many/*.log")]).start()
    for turn in range(3):
        for i, path in enumerate(files):
            with open(path, "a") as f:
                f.write(f"file {i} turn {turn}\n" * 5)
    db.wait("SELECT count(*) = 2250 FROM log_entries", timeout=20)
    assert db.one("SELECT count(DISTINCT message) FROM log_entries") == 450
