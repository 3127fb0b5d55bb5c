"""An agent whose log is silent hardly wakes, and still finds at once what comes. Each has its own mounts."""
import subprocess
import time

import pytest
from fault_proxy import Proxy
from harness import Watch, run, wait_for

LINE = """echo '{"message":"line"}' >> """
OVERLAY = """mkdir t; mount -t tmpfs none t; cd t; mkdir low up work seen; : > low/log
mount -t overlay -o lowerdir=low,upperdir=$PWD/up,workdir=work none seen"""
BY_MMAP = r"""
import mmap, os
mmap.mmap(os.open("log", os.O_RDWR), 4096)[:19] = b"{\"message\":\"line\"}\n" """

# What is there before the agent starts, the path that it follows, what happens then. Each leads to one row.
CASES = {
    "a-line": ("mkdir f; : > f/log", "f/log", f"{LINE} f/log"),
    "a-file": ("mkdir f", "f/log", f"{LINE} f/log"),
    "a-file-in-a-new-folder": ("true", "f/a/b/log", f"mkdir -p f/a/b; {LINE} f/a/b/log"),
    "a-new-match": ("mkdir -p f/old; : > f/old/log", "f/*/log", f"mkdir f/new; {LINE} f/new/log"),
    "a-new-match-behind-a-wildcard": ("mkdir -p f/old", "f/*/now/log",
                                      f"mkdir f/old/now; {LINE} f/old/now/log"),
    "a-deep-match": ("mkdir -p f/a", "f/**/*.log", f"mkdir f/a/b; {LINE} f/a/b/x.log"),
    "a-release": ("mkdir r1 r2; ln -s r1 current; : > r1/log", "current/log",
                  f"{LINE} r2/log; ln -s r2 new; mv -T new current"),
    "a-folder-above": ("mkdir -p a/b; : > a/b/log", "a/b/log", f"mv a z; mkdir -p a/b; {LINE} a/b/log"),
    "a-rotation-behind-a-link": ("mkdir f d; : > d/log; ln -s ../d/log f/log", "f/log",
                                 f"mv d/log d/log.1; {LINE} d/log"),
    "another-link": ("mkdir f d; : > d/log; ln -s d e; ln -s ../e/log f/log", "f/log",
                     f"mkdir g; {LINE} g/log; rm e; ln -s g e"),
    "a-rename-over-it": ("mkdir f; : > f/log", "f/log", f"{LINE} f/new; mv f/new f/log"),
    "a-truncation": ("mkdir f; echo a > f/log", "f/log", f": > f/log; {LINE} f/log"),
    "a-bind-mount": ("mkdir f g; : > f/log; mount --bind f g", "g/log", f"{LINE} f/log"),
    "a-tmpfs": ("mkdir f; mount -t tmpfs none f; : > f/log", "f/log", f"{LINE} f/log"),
    "a-mount-over-it": ("mkdir f; : > f/log", "f/log", f"mount -t tmpfs none f; {LINE} f/log"),
}
# inotify does not tell of everything here, so the agent has to look each second.
LOOKED_AT = {
    "an-overlay": (OVERLAY, "t/seen/log", f"{LINE} t/seen/log"),
    "a-layer-of-one": (f"{OVERLAY}; {LINE} seen/log", "t/up/log", f"{LINE} t/seen/log"),
    "written-in-place": ("truncate -s 4096 log", "log", f"/usr/bin/python3 -c '{BY_MMAP}'"),
}


class Case:
    """An agent that follows the path of one case, in mounts of its own."""

    def __init__(self, number, name, make_agent, db, tmp_path):
        before, path, self.change = {**CASES, **LOOKED_AT}[name]
        self.name, folder = name, tmp_path / f"case{number}"
        self.agent = make_agent(db, app=name, name=folder.name, collection_interval=3600,
                                log_files=[str(folder / path)])
        self.agent.start(under=["unshare", "-m", "sh", "-ec", f'({before})\nexec "$@"', "sh"])
        self.woke = 0

    def is_silent(self):
        """Has it slept since the last call?"""
        with open(f"/proc/{self.agent.process.pid}/status", encoding="ascii") as f:
            now = int(next(line for line in f if line.startswith("voluntary_ctxt")).split()[1])
        before, self.woke = self.woke, now
        return now == before

    def happens(self):
        run("nsenter", f"-t{self.agent.process.pid}", "-m", "sh", "-ec",
            f"cd {self.agent.folder}; {self.change}")


def start_all(names, make_agent, db, tmp_path):
    if subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("no mounts can be made here")
    return [Case(i, name, make_agent, db, tmp_path) for i, name in enumerate(names)]


def awake(cases):
    """Those that woke since the last call."""
    names = [case.name for case in cases if not case.is_silent()]
    print("awake:", *names)
    return names


def delays(cases, db):
    """Seconds from each change until its row."""
    came = {}
    for case in cases:
        case.happens()
        came[case.name] = time.time()
    db.wait("SELECT count(DISTINCT app_name) = %s FROM log_entries WHERE message = 'line'", len(cases),
            timeout=30)
    return {name: stored - came[name] for name, stored in db.query(
        """SELECT app_name, extract(epoch FROM min(received_at))::float8
             FROM log_entries WHERE message = 'line' GROUP BY 1""")}


def test_a_silent_agent_sleeps_and_is_woken_by_what_happens(db, make_agent, tmp_path):
    cases = start_all(CASES, make_agent, db, tmp_path)
    # Looks each second end when nothing has happened for ten.
    wait_for(lambda: not awake(cases), "all sleep", every=3)
    with Watch() as watch:
        late = delays(cases, db)
    assert max(late.values()) < 2.5 + watch.stall, late
    assert db.count("log_entries", "message = 'line'") == len(cases)


def test_what_no_event_tells_is_found_by_looking(db, make_agent, tmp_path):
    cases = start_all(LOOKED_AT, make_agent, db, tmp_path)
    db.wait("SELECT count(*) = %s FROM agents WHERE files = 1", len(cases))
    time.sleep(15)                              # longer than it would take to fall asleep
    awake(cases)
    time.sleep(3)                               # a look is due each second
    assert awake(cases) == list(LOOKED_AT)
    with Watch() as watch:
        late = delays(cases, db)
    assert max(late.values()) < 3.5 + watch.stall, late


def queries_of(cluster, db, make_agent, url):
    """The batches of a check of `url` and of samples that came as one query each."""
    at = dict(word.split("=", 1) for word in cluster.url().split())
    with Proxy(f"{at['host']}/.s.PGSQL.{at['port']}", follow=True) as proxy:
        make_agent(db, app="bench", vps_name="bench", log_files=[], collection_interval=10,
                   postgres_url=f"postgresql://agents@127.0.0.1:{proxy.port}/{db.name}?sslmode=disable",
                   health_checks=[{"url": url, "interval": 10}]).start()
        db.wait("SELECT count(*) > 1 FROM vps_metrics", timeout=60)
        db.wait("SELECT count(*) > 1 FROM health_checks WHERE url = %s AND success", url, timeout=60)
        print(*proxy.queries, sep="\n")
        return [query for query in proxy.queries if b"http:" in query]


def test_a_batch_without_lines_is_one_short_message(db, cluster, make_agent, bad):
    """bench/idle.py counts the whole minute; docs/operating.md accounts for each byte."""
    queries = queries_of(cluster, db, make_agent, f"http://127.0.0.1:{bad['http']}/status/200")
    assert queries and max(len(query) for query in queries if b'"boot' not in query) < 360


def test_what_a_literal_would_have_to_escape_is_a_parameter(db, cluster, make_agent, bad):
    url = f"http://127.0.0.1:{bad['http']}/status/200?q=')]');DROP%20TABLE%20gaps;--"
    assert not queries_of(cluster, db, make_agent, url)
    assert db.count("gaps") >= 0
