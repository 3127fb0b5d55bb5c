"""A minimal Debian 12 with a real systemd (systemd-nspawn), for the tests of units and packages.

PostgreSQL runs on the host; its socket's folder is mounted into the machine as /run/database.

    machine.py      fetch what the tests' machines want, ahead of the tests, which else wait for the network
"""
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import BUILD, TOP, Cluster, cluster_folder, run, wait_for  # noqa: E402

NSPAWN = TOP / "scripts" / "nspawn"
# What a newcomer has; the same with a systemd; the dependencies of our packages, and psql.
BARE = ("git", "make", "ca-certificates")
BOOTED = (*BARE, "systemd", "systemd-sysv", "dbus")
PACKAGES = ("systemd", "systemd-sysv", "libpq5", "libyaml-0-2", "libcurl4", "libsystemd0", "libjson-c5",
            "libfcgi0ldbl", "libsodium23", "postgresql-client-15")
# A server as people have them, which the agent's package joins.
SERVER = (*PACKAGES[:-1], "curl", "sudo", "ca-certificates")
NOT_POSSIBLE = 75


def make_environment():
    """Without the job slots of the parent make."""
    flags = re.sub(r"\s*(-j\S*|--jobserver\S*)", "", os.environ.get("MAKEFLAGS", ""))
    return {**os.environ, "MAKEFLAGS": flags}


class Machine:
    def __init__(self, tree, server, database):
        self.tree, self.server, self.db = tree, server, database

    def run(self, *command, check=True, timeout=60):
        done = subprocess.run([str(NSPAWN), "run", str(self.tree), *map(str, command)], text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=timeout)
        if check:
            assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def systemctl(self, *arguments, check=True):
        return self.run("systemctl", *arguments, check=check)

    def show(self, app, name):
        return self.systemctl("show", "--value", "-p", name, f"obs-agent@{app}").stdout.strip()

    def journal(self, app):
        """The agent's entries, without systemd's about the unit, oldest first.

        The journal may read a line after the program has ended: then it knows only the unit's name, not the
        program's.
        """
        self.run("journalctl", "--sync")
        lines = self.run("journalctl", "-o", "json",
                         "--no-pager", "-u", f"obs-agent@{app}").stdout.splitlines()
        return [e for e in map(json.loads, lines) if e["SYSLOG_IDENTIFIER"] == "obs_agent"]

    def said(self, app):
        return "\n".join(str(e["MESSAGE"]) for e in self.journal(app))

    def deploy(self, app, text=None, **monitoring):
        """A typical deployment: config.yml, the secret in .env.production, logs readable by adm."""
        folder = self.tree / "opt/deployments" / app
        logs = folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        (logs / "app.log").touch(0o640)
        os.chown(logs / "app.log", 0, 4)
        settings = {"enabled": True, "vps_name": "machine", "postgres_url": "${DATABASE_URL}",
                    "collection_interval": 10, "log_files": ["/opt/deployments/{app}/logs/app.log"],
                    **monitoring}
        environment = folder / ".env.production"
        environment.write_text(f'DATABASE_URL="host=/run/database user=agents dbname={self.db.name}"\n')
        environment.chmod(0o600)
        (folder / "config.yml").write_text(text or json.dumps({"monitoring": settings}))
        return folder

    @contextlib.contextmanager
    def beside(self, *command, port):
        """Runs a command of the host in the machine's network during the block; it listens on `port`."""
        leader = Path(f"{self.tree}.nspawn/leader").read_text().strip()
        process = subprocess.Popen(["nsenter", "-t", leader, "-n", "--", *map(str, command)],
                                   stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: f":{port:04X} 00000000:0000 0A" in self.run("cat", "/proc/1/net/tcp").stdout,
                     f"port {port}")
            yield process
        finally:
            process.terminate()
            process.wait(60)

    def start(self, app):
        self.systemctl("start", f"obs-agent@{app}")
        self.db.wait("SELECT count(*) > 0 FROM agents WHERE app_name = %s", app)


@contextlib.contextmanager
def booted(folder, prepare):
    """A machine in folder/tree; calls prepare(tree) before it boots. Skips the test if that is not
    possible."""
    tree = folder / "tree"
    nspawn("tree", tree, *PACKAGES)
    with cluster_folder() as short:
        short.chmod(0o700)                          # no other user can reach the server's socket
        server = Cluster(short / "pg")
        try:
            server.start()
            database = server.new_database()
            socket = re.search(r"host=(\S+)", server.url()).group(1)
            os.chmod(socket, 0o755)
            prepare(tree)
            nspawn("boot", tree, "--private-network", f"--bind={socket}:/run/database")
            yield Machine(tree, server, database)
        finally:
            subprocess.run([str(NSPAWN), "remove", str(tree)], check=False)
            server.stop("immediate")


def connect(one, other, addresses):
    """A cable between the networks of two machines, with an address at each end."""
    leaders = [Path(f"{m.tree}.nspawn/leader").read_text().strip() for m in (one, other)]
    run("ip", "link", "add", "cable", "netns", leaders[0], "type", "veth", "peer", "name", "cable",
        "netns", leaders[1])
    for leader, address in zip(leaders, addresses):
        for command in (["addr", "add", f"{address}/24", "dev", "cable"], ["link", "set", "cable", "up"]):
            run("nsenter", "-t", leader, "-n", "--", "ip", *command)


def nspawn(*command):
    done = subprocess.run([str(NSPAWN), *map(str, command)], text=True, capture_output=True)
    if done.returncode == NOT_POSSIBLE:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr


def make_install(tree):
    run("make", "-C", TOP, f"BUILD={BUILD}", f"DESTDIR={tree}", "prefix=/usr", "install",
        env=make_environment())


def download(tree):
    """What the README's commands install in a machine, so that they need no network; the cache keeps it."""
    ours = run(TOP / "scripts/deps", "--list", "build", "demo", "deb").split()
    for recommends, packages in [("--no-install-recommends", ours),
                                 ("--install-recommends", ["postgresql", "nginx", "python3", "lighttpd"])]:
        nspawn("once", tree, "--resolv-conf=copy-host", "--", "sh", "-ec",
               f"apt-get -q update && apt-get -q -y --download-only {recommends} install "
               f"{' '.join(packages)}")


def fetch():
    for packages in (BOOTED, PACKAGES, BARE, SERVER):
        nspawn("image", *packages)
    with tempfile.TemporaryDirectory(prefix="obs-") as folder:
        tree = Path(folder) / "tree"
        nspawn("tree", tree, *BOOTED)
        try:
            download(tree)
        finally:
            nspawn("remove", tree)


if __name__ == "__main__":
    with contextlib.suppress(pytest.skip.Exception):        # the tests say why
        fetch()
