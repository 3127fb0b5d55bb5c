"""log_level debug and trace report the agent's work, show no secret, and do not loop if the agent follows its
own log."""
import json
import subprocess
import time

import pytest
from harness import wait_for

QUIET_S = 4             # several times the flush delay of a line


def lines(agent):
    return [json.loads(line) for line in agent.said().splitlines()]


def messages(agent, level):
    return {line["message"] for line in lines(agent) if line["level"] == level}


@pytest.fixture
def watched(db, make_agent, tmp_path, bad):
    """An agent of that level that follows a log and its own log; all its intervals are an hour."""
    def start(level):
        log = tmp_path / "app.log"
        log.touch()
        checks = [{"url": f"http://user:hidden-in-url@127.0.0.1:{bad['http']}/ok?token=hidden-in-query",
                   "interval": 3600,
                   "headers": {"X-Key": "hidden-in-header"}}]
        agent = make_agent(db, log_level=level, collection_interval=3600, log_files=[str(log)],
                           health_checks=checks)
        agent.configure({**json.loads(agent.config.read_text())["monitoring"],
                         "log_files": [str(log), str(agent.log)]})
        agent.start()
        with open(log, "a", encoding="ascii") as f:
            f.write('{"message":"one of the application"}\n')
        db.wait("SELECT count(*) = 1 FROM log_entries WHERE message = 'one of the application'")
        db.wait("SELECT count(*) > 0 FROM health_checks")
        db.wait("SELECT count(*) > 0 FROM vps_metrics")
        return agent, log
    return start


def settled(db, log):
    """Wait until the database has the agent's whole log and the log stops growing. Returns its size."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        size = log.stat().st_size
        time.sleep(QUIET_S)
        if log.stat().st_size == size == db.one('SELECT max("position") FROM log_streams WHERE path = %s',
                                                str(log)):
            return size
    pytest.fail("the agent's log has no end:\n" + log.read_text()[-3000:])


def test_debug_reports_the_agents_work(db, watched):
    agent, log = watched("debug")
    settled(db, agent.log)
    told = messages(agent, "DEBUG")
    assert {"connecting to the database", "the database greets", "log file opened", "batch committed",
            "check finished", "metrics taken"} <= told
    check = next(line["context"] for line in lines(agent) if line["message"] == "check finished")
    assert (check["good"], check["status"], check["attempts"]) == (True, 200, 1)
    committed = [line["context"] for line in lines(agent) if line["message"] == "batch committed"]
    assert sum(c["metrics"] for c in committed) == 1 and sum(c["checks"] for c in committed) == 1
    assert all(c["ms"] >= 0 and c["seq"] > 0 for c in committed)
    assert messages(agent, "TRACE") == set()
    log.write_bytes(b"")
    agent.wait_said('"log file truncated"')
    log.rename(f"{log}.1")
    agent.wait_said(f'"log rotated: {log} is now {log}.1"')
    log.touch()
    # app.log, agent.log, app.log
    wait_for(lambda: agent.said().count('"log file opened"') >= 3, "the new log is opened")
    log.unlink()
    agent.wait_said('"log file removed"')


def test_trace_reports_more_and_does_not_loop(db, watched):
    """Sending a line of its own log must not log another line."""
    agent, log = watched("trace")
    before = settled(db, agent.log)
    assert {"batch sent", "log file read", "check begins"} <= messages(agent, "TRACE")
    with open(log, "a", encoding="ascii") as f:
        f.write('{"message":"another"}\n')
    db.wait("SELECT count(*) = 1 FROM log_entries WHERE message = 'another'")
    assert settled(db, agent.log) - before < 2000
    assert db.one("SELECT count(*) FROM log_entries WHERE message = 'batch committed'") > 0


def test_its_own_log_does_not_loop_through_a_pipe(db, make_agent, tmp_path):
    """Through a pipe, as with syslog: the agent does not write to the file itself."""
    syslog = tmp_path / "syslog"
    agent = make_agent(db, log_level="trace", collection_interval=3600, log_files=[str(syslog)])
    with open(syslog, "ab") as to, open(agent.log, "ab") as out:
        logger = subprocess.Popen(["sed", "-u", "s/^/Nov 30 10:00:00 host obs_agent[7]: /"],
                                  stdin=subprocess.PIPE, stdout=to)
        agent.process = subprocess.Popen(agent.command(), env=agent.environment, cwd=agent.folder, stdout=out,
                                         stderr=logger.stdin)
        logger.stdin.close()
    db.wait("SELECT count(*) > 0 FROM log_entries WHERE message LIKE '%%batch committed%%'")
    settled(db, syslog)
    agent.stop()
    assert logger.wait(10) == 0


def test_debug_and_trace_show_no_secret(db, watched):
    agent, _ = watched("trace")
    settled(db, agent.log)
    assert "hidden-in" not in agent.said()
    assert db.url() not in agent.said()


def test_info_is_silent(db, watched):
    agent, _ = watched("info")
    settled(db, agent.log)
    assert messages(agent, "DEBUG") | messages(agent, "TRACE") == set()
