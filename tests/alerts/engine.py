"""The engine of the alerts in a private PostgreSQL, driven by time as a parameter."""
import contextlib
import copy
import datetime
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import psycopg2
from psycopg2.extras import Json, execute_values

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import COPY_SQL                                # noqa: E402

TOP = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("OBSERV_BUILD", TOP / "build"))
DAY_S = 86400
# Where time starts: far from the partitions of today.
START_S = int(datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc).timestamp())
JUST_BEFORE_S = 0.000001
STEP_INTERVALS = 100            # evaluations in one call
# Cases that are replayed together have a metric each, so that their rules don't see the others' servers.
METRICS = """
    cpu_percent memory_percent memory_mb disk_percent disk_gb load_avg_1m load_avg_5m load_avg_15m
    cpu_user_percent cpu_system_percent cpu_iowait_percent cpu_steal_percent memory_total_mb
    swap_percent swap_mb disk_total_gb inode_percent net_rx_bytes_per_s net_tx_bytes_per_s
    disk_read_bytes_per_s disk_write_bytes_per_s tcp_connections psi_cpu_percent psi_memory_percent
    psi_io_percent processes
""".split()


def scratch():
    """A folder for databases: of the build, or of the machine where that can't be written."""
    try:
        (BUILD / "tests").mkdir(parents=True, exist_ok=True)
        return BUILD / "tests" if os.access(BUILD / "tests", os.W_OK) else None
    except OSError:
        return None


class Engine:
    """A database with schema.sql."""
    Error = psycopg2.Error

    def __init__(self, connect=True):
        """connect: False if it is only copied."""
        self.folder = tempfile.mkdtemp(prefix="alerts.", dir=scratch())
        os.chmod(self.folder, 0o755)
        self.start_s = self.now_s = START_S
        self.to_connect = connect
        self.db = None

    def pg(self, *arguments):
        return subprocess.run([TOP / "scripts" / "pg", *arguments], check=True, text=True,
                              stdout=subprocess.PIPE).stdout.strip()

    def __enter__(self):
        self.pg("start", self.folder, "-c", "shared_buffers=64MB", "-c", "synchronous_commit=off")
        self.pg("install", self.folder, "observ_alerts")
        if self.to_connect:
            self.connect("observ_alerts")
        return self

    def connect(self, database):
        self.db = psycopg2.connect(self.pg("url", self.folder, database))
        self.db.autocommit = True
        self.cursor = self.db.cursor()
        self.query("SET timezone = 'UTC'")

    @contextlib.contextmanager
    def copy(self):
        """Another database of the same server, for another process. Nobody may use this one meanwhile."""
        name = f"observ_{os.getpid()}"
        with contextlib.closing(psycopg2.connect(self.pg("url", self.folder, "postgres", "postgres"))) as db:
            db.autocommit = True
            with db.cursor() as cursor:
                for sql in COPY_SQL:
                    cursor.execute(sql.format(name=name, template="observ_alerts"))
        own = copy.copy(self)
        own.connect(name)
        try:
            yield own
        finally:
            own.db.close()

    def __exit__(self, *_):
        if self.db:
            self.db.close()
        self.pg("stop", self.folder, "immediate")
        shutil.rmtree(self.folder)

    def query(self, sql, *arguments):
        self.cursor.execute(sql, arguments or None)
        return self.cursor.fetchall() if self.cursor.description else []

    def insert(self, table, **values):
        self.query(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(['%s'] * len(values))})",
                   *[Json(v) if isinstance(v, (dict, list)) else v for v in values.values()])

    # ---- time ----------------------------------------------------------------------------------
    def begin(self, interval_s=1):
        """Empty tables, and a second 0 that is a time of each rule and that no earlier rows reach.

        Messages are rare: a case about them sets its own intervals.
        """
        self.query("""DELETE FROM alert_rules; DELETE FROM rule_patches; DELETE FROM alerts;
            DELETE FROM alert_changes; DELETE FROM agents; DELETE FROM servers; DELETE FROM latest_checks;
            DELETE FROM alert_groups; DELETE FROM group_alerts; DELETE FROM notifications;
            UPDATE alert_routes SET group_wait_s = 86400, group_interval_s = 8640000""")
        self.policy(catch_up_s=30 * DAY_S, settle_s=0)
        step_s = DAY_S if DAY_S % interval_s == 0 else interval_s
        self.start_s = -(-(self.now_s + 2 * DAY_S) // step_s) * step_s
        self.start_clock()

    def start_clock(self, case_s=0):
        """The first evaluation will be at this second."""
        self.query("UPDATE alert_clock SET evaluated_until = %s, away_since = NULL, away_until = NULL",
                   self.at(case_s - JUST_BEFORE_S))

    def at(self, case_s):
        return datetime.datetime.fromtimestamp(self.start_s + case_s, datetime.timezone.utc)

    def policy(self, **values):
        self.query("UPDATE alert_policy SET " + ", ".join(f"{k} = {int(v)}" for k, v in values.items()))

    def run(self, until_s):
        """Evaluate each rule at each of its times since the last run, up to this one."""
        self.now_s = max(self.now_s, self.start_s + int(until_s) + 1)
        return self.query("SELECT evaluate_alerts(%s)", self.at(until_s))[0][0]

    def run_in_steps(self, from_s, until_s, step_s):
        """The same in several calls: of one that takes long the dead rows would stay."""
        for at_s in range(int(from_s) + step_s, int(until_s), step_s):
            self.run(at_s)
        return self.run(until_s)


class Case:
    """A case's part of the engine: servers, a metric and a time of its own.

    It says what there is at the start, when() something happens, and until when it lasts. Its check() is
    called after that.
    """

    def __init__(self, engine, number):
        self.engine = engine
        self.prefix = f"case{number}-"
        self.metric = METRICS[number % len(METRICS)]
        self.rules = []
        self.events = []
        self.until_s = 0

    def server(self, subject):
        return self.prefix + subject

    def rule(self, **values):
        """A row of alert_rules for the case's servers; returns its id."""
        rule_id = str(uuid.uuid4())
        row = {"rule_id": rule_id, "name": f"r-{rule_id}", "kind": "threshold", "metric": self.metric,
               "match": [{"label": "server", "op": "=~", "value": self.prefix + ".*"}],
               "no_data": "ok"} | values
        self.require(row)
        self.engine.insert("alert_rules", **row)
        self.rules.append(rule_id)
        return rule_id

    def require(self, row):
        """Refuses what no rule can be: else it would never fire, and a case might pass."""
        errors, = self.engine.query("SELECT param_errors(%s, %s, %s)", row["kind"], row["metric"],
                                    Json(row.get("params", {})))[0]
        if errors:
            raise ValueError("; ".join(f"{e['field']} {e['message']}" for e in errors))
        for name in "for_s", "keep_firing_s", "interval_s", "lookback_s":
            if row.get(name, 0) != int(row.get(name, 0)):
                raise ValueError(f"{name} must be whole seconds, not {row[name]}")

    def change(self, rule_id, values):
        """Other values in the columns of a rule."""
        names = ", ".join(f"{name} = %s" for name in values)
        self.engine.query(f"UPDATE alert_rules SET {names} WHERE rule_id = %s",
                          *[Json(v) if isinstance(v, (dict, list)) else v for v in values.values()], rule_id)

    def agent(self, subject, app="shop"):
        self.engine.insert("agents", vps_name=self.server(subject), app_name=app, epoch=1, interval_s=60,
                           first_seen_at=self.engine.at(-DAY_S), last_seen_at=self.engine.at(0))

    def samples(self, subject, rows, app="shop", late_s=0):
        """Rows of (seconds, value or None) that arrived so long after they were measured."""
        at = self.engine.at
        execute_values(self.engine.cursor, f'INSERT INTO vps_metrics ("timestamp", received_at, vps_name, '
                       f'app_name, {self.metric}) VALUES %s',
                       [(at(t), at(t + late_s), self.server(subject), app, v) for t, v in rows])

    def when(self, at_s, action):
        """Call action before the evaluation at this time."""
        self.events.append((at_s, action))

    def states(self, rule_id, subject, labels=None):
        """A function of seconds: the state of an alert. subject '': of the rule as a whole."""
        labels = (labels or {}) | ({"server": self.server(subject)} if subject else {})
        changes = self.engine.query("""SELECT extract(epoch FROM c.at)::float8, to_state FROM alert_changes c
            WHERE rule_id = %s AND subject_key = md5(%s::jsonb::text)::uuid ORDER BY c.at, c.id""",
                                    rule_id, Json(labels))

        def state(case_s):
            state = "inactive"
            for at_s, to_state in changes:
                if at_s > self.engine.start_s + case_s:
                    break
                state = to_state
            return "inactive" if state == "resolved" else state
        return state


def replay_together(engine, setups):
    """Replay cases on one line of time. setups: functions of a Case that return its check, and interval_s.

    Returns for each what is wrong, as sentences.
    """
    engine.begin(setups[0][1])
    cases = [Case(engine, n) for n in range(len(setups))]
    checks = [set_up(case) for case, (set_up, _) in zip(cases, setups)]
    events = [(at_s, 0, n, action) for n, case in enumerate(cases) for at_s, action in case.events]
    events += [(case.until_s, 1, n, None) for n, case in enumerate(cases)]
    found = [[] for _ in cases]
    now_s = 0
    for at_s, ends, n, action in sorted(events, key=lambda e: e[:2]):
        engine.run_in_steps(now_s, at_s if ends else at_s - JUST_BEFORE_S, STEP_INTERVALS * setups[0][1])
        now_s = at_s
        if ends:
            found[n] = list(checks[n]())
            engine.query("DELETE FROM alert_rules WHERE rule_id = ANY (%s::uuid[])", cases[n].rules)
            for table in "agents", "latest_checks":
                engine.query(f"DELETE FROM {table} WHERE starts_with(vps_name, %s)", cases[n].prefix)
        else:
            action()
    return found
