"""A watcher with a configuration of its own, and messages in its outbox."""
import json
import os
import signal
import subprocess
import uuid

import pytest
from harness import BUILD, PATIENCE_S, wait_for

WATCH = BUILD / "fleet_watch" / "fleet_watch"
KEYS = {"webhook": {"secrets": {"secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"}}}


class Watcher:
    def __init__(self, folder, database, **keys):
        self.folder, self.database, self.process = folder, database, None
        folder.mkdir(parents=True, exist_ok=True)
        self.config, self.log = folder / "watch.conf", folder / "watch.log"
        settings = {"database_url": database.url("watch"), "evaluate_every_s": 1, "local_peers": "allow",
                    "delivery_timeout_s": 5, **keys}
        self.config.write_text("".join(f"{k} = {v}\n" for k, v in settings.items()))

    def command(self, *arguments):
        return [str(WATCH), "--config", str(self.config), *map(str, arguments)]

    def start(self, *arguments, under=(), env=None):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*map(str, under), *self.command(*arguments)], stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **(env or {})})
        return self

    def run(self, *arguments, timeout=60):
        return subprocess.run(self.command(*arguments), text=True, capture_output=True, timeout=timeout)

    def said(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_said(self, text, timeout=PATIENCE_S):
        wait_for(lambda: text in self.said(), f"{text!r} in the watcher's log:\n{self.said()[-3000:]}",
                 timeout)

    def leads(self):
        self.wait_said("leads from now on")
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, timeout=20.0):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


def watch_role(database):
    database.query("""DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'watch') THEN
        CREATE ROLE watch LOGIN IN ROLE observ_watch; END IF; END $$""")


def evaluation(database, does="SELECT '{}'::jsonb"):
    """In place of the engine: a test of delivery needs no rules."""
    for name, returns in (("evaluate_alerts", "jsonb"), ("flush_groups", "timestamptz")):
        for former, in database.query("SELECT oid::regprocedure::text FROM pg_proc WHERE proname = %s", name):
            database.query(f"DROP FUNCTION {former}")
        body = does if returns == "jsonb" else "SELECT NULL::timestamptz"
        database.query(f"""CREATE FUNCTION observ.{name}(p_now timestamptz, p_watcher text DEFAULT NULL)
            RETURNS {returns} LANGUAGE sql AS $${body}$$;
            GRANT EXECUTE ON FUNCTION observ.{name} TO observ_watch""")


def add_channel(database, name, kind, settings=None, secrets=None, fallback=None):
    """The database takes secrets out of the settings."""
    return str(database.one("""INSERT INTO channels (name, kind, settings, secrets, fallback_id)
        VALUES (%s, %s, %s, %s, (SELECT channel_id FROM channels WHERE name = %s)) RETURNING channel_id""",
                            name, kind, json.dumps(settings or {}), json.dumps(secrets or {}), fallback))


def an_alert(n=1, **changes):
    return {"alert_id": str(uuid.uuid5(uuid.NAMESPACE_URL, str(n))), "key": f"rule {n}",
            "rule": "cpu high", "status": "firing",
            "severity": "critical", "labels": {"server": f"web-{n}", "app": "shop"},
            "subject": {"server": f"web-{n}"}, "summary": f"CPU of web-{n} is at 97 %", "value": 97.25,
            "threshold": 95, "op": ">", "since": "2026-03-01T12:00:00+00:00",
            "lines": ["ERROR first", "ERROR second", "ERROR third", "ERROR fourth"], **changes}


def say(database, channel, kind="firing", alerts=None, group=None, **content):
    """Put a message into the outbox; returns its notification_id."""
    alerts = alerts if alerts is not None else [an_alert(status=kind if kind == "resolved" else "firing")]
    return str(database.one("""INSERT INTO notifications
        (channel_id, group_id, kind, content, made_at, not_before)
        SELECT channel_id, %s, %s, %s, clock_timestamp(), clock_timestamp() FROM channels WHERE name = %s
        RETURNING notification_id""", group or str(uuid.uuid4()), kind,
                            json.dumps({"alerts": alerts, **content}), channel))


def message(database, notification_id):
    """Its row as a dict."""
    return database.one("SELECT to_jsonb(n) FROM notifications n WHERE notification_id = %s", notification_id)


def wait_sent(database, notification_id, timeout=PATIENCE_S):
    database.wait("SELECT sent_at IS NOT NULL FROM notifications WHERE notification_id = %s", notification_id,
                  timeout=timeout)


def wait_tried(database, notification_id, attempts=1, timeout=PATIENCE_S):
    """It was tried so often, and is not under way."""
    database.wait("""SELECT attempts >= %s AND taken_until IS NULL FROM notifications
        WHERE notification_id = %s""", attempts, notification_id, timeout=timeout)
    return message(database, notification_id)


def retry_now(database):
    """The waits of back-offs are over: as if time had passed."""
    database.query("UPDATE notifications SET not_before = clock_timestamp() WHERE sent_at IS NULL")
    database.query("UPDATE channel_state SET retry_at = NULL")


@pytest.fixture
def watched(db):
    """A database with the watcher's login, and nothing to evaluate."""
    watch_role(db)
    evaluation(db)
    return db


@pytest.fixture
def make_watcher(tmp_path, watched):
    """make_watcher(**keys) -> Watcher, not started; all are stopped at the end."""
    watchers = []

    def make(**keys):
        watchers.append(Watcher(tmp_path / f"watch{len(watchers)}", watched, **keys))
        return watchers[-1]

    yield make
    for watcher in watchers:
        if watcher.running():
            watcher.kill()
