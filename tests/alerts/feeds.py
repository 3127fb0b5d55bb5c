"""What comes in, as rows of facts: of each kind of rule how a fact of a table is written.

A Feed collects rows and writes them at once. Its writers are called with a Place (who, when) and the text of
the fact.
"""
import collections
import datetime
import json

from psycopg2.extras import Json, execute_values

URL = "https://shop.example.com/"
LEVELS = {"D": "DEBUG", "I": "INFO", "W": "WARNING", "E": "ERROR", "C": "CRITICAL"}
BEATS = {"d": "done", "f": "failed", "s": "start"}


class Place:
    """Of a fact: its line, its own time and when it arrived."""

    def __init__(self, player, number, fact):
        at_s = number * player.section.every_s
        at = player.engine.at
        self.player, self.number = player, number
        self.time, self.arrived = at(at_s + fact.shift_s), at(at_s + fact.late_s)
        self.backfill = fact.backfill
        self.skew_ms = 0 if fact.late_s else 1000 * fact.shift_s

    def row(self, **more):
        """The columns that most facts have."""
        return {"timestamp": self.time, "received_at": self.arrived, "vps_name": self.player.server,
                "app_name": self.player.app} | more


class Feed:
    """Rows for several tables."""

    def __init__(self, engine):
        self.engine, self.rows = engine, collections.defaultdict(list)

    def add(self, table, row):
        self.rows[table, tuple(row)].append([Json(v) if isinstance(v, (dict, list)) else v
                                             for v in row.values()])

    def flush(self):
        for (table, columns), rows in self.rows.items():
            names = ", ".join(f'"{c}"' for c in columns)
            execute_values(self.engine.cursor, f"INSERT INTO {table} ({names}) VALUES %s", rows)
        self.rows.clear()


def number(text):
    return None if text == "null" else float(text)


def sample(feed, place, text):
    """A sample of the metric; of file systems MOUNT=NUMBER."""
    metric = place.player.section.metric
    if metric.startswith("mount_"):
        mount, value = text.split("=")
        member = metric.removeprefix("mount_")
        value = {"details": {"mounts": [{"mount": mount, member: number(value)}]}}
    else:
        value = {metric: number(text)}
    feed.add("vps_metrics", place.row(backfill=place.backfill, **value))


def result(feed, place, text):
    """Of a check: F or S, or milliseconds, or LEFT or LEFT/LIFE of a certificate in days."""
    section, labels = place.player.section, place.player.labels
    columns = {"success": text != "F", "url": labels.get("check", URL), "backfill": place.backfill,
               "interval_s": int(labels.get("interval", section.every_s))}
    if section.kind == "check_slow":
        columns["response_time_ms"] = number(text)
    if section.kind == "certificate":
        left, _, life = text.partition("/")
        end = None if left == "none" else place.time + datetime.timedelta(days=float(left))
        columns |= {"cert_expires_at": end, "cert_starts_at": life and end - datetime.timedelta(
            days=float(life)) or None}
    feed.add("health_checks", place.row(**columns))


def heard(feed, place, _):
    """The database hears from the agent. The agent's row has only the last time, and its clock then."""
    place.player.at(place.arrived, """UPDATE agents SET last_seen_at = greatest(last_seen_at, %s),
        skew_ms = %s WHERE vps_name = %s""", place.arrived, place.skew_ms, place.player.server)
    feed.add("vps_metrics", place.row(backfill=place.backfill))


def lost(feed, place, text):
    """So many lines."""
    if place.player.section.params.get("what") == "rejects":
        for _ in range(int(text)):
            feed.add("rejects", place.row(reason="no number"))
    else:
        feed.add("gaps", place.row(kind="lost", lines=None if text == "row" else int(text)))


def lines(feed, place, text):
    """Log lines: a level and how many, and a word that they have: E3 or I10:timeout."""
    level, _, word = text.partition(":")
    for _ in range(int(level[1:] or 1)):
        feed.add("log_entries", place.row(level=LEVELS[level[0]], message=word or "hello"))


def pattern(_, place, text):
    """A line as the push transaction puts it aside: a level, and the message with "-" for spaces."""
    level, _, message = text.partition(":")
    if level in "DI":
        return                  # push_logs() puts only what is WARNING or worse aside
    place.player.at(place.arrived, """SELECT queue_patterns(%s, %s, %s, ARRAY[%s]::smallint[],
        ARRAY[%s]::timestamptz[], ARRAY[%s])""", place.player.server, place.player.app, place.arrived,
                    "DIWEC".index(level) + 1, place.time, message.replace("-", " "))


def beat(feed, place, text):
    """A job is done, has failed or starts."""
    feed.add("heartbeat_pings", {"heartbeat_id": place.player.heartbeat, "at": place.arrived,
                                 "kind": BEATS[text]})


def job_run(feed, place, text):
    """maintain() ran: it was ok, or not."""
    feed.add("job_runs", {"job": "maintain", "started_at": place.time, "finished_at": place.arrived,
                          "ok": text == "ok", "result": ""})


def answer(feed, place, text):
    """The answer of Prometheus: a number, `error`, `none` (no data), `gone` (others have some) or `empty`."""
    rows = [{"subject": {}, "value": text}]
    if text == "gone":
        rows = [{"subject": {"other": "subject"}, "value": "0"}]
    elif text in ("error", "none", "empty"):
        rows = []
    place.player.at(place.arrived, "SELECT external_values(%s, %s, %s::jsonb, %s)", place.player.rule_id,
                    place.time, json.dumps(rows), {"error": "it refused", "none": "no data"}.get(text))


def selected(feed, place, text):
    """The answer of a SELECT, which the database runs."""
    query = {"gone": "SELECT 'other' AS label, 0 AS value", "empty": "SELECT 1 AS value WHERE false"}.get(
        text, f"SELECT {'NULL::float8' if text == 'null' else text} AS value")
    place.player.at(place.arrived, "SELECT external_values(%s, %s, %s, %s)", place.player.rule_id, place.time,
                    *select_values(place.player.engine, query))


def select_values(engine, query):
    """As fleet_watch asks: the rows, or what went wrong."""
    try:
        return Json(engine.query("SELECT select_values(%s)", query)[0][0]), None
    except engine.Error as e:
        return None, str(e).partition("\n")[0]


def firing(feed, place, text):
    """So many of five subjects of the other rule are beyond its level."""
    rows = [{"subject": {"n": str(n)}, "value": float(n < int(text))} for n in range(5)]
    feed.add("external_answers", {"rule_id": place.player.of_rule, "at": place.time, "rows": rows})


# Of each kind: its writer, and the labels of its subjects. A kind without `server` has a rule for each line.
FEEDS = {
    "threshold": (sample, ("server",)), "absent": (sample, ("server",)), "anomaly": (sample, ("server",)),
    "count_firing": (firing, ()), "check": (result, ("server", "app", "check")),
    "check_slow": (result, ("server", "app", "check")), "certificate": (result, ("server", "app", "check")),
    "agent_state": (heard, ("server", "app")), "agent_silent": (heard, ("server", "app")),
    "fleet_silent": (heard, ()), "loss": (lost, ("server", "app")), "log_count": (lines, ("server", "app")),
    "log_share": (lines, ("server", "app")), "new_pattern": (pattern, ("server", "app", "level", "pattern")),
    "heartbeat": (beat, ("server", "heartbeat")), "job": (job_run, ("job",)), "sql": (selected, ()),
    "promql": (answer, ()),
}
