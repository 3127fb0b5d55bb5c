"""`make demo` without the build: it starts, shows live data, stops without a trace, and reports errors in one
sentence. Without the simulated servers, where a test is not about them."""
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from demo import DEMO, Demo
from harness import run, wait_for


def sockets_outside(demo):
    """Those of demos, and of this demo's PostgreSQL: scripts/pg names it by its folder."""
    server = hashlib.sha256(str(demo.data / "pg").encode()).hexdigest()[:12]
    return {str(p) for name in ("observ-demo.*", f"observ-pg.{server}") for p in Path("/tmp").glob(name)}


@pytest.fixture
def demo(cluster_dir):
    """In a folder whose name is too long for the address of a socket."""
    if not shutil.which("lighttpd", path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.skip("needs lighttpd")
    folder = cluster_dir / ("long" * 20)
    folder.mkdir()
    d = Demo(folder)
    before = sockets_outside(d)
    yield d
    if d.process is not None and d.process.poll() is None:
        d.stop(signal.SIGTERM)
    assert d.left_over() == []
    assert sockets_outside(d) <= before


def test_shows_live_data_and_leaves_nothing(demo):
    demo.start()
    fleet = json.loads(demo.get("/?format=json"))
    assert fleet["servers"][0]["apps"][0]["app"] == "shop"
    wait_for(lambda: json.loads(demo.get("/?format=json"))["counts"]["failing"],
             "the check that always fails", 30)
    assert "shop" in demo.get("/")
    wait_for(lambda: json.loads(demo.get("/logs?format=json"))["lines"], "log lines", 10)
    assert demo.stop() == 0
    with pytest.raises(OSError):
        demo.get("/")


def test_a_fleet_that_is_simulated_and_says_so(demo):
    """With a week behind it. It goes on, a second run doubles nothing, and it can be left out."""
    demo.fleet = "1"
    demo.start()
    simulated = {name for name in demo.servers() if name.endswith(".simulated")}
    assert len(simulated) >= 8 and len(demo.servers() - simulated) == 1
    assert '".simulated" do not exist' in demo.said() and "DEMO_FLEET=0" in demo.said()
    lines = "SELECT count(*) FROM log_entries WHERE vps_name LIKE '%.simulated'"
    before = int(demo.query(lines))
    assert demo.query("SELECT now() - min(timestamp) > '6 days 23:00' FROM log_entries") == "t"
    wait_for(lambda: int(demo.query(lines)) > before, "a line of the fleet", every=1)
    demo.stop()
    demo.start()
    assert demo.query("SELECT count(*) - count(DISTINCT (vps_name, app_name, stream_offset)) "
                      "FROM log_entries WHERE vps_name LIKE '%.simulated'") == "0"
    assert demo.query("SELECT count(*) - count(DISTINCT (vps_name, app_name, timestamp)) "
                      "FROM vps_metrics") == "0"
    demo.stop()
    demo.fleet = "0"
    demo.start()
    assert demo.servers().isdisjoint(simulated) and '".simulated"' not in demo.said()
    assert demo.query(lines) == "0"
    assert demo.query("SELECT count(*) FROM alerts WHERE subject->>'server' LIKE '%.simulated'") == "0"


def test_fleet_is_0_or_1(demo):
    demo.fleet = "no"
    assert demo.fails() == ["demo: DEMO_FLEET=no is neither 1 (with simulated servers) nor 0 (without)"]


class SignIn:
    """The lines of the file `sign-in`, and what they are good for."""

    def __init__(self, demo):
        file = demo.data / "sign-in"
        assert file.stat().st_mode & 0o777 == 0o600
        self.lines = dict(line.split("=", 1) for line in file.read_text().splitlines())
        assert list(self.lines) == ["url", "email", "password", "token"]

    def ask(self, path, token=None, **fields):
        request = urllib.request.Request(self.lines["url"].rstrip("/") + path,
                                         urllib.parse.urlencode(fields).encode() if fields else None,
                                         {"Authorization": f"Bearer {token}"} if token else {})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def who(self, token):
        me = self.ask("/api/v1/auth/me", token)
        return me["email"], me["role"]

    def works(self):
        session = self.ask("/api/v1/auth/login", username=self.lines["email"],
                           password=self.lines["password"])["access_token"]
        admin = self.lines["email"], "admin"
        return (self.who(session) == self.who(self.lines["token"]) == admin
                and "servers" in self.ask("/?format=json", self.lines["token"]))


def test_it_keeps_a_sign_in_that_works(demo):
    """A second run has the same; without the file there is a new one, and the former password is void."""
    demo.start()
    first = SignIn(demo)
    assert first.works() and first.lines["password"] in demo.said()
    demo.stop()
    demo.start()
    assert SignIn(demo).lines == first.lines and first.works()
    demo.stop()
    (demo.data / "sign-in").unlink()
    demo.start()
    second = SignIn(demo)
    assert second.works() and second.lines["password"] != first.lines["password"]
    for former in (first.works, lambda: first.who(first.lines["token"])):
        with pytest.raises(urllib.error.HTTPError):
            former()


def test_web_server_does_not_run_as_root(demo):
    demo.start()
    assert [user for user, command in demo.processes() if "lighttpd" in command and user == 0] == []
    assert [user for user, command in demo.processes() if "lighttpd" in command] != []


@pytest.mark.alone
def test_second_start_takes_seconds_and_keeps_the_data(demo):
    demo.start()
    demo.stop()
    began = time.monotonic()
    demo.start()
    assert time.monotonic() - began < 15
    assert demo.query("SELECT max(epoch) FROM agents") == "2"


def test_sigterm_stops_it_like_ctrl_c(demo):
    demo.start()
    assert demo.stop(signal.SIGTERM) == 0


def test_a_killed_demo_leaves_no_process_and_starts_again(demo):
    demo.start()
    demo.process.kill()
    demo.process.wait()
    wait_for(lambda: not [p for p in demo.left_over() if "postgres" not in p],
             "all but the database to end", 10)
    demo.start()
    assert demo.stop() == 0


def test_second_demo_at_the_same_time_is_refused(demo):
    demo.start()
    other = Demo(demo.data.parent)
    assert other.fails() == ["demo: it is running already, from another terminal"]
    assert demo.process.poll() is None


def test_a_port_in_use_is_reported_in_one_sentence(demo):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", demo.port))
        taken.listen()
        said = demo.fails()
    assert len(said) == 1 and re.match(rf"demo: port {demo.port} on 127.0.0.1 is in use; choose another one: "
                                       r"make demo ", said[0])


def test_a_cluster_of_another_version_is_reported_in_one_sentence(demo):
    demo.start()
    demo.stop()
    (demo.data / "pg/data/PG_VERSION").write_text("11\n")
    said = "\n".join(demo.fails())
    assert "PostgreSQL 11" in said and "make demo-clean" in said


def test_a_full_disk_is_reported_in_one_sentence(demo):
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    demo.data.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=50m", "tmpfs", demo.data],
                      capture_output=True).returncode:
        pytest.skip("no right to mount")
    try:
        said = demo.fails()
    finally:
        run("umount", demo.data)
    assert len(said) == 1 and "MB free" in said[0]


def test_clean_removes_everything(demo):
    demo.start()
    demo.stop()
    run(DEMO, "clean", env=demo.environment())
    assert not demo.data.exists()
