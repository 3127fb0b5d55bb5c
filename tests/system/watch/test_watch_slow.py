"""Rules that take too long: they fail by themselves, and the others are evaluated on time."""
import contextlib
import threading
import time

import psycopg2
import pytest
from watching import Watcher, watch_role

SLOW, QUICK = "slow", "quick"
LIMIT_S = 2
RULES = """DELETE FROM alert_rules;
    INSERT INTO agents (vps_name, app_name, epoch, first_seen_at, last_seen_at, interval_s)
        VALUES ('web-1', 'shop', 1, now() - interval '1 day', now(), 60);
    INSERT INTO alert_rules (name, kind, metric, op, warning, interval_s) VALUES
        ('quick', 'threshold', 'cpu_percent', '>', 80, 2)"""
SAMPLE = """INSERT INTO vps_metrics ("timestamp", received_at, vps_name, app_name, cpu_percent)
    VALUES (clock_timestamp(), clock_timestamp(), 'web-1', 'shop', %s)"""
CHANGED = """SELECT max(extract(epoch FROM at)) FROM alert_changes JOIN alert_rules USING (rule_id)
    WHERE name = %s AND to_state = %s"""


@contextlib.contextmanager
def held(database, table):
    """Nobody can read the table: as while somebody rewrites it. A rule that reads it takes for ever."""
    with contextlib.closing(psycopg2.connect(database.url("postgres"))) as other:
        other.cursor().execute(f"LOCK TABLE observ.{table}")
        yield


@pytest.fixture
def rules(db, tmp_path):
    """A quick rule, and a watcher with a low limit, not started."""
    watch_role(db)
    db.query(RULES)
    watcher = Watcher(tmp_path / "w", db, rule_timeout_s=LIMIT_S, log_level="debug")
    yield watcher
    watcher.kill()


def fires_within(db, value, state, limit_s):
    """A sample arrives, and the quick rule's alert has this state so many seconds later."""
    began = time.time()
    db.query(SAMPLE, value)
    db.wait(f"SELECT coalesce(({CHANGED}), 0) >= %s", QUICK, state, began - 2, timeout=limit_s)


def test_a_slow_rule_fails_and_the_others_are_evaluated_on_time(db, rules):
    db.query("""INSERT INTO alert_rules (name, kind, op, warning, interval_s) VALUES
        (%s, 'check_slow', '>', 80, 2)""", SLOW)
    with held(db, "health_checks"):
        rules.start().leads()
        fires_within(db, 90, "firing", 3 * LIMIT_S + 4)
        db.wait("SELECT count(*) = 1 FROM rule_problems", timeout=3 * LIMIT_S + 4)
        (name, problem), = db.query("SELECT name, problem FROM rule_problems JOIN alert_rules USING(rule_id)")
        assert name == SLOW and problem.startswith(f"it took longer than {LIMIT_S} s and was stopped")
        fires_within(db, 10, "resolved", 4)     # while it is not tried again
        assert "canceling statement" not in rules.said()
    # When it is quick again, the next try ends well, and no problem is left.
    db.query("UPDATE slow_rules SET retry_at = now()")
    db.wait("SELECT count(*) = 0 FROM rule_problems", timeout=8)
