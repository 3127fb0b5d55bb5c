"""Containerfile and compose.yaml under a real engine: Debian's docker.io and docker-compose.

The engine runs in a tree of its own, in namespaces for mounts and processes, so it leaves nothing on the
machine. Its containers have the machine's network, as compose.yaml says.
"""
import contextlib
import json
import os
import signal
import socket
import subprocess
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from harness import TOP, run, wait_for
from machine import nspawn

ENGINE = ("docker.io", "docker-compose", "mount")
BASE = "observ-base"            # stands for debian:bookworm-slim
ENVIRONMENT = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DOCKER_BUILDKIT=1",
               "COMPOSE_DOCKER_CLI_BUILD=1", "DOCKER_HOST=unix:///run/engine.sock")
GROUP = "observ-engine"         # of its containers' control groups
BUILD_S = 1500
SERVICES = ("database", "maintain", "hub", "watch", "shop", "agent")
PASSWORD = "eleven ships at sea"

START = """
mount --bind "$1" "$1" && cd "$1"
mount --rbind /sys sys && mount --rbind /dev dev && mount -t proc proc proc
mount -t tmpfs tmpfs run && mount -t tmpfs tmpfs tmp && mount --bind /etc/resolv.conf etc/resolv.conf
pivot_root . mnt && umount -l mnt
exec dockerd --iptables=false --ip6tables=false --bridge=none --data-root /var/lib/engine \
    --exec-root /run/engine --pidfile /run/engine.pid --cgroup-parent "/$2" -H unix:///run/engine.sock
"""


def free_ports(count):
    with contextlib.ExitStack() as open_ones:
        sockets = [open_ones.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def source(folder):
    """What `git add -A` would commit now."""
    folder.mkdir()
    names = run("git", "-C", TOP, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    with tarfile.open(folder.with_suffix(".tar"), "w") as tar:
        for name in filter(None, names.split("\0")):
            tar.add(TOP / name, name)
    run("tar", "-C", folder, "-xf", folder.with_suffix(".tar"))


class Engine:
    """docker and docker-compose in the tree, where /src is the source."""

    def __init__(self, tree, log):
        self.tree = tree
        self.hub, self.shop = free_ports(2)
        with log.open("w") as output:
            self.process = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child",
                                             "sh", "-ec", START, "sh", tree, GROUP],
                                            stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        wait_for(lambda: self.process.poll() is not None or self.ready(), "the engine")
        assert self.process.poll() is None, log.read_text()[-2000:]

    def children(self):
        return Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()

    def ready(self):
        return self.children() and self.inside("docker", "version", check=False).returncode == 0

    def inside(self, *command, check=True, timeout=120, **options):
        done = subprocess.run(["nsenter", "-t", self.children()[0], "-m", "-r", "-w", "env", "-i",
                               "-C", "/src", *ENVIRONMENT, f"OBSERV_PORT={self.hub}",
                               f"SHOP_PORT={self.shop}", *map(str, command)],
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                              **{"stdin": subprocess.DEVNULL, **options})
        assert not check or done.returncode == 0, f"{command}: {done.stdout[-3000:]}"
        return done

    def compose(self, *command, **options):
        return self.inside("docker-compose", "-p", "observ", *command, **options).stdout

    def in_database(self, *command, **options):
        return self.compose("exec", "-T", "database", *command, **options)

    def query(self, sql):
        return self.in_database("psql", "-XAtd", "observ_metrics", "-c", sql).strip()

    def state(self, service):
        return self.inside("docker", "inspect", "--format", "{{json .}}", f"observ_{service}_1").stdout

    def get(self, path, body=None, **headers):
        request = urllib.request.Request(f"http://127.0.0.1:{self.hub}{path}", body, headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read().decode()

    def stop(self):
        """The first process of the namespace; with it all others end."""
        os.kill(int(self.children()[0]), signal.SIGTERM)
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
            for group in Path("/sys/fs/cgroup").glob(f"*/{GROUP}"):
                run("find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    nspawn("tree", folder / "tree", *ENGINE)
    nspawn("tree", folder / "base", "apt")
    source(folder / "tree/src")
    started = None
    try:
        started = Engine(folder / "tree", folder / "log")
        with subprocess.Popen(["tar", "-C", folder / "base", "-c", "."], stdout=subprocess.PIPE) as base:
            started.inside("docker", "import", "-", BASE, stdin=base.stdout)
        started.compose("build", "--build-arg", f"BASE={BASE}", timeout=BUILD_S)
        started.compose("up", "-d", "--no-build")
        yield started
        started.compose("down", "-v")
    finally:
        if started:
            started.stop()
        for tree in ("tree", "base"):
            nspawn("remove", folder / tree)


@pytest.mark.soak
def test_each_container_says_that_it_is_well(engine):
    for service in SERVICES:
        wait_for(lambda s=service: '"Status":"healthy"' in engine.state(s) or s == "maintain", service)
        assert '"Running":true' in engine.state(service) and '"RestartCount":0' in engine.state(service)


@pytest.mark.soak
def test_the_hub_shows_a_row_of_the_example_application(engine):
    wait_for(lambda: int(engine.query("SELECT count(*) FROM log_entries WHERE app_name = 'shop'")), "a line")
    with pytest.raises(urllib.error.HTTPError) as refused:
        engine.get("/?format=json")
    assert refused.value.code == 401
    engine.in_database("fleet_hub_admin", "create-user", "you@example.com", "admin", "--password-file", "-",
                       stdin=None, input=PASSWORD + "\n")
    session = json.loads(engine.get("/api/v1/auth/login", json.dumps(
        {"email": "you@example.com", "password": PASSWORD}).encode(), **{"Content-Type": "application/json"}))
    page = json.loads(engine.get("/?format=json", Authorization=f"Bearer {session['access_token']}"))
    assert [(s["vps"], s["apps"][0]["app"]) for s in page["servers"]] == [(socket.gethostname(), "shop")]


@pytest.mark.soak
def test_the_watcher_evaluates_the_rules(engine):
    wait_for(lambda: engine.query("SELECT watcher <> '' AND evaluated_until > now() - interval '1 minute' "
                                  "FROM alert_clock") == "t", "an evaluation")


@pytest.mark.soak
def test_no_container_runs_as_root_or_has_a_capability(engine):
    for service in SERVICES:
        pid = json.loads(engine.state(service))["State"]["Pid"]
        status = engine.inside("cat", f"/proc/{pid}/status").stdout
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in fields["Uid"].split() and "0" not in fields["Gid"].split(), service
        assert int(fields["CapEff"], 16) == 0 and fields["NoNewPrivs"] == "1", service


@pytest.mark.soak
def test_no_image_holds_a_secret_and_nobody_else_reaches_the_database(engine):
    for service in ("database", "hub", "watch", "shop", "agent"):
        image = json.loads(engine.inside("docker", "inspect", "--format", "{{json .Config.Env}}",
                                         f"observ-{service}").stdout)
        assert not [e for e in image if "PASS" in e or "TOKEN" in e or "SECRET" in e]
    assert engine.query("SELECT count(*) FROM pg_authid WHERE rolpassword IS NOT NULL") == "0"
    assert engine.query("SHOW listen_addresses") == ""
    for user, login in [("fleet-hub", "postgres"), ("obs-agent", "fleet-hub"), ("nobody", "obs-agent")]:
        said = engine.compose("exec", "-T", "-u", user, "database", "psql", "-XU", login, "-d",
                              "observ_metrics", "-c", "SELECT 1", check=False)
        assert "Peer authentication failed" in said, (user, login)


@pytest.mark.soak
def test_data_stay_and_no_line_is_read_twice_when_all_start_again(engine):
    """The agent's position is in the database, its outbox in a volume."""
    engine.compose("restart")
    wait_for(lambda: '"Status":"healthy"' in engine.state("database"), "the database")
    began = engine.query("SELECT now()")
    wait_for(lambda: int(engine.query(f"SELECT count(*) FROM log_entries WHERE received_at > '{began}'")),
             "a line after it")
    twice = "SELECT count(*) - count(DISTINCT (stream_id, stream_offset)) FROM log_entries"
    assert engine.query(twice) == "0"
    assert engine.query("SELECT count(*) FROM gaps") == "0"
    wait_for(lambda: int(engine.query("SELECT count(*) FROM job_runs WHERE ok")) >= 2, "maintain()")
