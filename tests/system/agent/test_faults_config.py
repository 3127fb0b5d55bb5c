"""Configurations that break while the agent runs, and schemas of another version."""
import re

import pytest
from harness import wait_for
from oracle import judge, rows_again
from writer import Writer


def good(db, log):
    return {"enabled": True, "vps_name": "test", "collection_interval": 10, "postgres_url": db.url(),
            "log_files": [str(log)]}


def bombs(text):
    """Name and content of files that must not replace the configuration `text`."""
    laughs = "".join(f"    l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 20))
    return {
        "broken": "monitoring: [",
        "half-written": text[:len(text) // 2],
        "empty": "",
        "alias bomb": f"monitoring:\n  log_files:\n    l0: &l0 [lol]\n{laughs}",
        "10 MB": text + "#" + "x" * 10_000_000,
        "unknown key": text.replace('"enabled"', '"colection_interval": 5,\n "enabled"'),
        "undefined variable": text.replace('"test"', '"${NOT_DEFINED_ANYWHERE}"'),
        "deep": "monitoring:\n  log_files: " + "[" * 5000,
        "binary": "monitoring:\n  enabled: \x00\x01\x02",
    }


def test_fault_33_a_bad_configuration_never_replaces_a_good_one(db, make_agent, log):
    """The agent refuses each with one line that names the place, --check-config prints the same, and lines
    keep arriving."""
    agent = make_agent(db, log_files=[str(log)]).start()
    writer = Writer(log, 2000).start()
    rows_again(db)
    text = agent.config.read_text()
    for n, (name, bad) in enumerate(bombs(text).items(), 1):
        agent.config.write_text(bad)
        checked = agent.run("--check-config")
        assert checked.returncode == 78, name
        place = re.escape(str(agent.config)) + r"(:\d+:\d+)?: "
        assert re.match(place, checked.stderr) and checked.stderr.count("\n") == 1, (name, checked.stderr)
        agent.reload()
        wait_for(lambda: agent.said().count("not reloaded") == n, f"the reload of {name} is refused")
        rows_again(db)
    said = [line for line in agent.said().splitlines() if "not reloaded" in line]
    assert all(str(agent.config) in line for line in said), said
    agent.configure({**good(db, log), "collection_interval": 11})
    agent.reload()
    agent.wait_said("configuration reloaded")
    judge(33, db, writer.stop(), recovery=rows_again(db, before=0), note=f"{n} kinds of bad configuration")
    assert agent.running()


@pytest.mark.parametrize("statement, words", [
    ("UPDATE observ.schema_version SET version = 0", "schema is older"),
    ("ALTER FUNCTION observ.push_logs RENAME TO push_logs_of_another_version", "schema"),
    ("ALTER TABLE observ.log_entries RENAME COLUMN message TO msg", "42703"),
    ("ALTER SCHEMA observ RENAME TO elsewhere", "schema"),
])
def test_fault_34_an_unknown_schema(db, make_agent, log, statement, words):
    """The agent reports the schema and keeps its samples; with the right schema, it delivers all of them."""
    undo = {
        "RENAME TO push_logs_of": "ALTER FUNCTION observ.push_logs_of_another_version RENAME TO push_logs",
            "RENAME COLUMN": "ALTER TABLE observ.log_entries RENAME COLUMN msg TO message",
            "ALTER SCHEMA": "ALTER SCHEMA elsewhere RENAME TO observ"}
    agent = make_agent(db, log_files=[str(log)])
    writer = Writer(log, 2000).start()
    agent.start()
    rows_again(db)
    agent.kill()
    db.query(statement)
    agent.start()
    agent.wait_said(words)
    assert agent.running()
    for part, back in undo.items():
        if part in statement:
            db.query(back)
    recovery = rows_again(db, timeout=70)
    judge(34, db, writer.stop(), recovery=recovery, note="schema older or of another kind, then fixed")


def test_fault_34_a_newer_schema(db, make_agent, log):
    """An older agent keeps writing into a newer schema."""
    db.query("INSERT INTO observ.schema_version (version) VALUES (1000)")
    agent = make_agent(db, log_files=[str(log)]).start()
    writer = Writer(log, 2000).start()
    recovery = rows_again(db)
    judge(34, db, writer.stop(), recovery=recovery)
    assert agent.running()


def test_fault_34_upgraded_while_fifty_agents_write(own_cluster, make_agent, tmp_path):
    """schema.sql runs again and again while the agents write; none stops, nothing is lost or doubled."""
    db = own_cluster.new_database()
    logs = [tmp_path / f"logs/{i}.log" for i in range(50)]
    logs[0].parent.mkdir()
    agents = [make_agent(db, vps_name=f"vps{i}", log_files=[str(path)]).start()
              for i, path in enumerate(logs)]
    writers = [Writer(path, 100, seed=i).start() for i, path in enumerate(logs)]
    db.wait("SELECT count(DISTINCT vps_name) = 50 FROM log_entries", timeout=60)
    for _ in range(3):
        before = db.count("log_entries")
        own_cluster.install(db.name)
        recovery = rows_again(db, before)
    judge(34, db, sum([writer.stop() for writer in writers]), recovery=recovery,
          note="upgrade under 50 agents")
    assert all(agent.running() for agent in agents)
