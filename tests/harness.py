"""Helpers of the system and browser tests: a private PostgreSQL with the schema, and agents that write to it.

The programs under test come from OBSERV_BUILD (the Makefile sets it; default: build/). Nothing here
sleeps for a guessed time: wait_for() checks until the condition holds or the deadline passes.
"""
import collections
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import psycopg2
import pytest

TOP = Path(__file__).resolve().parents[1]
BUILD = Path(os.environ.get("OBSERV_BUILD", TOP / "build"))
AGENT = BUILD / "obs_agent" / "obs_agent"


# For events without a promised time: the machine may stand still for many seconds.
PATIENCE_S = 60.0
# A line of text as it stood, of a row of log_entries: docs/log-formats.md.
LINE_SQL = "coalesce(context->>'_line', concat(context->>'_prefix', message))"


def wait_for(condition, what, timeout=PATIENCE_S, every=0.05):
    """Call condition() until it returns something true, and return that."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout:g} s: {what} (last: {value!r})")
        time.sleep(every)


def run(*command, timeout=120, **options):
    """Run to the end; the exit status must be 0. Returns the standard output."""
    done = subprocess.run([str(c) for c in command], timeout=timeout, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, **options)
    assert done.returncode == 0, f"{command}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


class Watch:
    """Measures how much the machine delays others; tests add this to the allowed time.

    A thread that only sleeps measures how late it wakes up. For an agent it also reads how long it had to
    wait for a processor, in each second, which is not the agent's fault.
    """

    def __init__(self, agent=None):
        self.stall, self.agent = 0.0, agent
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.loop, daemon=True)

    def waited(self):
        """Seconds that the agent was ready to run and did not."""
        try:
            with open(f"/proc/{self.agent.process.pid}/schedstat", encoding="ascii") as f:
                return int(f.read().split()[1]) / 1e9
        except (AttributeError, FileNotFoundError, ProcessLookupError):
            return 0.0                          # no agent, or it does not run

    def loop(self):
        seen = collections.deque(maxlen=100)
        while not self.done.is_set():
            before = time.monotonic()
            time.sleep(0.01)
            seen.append(self.waited())
            self.stall = max(self.stall, time.monotonic() - before - 0.01, seen[-1] - seen[0])

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


MEMORY = Path("/dev/shm")
MEMORY_ROOM = 4 << 30       # the clusters of all workers fill a third of that


def memory():
    """The file system in memory, where making a file takes a tenth of the time; None without enough room."""
    with contextlib.suppress(OSError):
        free = re.search(r"MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text())
        if min(int(free[1]) << 10, shutil.disk_usage(MEMORY).free) > MEMORY_ROOM:
            return MEMORY
    return None


@contextlib.contextmanager
def cluster_folder():
    """A folder for clusters, with a name short enough for their sockets."""
    folder = Path(tempfile.mkdtemp(prefix=f"obs-{os.getpid()}-", dir=memory()))
    folder.chmod(0o711)             # the server's user passes
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left_folders():
    """Those of tests that were killed."""
    for folder in MEMORY.glob("obs-*-*"):
        if not Path("/proc", folder.name.split("-")[1]).exists():
            shutil.rmtree(folder, ignore_errors=True)


class Cluster:
    """A private PostgreSQL server (scripts/pg), reached by a unix socket only. It begins as a copy of
    prepared(): initdb and schema.sql take longer than most tests."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.databases = 0
        self.conninfo = None

    def pg(self, *arguments):
        return run(TOP / "scripts" / "pg", *arguments).strip()

    def make(self):
        if not (self.folder / "data").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            run("cp", "-a", prepared() / "data", self.folder / "data")

    def start(self, *settings):
        self.make()
        return self.launch(*settings)

    def launch(self, *settings):
        """The same, but one that is not there yet is made by initdb, and has no roles."""
        options = [part for s in settings for part in ("-c", s)]
        self.conninfo = self.pg("start", self.folder, *options)
        return self.conninfo

    def stop(self, mode="fast"):
        self.pg("stop", self.folder, mode)

    def url(self, database="postgres", user="postgres"):
        self.conninfo = self.conninfo or self.pg("url", self.folder)
        return re.sub("user=.*", f"user={user} dbname={database}", self.conninfo)

    def query(self, *statements):
        """As its superuser, outside of transactions."""
        with contextlib.closing(psycopg2.connect(self.url())) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            for sql in statements:
                cursor.execute(sql)

    def install(self, database):
        """A database that schema.sql makes."""
        self.pg("install", self.folder, database)

    def new_database(self):
        """A database with the schema, and a role `agents` that may write as any server."""
        self.databases += 1
        name = f"observ_{self.databases}"
        self.query(*(sql.format(name=name, template=TEMPLATE) for sql in COPY_SQL))
        return Database(self, name)


TEMPLATE = "observ_template"
# CREATE DATABASE leaves out the settings and the rights of a database itself.
COPY_SQL = ["CREATE DATABASE {name} OWNER observ_admin TEMPLATE {template} STRATEGY file_copy",
            """INSERT INTO pg_db_role_setting SELECT d.oid, setrole, setconfig
                FROM pg_database d, pg_db_role_setting JOIN pg_database t ON t.oid = setdatabase
                WHERE d.datname = '{name}' AND t.datname = '{template}'""",
            """UPDATE pg_database d SET datacl = t.datacl FROM pg_database t
                WHERE d.datname = '{name}' AND t.datname = '{template}'"""]


def prepared():
    """The folder of a stopped cluster with the database TEMPLATE and the role `agents`, made once for a
    schema.sql."""
    key = hashlib.sha256(b"".join((TOP / f).read_bytes() for f in ("schema.sql", "scripts/pg"))).hexdigest()
    folder = BUILD / "tests" / f"cluster.{key[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name("cluster.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            for former in folder.parent.glob("cluster.*/"):
                shutil.rmtree(former)
            cluster = Cluster(folder)
            cluster.launch()
            cluster.install(TEMPLATE)
            # autovacuum keeps away, too
            cluster.query("CREATE ROLE agents LOGIN IN ROLE observ_agent_any",
                          "ALTER SYSTEM SET max_wal_size = '200MB'",        # of memory
                          f"ALTER DATABASE {TEMPLATE} ALLOW_CONNECTIONS false")
            cluster.stop()
            (folder / "ready").touch()
    return folder


class Database:
    """One database of a cluster, seen by its superuser; each query is its own transaction."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.connection = None

    def url(self, user="agents"):
        return self.cluster.url(self.name, user)

    def connect(self, user="postgres"):
        connection = psycopg2.connect(self.url(user))
        connection.autocommit = True
        return connection

    def query(self, sql, *parameters):
        """All rows, as tuples; [] for a statement without rows. Works again after a restart of the server."""
        for attempt in (1, 2):
            try:
                if self.connection is None or self.connection.closed:
                    self.connection = self.connect()
                with self.connection.cursor() as cursor:
                    cursor.execute(sql, parameters or None)
                    return cursor.fetchall() if cursor.description else []
            except psycopg2.Error as error:
                # If the server dies during a query, the DatabaseError has no SQLSTATE.
                away = isinstance(error,
                                  (psycopg2.OperationalError, psycopg2.InterfaceError)) or not error.pgcode
                if away:
                    self.close()
                if not away:
                    raise
                if attempt == 2:
                    raise psycopg2.OperationalError(str(error)) from error

    def one(self, sql, *parameters):
        """The first column of the only row."""
        rows = self.query(sql, *parameters)
        assert len(rows) == 1, f"{sql}: {len(rows)} rows"
        return rows[0][0]

    def count(self, table, where="true", *parameters):
        return self.one(f"SELECT count(*) FROM {table} WHERE {where}", *parameters)

    def wait(self, sql, *parameters, timeout=PATIENCE_S):
        """Wait until the first column of the first row is true; a server that is away counts as not yet."""
        def look():
            try:
                rows = self.query(sql, *parameters)
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                return None
            return rows and rows[0][0]
        return wait_for(look, sql, timeout)

    def drop(self):
        """Delete it, or a long run would fill the disk."""
        self.close()
        with contextlib.suppress(psycopg2.OperationalError):    # a failed test may have stopped the server
            self.cluster.query(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")

    def close(self):
        if self.connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self.connection.close()
        self.connection = None


class Agent:
    """An obs_agent process with its own configuration in `folder`."""

    def __init__(self, folder, runtime, app, monitoring, environment=None):
        self.folder, self.app = Path(folder), app
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config = self.folder / "config.yml"
        self.log = self.folder / "agent.log"
        state = self.folder / "state"
        state.mkdir(exist_ok=True)
        self.environment = {**os.environ, "STATE_DIRECTORY": str(state), "RUNTIME_DIRECTORY": str(runtime),
                            **(environment or {})}
        self.process = None
        self.configure(monitoring)

    def configure(self, monitoring):
        """Write the whole configuration as JSON, which is YAML."""
        new = self.config.with_suffix(".new")
        new.write_text(json.dumps({"monitoring": monitoring}, indent=1) + "\n")
        new.replace(self.config)

    def command(self, *arguments):
        return [str(AGENT), "--app", self.app, "--config", str(self.config), *map(str, arguments)]

    def start(self, *arguments, under=()):
        """under: a command that becomes the agent (strace -D, prlimit), with its options."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*map(str, under), *self.command(*arguments)],
                                            env=self.environment,
                                            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def run(self, *arguments, timeout=30):
        """Run to the end; returns the CompletedProcess with any exit status."""
        return subprocess.run(self.command(*arguments), env=self.environment, cwd=self.folder, text=True,
                              capture_output=True, timeout=timeout)

    def status(self):
        """The output of `status`. Asks again if the agent does not answer, or only in part (it never waits
        for a reader)."""
        def ask():
            answer = self.run("status")
            with contextlib.suppress(json.JSONDecodeError):
                return answer.returncode == 0 and json.loads(answer.stdout)
            return None
        return wait_for(ask, "an answer of the agent")

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, timeout=5.0):
        """Send SIGTERM; returns the exit status. The test fails if the agent still runs after the timeout."""
        self.process.terminate()
        return self.wait(timeout)

    def wait(self, timeout=5.0):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"the agent did not end within {timeout:g} s:\n{self.said()}")

    def running(self):
        return self.process is not None and self.process.poll() is None

    def said(self):
        """The agent's log so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_said(self, text, timeout=PATIENCE_S):
        wait_for(lambda: text in self.said(), f"{text!r} in the agent's log:\n{self.said()[-4000:]}", timeout)
