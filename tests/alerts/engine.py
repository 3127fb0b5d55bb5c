"""The engine of the alerts in a private PostgreSQL, driven by time as a parameter."""
import datetime
import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

import psycopg2
from psycopg2.extras import Json, execute_values

TOP = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("OBSERV_BUILD", TOP / "build"))
DAY_S = 86400
# Where time starts: a multiple of each interval, far from the partitions of today.
START_S = int(datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc).timestamp())
METRIC = "load_avg_1m"          # a metric of any size


class Engine:
    """A database with schema.sql. A case asks for rule(), samples() and run(), and then for states()."""

    def __init__(self):
        (BUILD / "tests").mkdir(parents=True, exist_ok=True)
        self.folder = tempfile.mkdtemp(prefix="alerts.", dir=BUILD / "tests")
        os.chmod(self.folder, 0o755)
        self.start_s = START_S          # of the present case
        self.end_s = START_S

    def pg(self, *arguments):
        return subprocess.run([TOP / "scripts" / "pg", *arguments], check=True, text=True,
                              stdout=subprocess.PIPE).stdout.strip()

    def __enter__(self):
        self.pg("start", self.folder, "-c", "shared_buffers=64MB", "-c", "synchronous_commit=off")
        self.pg("install", self.folder, "observ_alerts")
        self.db = psycopg2.connect(self.pg("url", self.folder, "observ_alerts"))
        self.db.autocommit = True
        self.cursor = self.db.cursor()
        self.cursor.execute("SET timezone = 'UTC'")
        return self

    def __exit__(self, *_):
        self.db.close()
        self.pg("stop", self.folder, "immediate")
        shutil.rmtree(self.folder)

    def query(self, sql, *arguments):
        self.cursor.execute(sql, arguments or None)
        return self.cursor.fetchall() if self.cursor.description else []

    # ---- one case ------------------------------------------------------------------------------
    def forget(self, interval_s=1):
        """Empty tables, and a time that no earlier case has rows of."""
        self.query("""DELETE FROM alert_rules; DELETE FROM alerts; DELETE FROM alert_changes;
            DELETE FROM rule_patches; DELETE FROM agents; DELETE FROM servers""")
        self.policy(catch_up_s=30 * DAY_S, settle_s=0)
        self.start_s = -(-(self.end_s + 2 * DAY_S) // DAY_S) * DAY_S
        while self.start_s % interval_s:
            self.start_s += DAY_S - self.start_s % DAY_S % interval_s
        self.end_s = self.start_s
        self.query("UPDATE alert_clock SET evaluated_until = %s, away_since = NULL, away_until = NULL",
                   self.at(-0.000001))

    def at(self, case_s):
        return datetime.datetime.fromtimestamp(self.start_s + case_s, datetime.timezone.utc)

    def policy(self, **values):
        self.query("UPDATE alert_policy SET " + ", ".join(f"{k} = {int(v)}" for k, v in values.items()))

    def insert(self, table, **values):
        names = ", ".join(values)
        self.query(f"INSERT INTO {table} ({names}) VALUES ({', '.join(['%s'] * len(values))})",
                   *[Json(v) if isinstance(v, (dict, list)) else v for v in values.values()])

    def rule(self, **values):
        """A row of alert_rules; returns its id."""
        rule_id = str(uuid.uuid4())
        self.insert("alert_rules", **{"rule_id": rule_id, "name": f"r-{rule_id}", "kind": "threshold",
                                      "metric": METRIC, "no_data": "ok"} | values)
        return rule_id

    def agent(self, server, app="shop"):
        self.insert("agents", vps_name=server, app_name=app, epoch=1, interval_s=60,
                    first_seen_at=self.at(-DAY_S), last_seen_at=self.at(0))

    def samples(self, server, rows, app="shop", metric=METRIC):
        """Rows of (seconds, value or None), written when they were measured."""
        execute_values(self.cursor, f'INSERT INTO vps_metrics ("timestamp", received_at, vps_name, app_name, '
                       f'{metric}) VALUES %s', [(self.at(t), self.at(t), server, app, v) for t, v in rows])

    def run(self, until_s):
        """Evaluate each rule at each of its times since the last run, up to this one."""
        self.end_s = max(self.end_s, self.start_s + until_s)
        return self.query("SELECT evaluate_alerts(%s)", self.at(until_s))[0][0]

    def states(self, rule_id, server):
        """A function of seconds: the state of an alert. No server: the subject is {}."""
        changes = self.query("""SELECT extract(epoch FROM c.at)::float8, to_state FROM alert_changes c
            WHERE rule_id = %s AND subject_key = md5(%s::jsonb::text)::uuid ORDER BY c.at, c.id""",
                             rule_id, Json({"server": server} if server else {}))

        def state(case_s):
            state = "inactive"
            for at_s, to_state in changes:
                if at_s > self.start_s + case_s:
                    break
                state = to_state
            return "inactive" if state == "resolved" else state
        return state
