"""fleet_watch doctor names what keeps alerts from being delivered."""
import socket

from harness import PATIENCE_S
from peers import READ, HttpPeer, answer
from watching import Watcher, add_channel, say, wait_sent, wait_tried, watch_role


def test_the_doctor_names_what_is_wrong(watched, make_watcher):
    watcher = make_watcher()
    done = watcher.run("doctor")
    assert done.returncode == 1 and "FAIL no watcher leads; systemctl enable" in done.stdout
    assert "FAIL no channel is enabled" in done.stdout and "alerts were never evaluated yet" in done.stdout
    with HttpPeer() as good, HttpPeer([[READ, answer(500, "boom")]]) as bad:
        add_channel(watched, "good", "webhook", {"url": good.url})
        watcher.start().leads()
        watched.query("UPDATE alert_clock SET evaluated_until = now(), watcher = 'me'")
        wait_sent(watched, say(watched, "good"))
        done = watcher.run("doctor")
        assert done.returncode == 0 and "ok   a watcher leads" in done.stdout, done.stdout
        assert "by me" in done.stdout and "warn messages have no links" in done.stdout
        add_channel(watched, "bad", "webhook", {"url": bad.url})
        wait_tried(watched, say(watched, "bad"))
        watched.query("INSERT INTO channels (name, kind, disabled_at, disabled_reason) "
                      "VALUES ('old', 'slack', now(), 'status 410')")
        done = watcher.run("doctor")
    assert done.returncode == 1
    assert ("FAIL channels that fail: bad (the webhook answered with status 500: boom, for the last try)"
            in done.stdout)
    assert "warn disabled: old (status 410)" in done.stdout


def test_the_log_says_which_right_is_missing_and_a_failure_once(db, tmp_path):
    watch_role(db)
    db.query("REVOKE EXECUTE ON FUNCTION evaluate_alerts FROM observ_watch;"
             " ALTER FUNCTION external_questions RENAME TO questions_of_another_version")
    unit = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    unit.bind(str(tmp_path / "notify"))
    unit.settimeout(PATIENCE_S)
    watcher = Watcher(tmp_path / "w", db).start(env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
    try:
        status = ""
        while "permission denied" not in status:
            status = unit.recv(65536).decode()
        assert "STATUS=leading; not evaluated yet; 0 messages under way" in status
        watcher.wait_said("permission denied for function evaluate_alerts (SQLSTATE 42501);"
                          " GRANT observ_watch TO the login of database_url")
        asked = db.one("SELECT clock_timestamp()")
        db.wait("SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'watch' AND query_start"
                " > %s::timestamptz + interval '3 seconds'", asked)
    finally:
        watcher.kill()
    said = [line for line in watcher.said().splitlines() if "questions of rules can't be read" in line]
    assert len(said) == 1 and "the schema is older or newer than this program" in said[0], said


def test_the_doctor_names_a_rule_whose_answer_is_an_error(watched, make_watcher):
    for name, is_active in (("broken", True), ("off", False), ("mended", True)):
        rule = watched.one("""INSERT INTO alert_rules (name, kind, params, warning, is_active)
            VALUES (%s, 'sql', '{"sql": "SELECT 1 AS value"}', 1, %s) RETURNING rule_id""", name, is_active)
        watched.query("INSERT INTO external_answers VALUES (%s, now() - interval '1 minute', '[]',"
                      " 'no such view')", str(rule))
        if name == "mended":
            watched.query("INSERT INTO external_answers VALUES (%s, now(), '[]', NULL)", str(rule))
    watched.query("""INSERT INTO rule_problems SELECT rule_id, 'division by zero', now() FROM alert_rules
        WHERE builtin = 'cpu'""")
    said = make_watcher().run("doctor").stdout
    assert "CPU busy (division by zero)" in said, said
    said = said.replace("CPU busy (division by zero); ", "").replace("; CPU busy (division by zero)", "")
    assert "FAIL rules that can't be evaluated: broken (no such view); correct the rule" in said, said


def test_the_doctor_says_that_there_is_no_database(watched, make_watcher):
    watcher = make_watcher(database_url="postgresql://watch:geheim@127.0.0.1:1/x")
    done = watcher.run("doctor")
    assert done.returncode == 1 and "FAIL database postgresql://watch:***@127.0.0.1:1/x" in done.stdout
    assert "geheim" not in done.stdout
