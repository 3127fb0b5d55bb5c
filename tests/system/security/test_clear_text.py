"""Towards a server over a network no program sends its password, nor anything else, before the server has
shown a certificate that is trusted: one rule (common/pg/pg_tls.h) for whatever opens a connection, however it
is told where."""
import contextlib
import json
import os
import re
import shlex
import socket
import ssl
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from certificates import make_authority, make_certificate
from false_server import FalseServer
from harness import BUILD, TOP, Agent

AWAY = "192.0.2.1"
PASSWORD = "p4ssw0rd"
ADMIN, HUB, AGENT = (BUILD / "fleet_hub/fleet_hub_admin", BUILD / "fleet_hub/fleet_hub",
                     BUILD / "obs_agent/obs_agent")

# How a connection is said to lead away; each with what the environment adds.
FORMS = {
    "uri": (f"postgresql://obs:{PASSWORD}@{AWAY}/observ_metrics", {}),
    "pairs": (f"host={AWAY} user=obs password={PASSWORD} dbname=observ_metrics", {}),
    "hostaddr": (f"host=localhost hostaddr={AWAY} user=obs password={PASSWORD}", {}),
    "hostaddr alone": (f"hostaddr={AWAY} user=obs password={PASSWORD}", {}),
    "one is local": (f"postgresql://obs:{PASSWORD}@%2Fnowhere,{AWAY}/observ_metrics", {}),
    "one is local, as pairs": (f"host=/nowhere,{AWAY} user=obs password={PASSWORD}", {}),
    "environment": ("dbname=observ_metrics", {"PGHOST": AWAY, "PGUSER": "obs", "PGPASSWORD": PASSWORD}),
    "address by the environment": (f"host=localhost user=obs password={PASSWORD}", {"PGHOSTADDR": AWAY}),
    "service": ("service=away", {}),
    "service by the environment": ("dbname=observ_metrics", {"PGSERVICE": "away"}),
    "service beside a local host": ("service=away", {"PGHOST": "/run/postgresql"}),
    "service with an address": ("host=localhost service=address", {}),
    "empty sslmode": (f"postgresql://obs:{PASSWORD}@{AWAY}/observ_metrics?sslmode=", {}),
    "empty sslmode by the environment": (f"postgresql://obs:{PASSWORD}@{AWAY}/observ_metrics",
                                         {"PGSSLMODE": ""}),
    "encryption by Kerberos": (f"postgresql://obs:{PASSWORD}@{AWAY}/observ_metrics?gssencmode=prefer", {}),
}
SERVICES = f"""
[away]
host={AWAY}
user=obs
password={PASSWORD}
[address]
hostaddr={AWAY}
user=obs
password={PASSWORD}
[chosen]
host={AWAY}
user=obs
password={PASSWORD}
sslmode=disable
"""


@pytest.fixture
def network(tmp_path):
    """network(runs, tls=None, hosts=None) -> what each run sent and said (false_server.py); `hosts` is
    the content of /etc/hosts."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".pg_service.conf").write_text(SERVICES)

    def go(runs, tls=None, hosts=None):
        as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        unshare = ["unshare", "--net", "--mount", *as_root]
        if subprocess.run([*unshare, "true"], capture_output=True).returncode:
            pytest.skip("no network of its own can be made here")
        for one in runs:
            one["command"] = [str(c) for c in one["command"]]
            one["environment"] = {"HOME": str(home), **one.get("environment", {})}
        (tmp_path / "hosts").write_text(hosts or Path("/etc/hosts").read_text())
        done = subprocess.run([*unshare, "sh", "-c", 'mount --bind "$1" /etc/hosts && exec "$2" "$3"', "sh",
                               tmp_path / "hosts", sys.executable,
                               Path(__file__).parents[1] / "false_server.py"],
                              text=True, timeout=600,
                              input=json.dumps({"runs": runs, "tls": tls and [str(f) for f in tls]}),
                              capture_output=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    return go


REQUEST = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "SERVER_PROTOCOL": "HTTP/1.1",
           "REMOTE_ADDR": "127.0.0.1", "SERVER_ADDR": "127.0.0.1",
           "REQUEST_URI": "/api/v1/health/readiness", "QUERY_STRING": "",
           "PATH_INFO": "/api/v1/health/readiness"}


def fastcgi():
    """One request to a FastCGI program, in the form of its protocol."""
    def record(kind, data):
        return struct.pack("!BBHHBx", 1, kind, 1, len(data), 0) + data
    params = b"".join(bytes([len(k), len(v)]) + k.encode() + v.encode() for k, v in REQUEST.items())
    return record(1, struct.pack("!HB5x", 1, 0)) + record(4, params) + record(4, b"") + record(5, b"")


FASTCGI_CLIENT = """
import socket, subprocess, sys
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[2])
    listener.listen()
    hub = subprocess.Popen([sys.argv[1]], stdin=listener)
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(sys.argv[2])
        s.sendall(bytes.fromhex(sys.argv[3]))
        print(s.recv(65536).decode("latin-1"))
    hub.terminate()
    hub.wait()
"""


@pytest.fixture
def programs(tmp_path, short_dir):
    """programs(url, environment) -> a run of each program that opens a connection, by its name."""
    def make(url, environment):
        cgi = {**REQUEST, "GATEWAY_INTERFACE": "CGI/1.1"}
        agent = Agent(tmp_path / "agent", short_dir, "shop",
                      {"enabled": True, "vps_name": "web", "postgres_url": url}, environment)
        own = {k: agent.environment[k] for k in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY")}
        (short_dir / "fcgi").unlink(missing_ok=True)
        return {
            "admin": {"command": [ADMIN, "--url", url, "servers"]},
            "hub": {"command": [HUB], "environment": {**cgi, "OBSERV_DATABASE_URL": url}},
            "hub, FastCGI": {"command": [sys.executable, "-c", FASTCGI_CLIENT, HUB, short_dir / "fcgi",
                                         fastcgi().hex()],
                             "environment": {"OBSERV_DATABASE_URL": url}},
            "agent": {"command": agent.command(), "environment": own, "until": '"error":'},
            "doctor": {"command": agent.command("doctor"), "environment": own},
            "enroll": {"command": [AGENT, "enroll", "--server", "web", "--url", url],
                       "input": PASSWORD + "\n"},
        }
    def with_environment(url, environment):
        runs = make(url, environment)
        for run in runs.values():
            run["environment"] = {**run.get("environment", {}), **environment}
        return runs
    return with_environment


@pytest.mark.parametrize("form", FORMS)
def test_nothing_goes_in_clear(network, programs, form):
    runs = programs(*FORMS[form])
    for name, got in zip(runs, network(list(runs.values()))):
        assert (got["clear"], got["loopback"]["clear"]) == ("", ""), f"{name}: {got}"
        assert PASSWORD not in got["said"], name
        assert "server does not support SSL" in got["said"] or "invalid sslmode" in got["said"], \
            f"{name}: {got['said']}"


@pytest.mark.parametrize("hosts", [f"{AWAY} localhost", f"127.0.0.1 localhost\n{AWAY} localhost"],
                         ids=["away", "both"])
def test_a_localhost_that_leads_away_gets_nothing_in_clear(network, programs, hosts):
    """What counts is the address, not the name. Where it is both, this machine alone is asked in clear."""
    runs = programs(f"postgresql://obs:{PASSWORD}@localhost/observ_metrics", {})
    for name, got in zip(runs, network(list(runs.values()), hosts=hosts)):
        assert (got["clear"], got["secret"]) == ("", ""), f"{name}: {got}"
        assert PASSWORD not in got["said"], name
        assert PASSWORD in got["loopback"]["clear"] or "server does not support SSL" in got["said"], \
            f"{name}: {got['said']}"


def test_a_server_that_refuses_the_login_is_asked_once(network, programs):
    """Its SQLSTATE tells why; nobody has to ask again for it. An agent waits half a minute and more."""
    runs = programs(f"postgresql://obs:{PASSWORD}@127.0.0.1/observ_metrics", {})
    for name, got in zip(runs, network(list(runs.values()))):
        assert got["loopback"]["connections"] == 1, f"{name}: {got}"
        assert "28P01" in got["said"] or "refuses the hub" in got["said"], f"{name}: {got['said']}"


def test_a_server_with_two_addresses_that_refuses_is_asked_once(network, programs):
    runs = programs(f"postgresql://obs:{PASSWORD}@localhost/observ_metrics?sslmode=disable", {})
    for name, got in zip(runs, network(list(runs.values()), hosts=f"127.0.0.1 localhost\n{AWAY} localhost")):
        assert got["connections"] + got["loopback"]["connections"] == 1, f"{name}: {got}"


def test_install_sh_sends_nothing_in_clear(network, tmp_path):
    """It opens connections by obs_agent alone."""
    if os.geteuid() != 0:
        pytest.skip("install.sh is for root")
    script = tmp_path / "install.sh"
    text = (TOP / "templates/install.sh").read_text()
    script.write_text(text.replace("=/etc/credstore", f"={tmp_path}/credstore")
                      .replace("=/opt/deployments", f"={tmp_path}/deployments")
                      .replace("/run/systemd/system", str(tmp_path)))
    url = f"postgresql://obs_token_1@{AWAY}/observ_metrics"
    (got,) = network([{"command": ["sh", script, "--token", "--server", "web", "--url", url, "--app", "shop"],
                       "input": PASSWORD + "\n",
                       "environment": {"PATH": f"{AGENT.parent}:/usr/sbin:/usr/bin:/sbin:/bin"}}])
    assert (got["clear"] == "" and "server does not support SSL" in got["said"]
            and "the token did not make a login" in got["said"]), got


def test_the_maintenance_unit_sends_nothing_in_clear(network):
    """It runs psql, whose own default would."""
    unit = (TOP / "templates/observ-maintain.service").read_text()
    environment = dict(pair.split("=", 1) for line in re.findall(r"^Environment=(.*)", unit, re.M)
                       for pair in line.split())
    environment.update(PGHOST=AWAY, PGUSER="obs", PGPASSWORD=PASSWORD)
    (got,) = network([{"command": shlex.split(re.search(r"^ExecStart=(.*)", unit, re.M)[1]),
                       "environment": environment}])
    assert got["clear"] == "" and "server does not support SSL" in got["said"], got


@pytest.mark.parametrize("url, environment", [
    (f"postgresql://obs:{PASSWORD}@{AWAY}/observ_metrics?sslmode=prefer", {}),
    (f"postgresql://obs:{PASSWORD}@{AWAY}/observ_metrics", {"PGSSLMODE": "disable"}),
    (f"host={AWAY} user=obs password={PASSWORD} requiressl=0", {}),
    ("service=chosen", {}),
])
def test_a_url_that_asks_for_clear_text_gets_it_and_a_warning(network, programs, url, environment):
    runs = programs(url, environment)
    for name, got in zip(runs, network(list(runs.values()))):
        assert PASSWORD in got["clear"], f"{name}: {got}"
        if name not in ("enroll",):
            assert "unencrypted" in got["said"] and f"for {AWAY}" in got["said"], f"{name}: {got['said']}"


def test_this_machine_needs_no_certificate(network, programs):
    runs = programs(f"postgresql://obs:{PASSWORD}@127.0.0.1/observ_metrics", {})
    for name, got in zip(runs, network(list(runs.values()))):
        assert PASSWORD in got["loopback"]["clear"] and "unencrypted" not in got["said"], f"{name}: {got}"


def test_a_server_with_a_certificate_that_is_trusted_gets_the_password(network, programs, tmp_path):
    make_authority(tmp_path)
    make_certificate(tmp_path, "server", "db.example.org")
    at = f"hostaddr={AWAY} user=obs password={PASSWORD} sslrootcert={tmp_path}/ca.crt"
    tls = [tmp_path / "server.crt", tmp_path / "server.key"]
    runs = programs(f"host=db.example.org {at}", {})
    for name, got in zip(runs, network(list(runs.values()), tls)):
        assert PASSWORD in got["secret"] and got["clear"] == "", f"{name}: {got}"
    runs = programs(f"host=other.example.org {at}", {})
    for name, got in zip(runs, network(list(runs.values()), tls)):
        assert (got["secret"], got["clear"]) == ("", ""), f"{name}: {got}"


def test_the_false_server_notes_everything_and_leaves_no_thread(tmp_path):
    """A peer that has sent and gone at once is noted. After close() no thread is left, also none that was
    inside TLS: such a one made the interpreter crash at its end."""
    make_authority(tmp_path)
    make_certificate(tmp_path, "server", "localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    before = set(threading.enumerate())
    trusting = ssl.create_default_context(cafile=tmp_path / "ca.crt")
    for _ in range(20):
        with contextlib.closing(FalseServer("127.0.0.1", tls, port=0)) as server:
            address = server.listener.getsockname()
            with socket.create_connection(address) as peer:
                peer.sendall(struct.pack("!II", 8, 196608) + b"in clear")
            with socket.create_connection(address) as peer:
                peer.sendall(struct.pack("!II", 8, 80877103))
                assert peer.recv(1) == b"S"
                with trusting.wrap_socket(peer, server_hostname="localhost") as inside:
                    inside.sendall(b"in secret")
            server.settle()
            assert server.got["clear"].endswith("in clear") and server.got["secret"] == "in secret"
            assert server.got["connections"] == 2
        assert set(threading.enumerate()) == before
