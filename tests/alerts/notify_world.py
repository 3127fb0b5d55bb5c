"""Alerts that fire and end at given times, and the messages that flush_groups() makes of them.

A world has one database, empty but for a root route. Seconds are those of the case. Who changes something
calls flush() with the time first, as evaluate_alerts() does: so messages() are those of a watcher that is
never away.
"""
import datetime
import uuid

from psycopg2.extras import Json

NAMES = uuid.UUID("6f2d4c1e-0000-4000-8000-000000000000")
TABLES = """alerts alert_changes alert_rules rule_patches channels inhibitions silences quiet_windows
    alert_groups group_alerts group_sent group_told flapping notifications""".split()


def name_id(*parts):
    """The same id for the same names."""
    return str(uuid.uuid5(NAMES, "/".join(map(str, parts))))


def placeholder(column):
    """Of a column of alert_routes."""
    return "%s::uuid[]" if column in ("channels", "windows") else "%s"


class World:
    """What a watcher sees of rules, alerts, channels and routes."""

    def __init__(self, engine, **route):
        self.engine = engine
        self.names = {}                 # of channels, by id
        engine.query("; ".join(f"DELETE FROM {table}" for table in TABLES) + """;
            DELETE FROM alert_routes WHERE parent_id IS NOT NULL;
            UPDATE alert_clock SET evaluated_until = NULL, away_since = NULL, away_until = NULL;
            UPDATE notify_state SET flushed_until = '-infinity'""")
        self.change_root(**{"channels": None, "group_by": ["rule"], "group_wait_s": 30,
                            "group_interval_s": 300, "repeat_s": 14400, "repeat_max_s": None,
                            "windows": None} | route)

    def at(self, case_s):
        return self.engine.at(case_s)

    def seconds(self, time):
        """Seconds of the case."""
        return (time - self.at(0)).total_seconds()

    # ---- what is configured --------------------------------------------------------------------
    def change_root(self, **columns):
        """A change of the root route, with or without different values."""
        names = ", ".join(f"{name} = {placeholder(name)}" for name in columns) or "position = position"
        self.engine.query(f"UPDATE alert_routes SET {names} WHERE parent_id IS NULL", *columns.values())

    def root(self):
        return self.engine.query("SELECT route_id::text FROM alert_routes WHERE parent_id IS NULL")[0][0]

    def channel(self, name, send_resolved=True):
        channel_id = name_id("channel", name)
        self.names[channel_id] = name
        self.engine.insert("channels", channel_id=channel_id, name=name, kind="webhook",
                           send_resolved=send_resolved)
        return channel_id

    def silence(self, name, match, starts_s, ends_s):
        self.engine.insert("silences", silence_id=name_id("silence", name), match=Json(match),
                           comment=str(name), starts_at=self.at(starts_s), ends_at=self.at(ends_s))

    def end_silence(self, name, now_s):
        silence_id, now = name_id("silence", name), self.at(now_s)
        self.engine.query("DELETE FROM silences WHERE silence_id = %s AND starts_at >= %s", silence_id, now)
        self.engine.query("UPDATE silences SET ends_at = %s WHERE silence_id = %s AND ends_at > %s", now,
                          silence_id, now)

    # ---- alerts ----------------------------------------------------------------------------------
    @staticmethod
    def ids(labels):
        """rule_id and subject_key: alerts with the same labels are of one subject."""
        return name_id("rule", labels.get("rule", "")), name_id("subject", sorted(labels.items()))

    def fire(self, labels, now_s, since_s=None, note=None, severity="warning"):
        """The alert of these labels fires, or still does: then its `since` and note change."""
        rule_id, key = self.ids(labels)
        since = self.at(now_s if since_s is None else since_s)
        self.engine.query("""INSERT INTO alerts AS a (rule_id, subject_key, subject, labels, state, severity,
                active_since, fired_at, problem, evaluated_at)
            VALUES (%s, %s, %s, %s, 'firing', %s, %s, %s, %s, %s)
            ON CONFLICT (rule_id, subject_key) WHERE state <> 'resolved' DO UPDATE
            SET active_since = excluded.active_since, problem = excluded.problem,
                severity = excluded.severity, labels = excluded.labels,
                critical_since = CASE WHEN excluded.severity = 'critical'
                    THEN coalesce(a.critical_since, excluded.evaluated_at) END,
                evaluated_at = excluded.evaluated_at""",
                          rule_id, key, Json(labels), Json(labels), severity, since, self.at(now_s), note,
                          self.at(now_s))

    def end(self, labels, now_s, ended_s=None, note=None, reason="clear"):
        """It is over, or is said to have ended at another time."""
        self.engine.query("""UPDATE alerts SET state = 'resolved', resolved_at = %s, problem = %s,
                evaluated_at = %s, resolve_reason = %s
            WHERE alert_id = (SELECT alert_id FROM alerts WHERE (rule_id, subject_key) = (%s, %s)
                ORDER BY fired_at DESC LIMIT 1)""",
                          self.at(now_s if ended_s is None else ended_s), note, self.at(now_s), reason,
                          *self.ids(labels))

    def set_alert(self, alert, **columns):
        """Other columns of the open alert with these labels."""
        names = ", ".join(f"{name} = %s" for name in columns)
        self.engine.query(f"""UPDATE alerts SET {names} WHERE (rule_id, subject_key) = (%s, %s)
            AND state <> 'resolved'""", *columns.values(), *self.ids(alert))

    # ---- time ------------------------------------------------------------------------------------
    def flush(self, now_s):
        """Goes on to this time; returns when the next group is due, or None."""
        due = self.engine.query("SELECT flush_groups(%s)", self.at(now_s))[0][0]
        return due and self.seconds(due)

    def deliver(self, refusing=()):
        """All channels accept what waits, when it was made; some refuse it."""
        self.engine.query("""UPDATE notifications SET attempts = attempts + 1,
                sent_at = CASE WHEN channel_id::text <> ALL (%s) THEN made_at END
            WHERE sent_at IS NULL""", [name_id("channel", name) for name in refusing])

    def attempt(self, name, now_s, accepts):
        """A channel takes all that waits, or refuses it."""
        self.engine.query("""UPDATE notifications SET attempts = attempts + 1,
                sent_at = CASE WHEN %s THEN %s::timestamptz END
            WHERE channel_id = %s AND sent_at IS NULL""", accepts, self.at(now_s), name_id("channel", name))

    def messages(self):
        """What channels have accepted, in order: (seconds, channel, content)."""
        rows = self.engine.query("""SELECT sent_at, channel_id::text, content FROM notifications
            WHERE sent_at IS NOT NULL
            ORDER BY sent_at, made_at, channel_id, content->'group'""")
        return [(self.seconds(at), self.names[channel], content) for at, channel, content in rows]


def utc(text):
    """Of a time in JSON."""
    return datetime.datetime.fromisoformat(text)
