"""No process gets out of a unit's sandbox, and the services work inside: a prisoner (prisoner.c) runs in
place of each service.

A drop-in replaces only ExecStart, so the sandbox is the unit's. The same attempts by the same prisoner
outside of it succeed; otherwise a refusal would prove nothing.
"""
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import TOP, run, wait_for
from machine import NOT_POSSIBLE, NSPAWN, booted, make_install

HELPERS = Path(__file__).parents[1]
AGENT, HUB, MAINTAIN = "obs-agent@prisoner.service", "fleet-hub.service", "observ-maintain.service"
WATCH = "fleet-watch.service"

# What must fail in every unit.
OUT = ["write=/etc/attack", "write=/usr/bin/attack", "write=/opt/attack", "write=/var/lib/attack",
       "write=/dev/shm/../attack",
       "write=/sys/kernel/attack", "write=/proc/sys/kernel/core_pattern", "write=/sys/fs/cgroup/cgroup.procs",
       "read=/home/somebody/diary", "read=/root/diary", "list=/home", "read=/srv/secret", "read=/etc/shadow",
       "ptrace=PID", "kill=PID", "see_process=PID", "mount=/mnt", "remount=/usr", "chroot=/", "raw_socket",
       "packet_socket",
       "netlink_socket", "user_namespace", "mount_namespace", "net_namespace", "writable_code", "code_later",
       "setuid",
       "setgid", "make_setuid=/tmp/setuid", "run_copy=/tmp/copy", "run_copy=/var/tmp/copy", "set_time",
       "set_host_name", "realtime", "priority",
       "load_module", "kernel_log", "keyring", "bpf", "open_by_handle", "personality"]
LIMITS = {"memory": "memory", "pids": "processes=100"}         # only with the cgroup controller
# Attempts that the container or kernel of the tests refuses outside, too.
NOT_EVEN_ROOT = {"write=/dev/shm/../attack", "write=/sys/kernel/attack",
                 "write=/proc/sys/kernel/core_pattern",
                 "write=/sys/fs/cgroup/cgroup.procs", "set_time", "load_module", "kernel_log", "keyring",
                 "bpf", "realtime",
                 "open_by_handle", "raw_socket", "packet_socket", "remount=/usr", "set_host_name"}
PROC = ["stat", "meminfo", "loadavg", "uptime", "vmstat", "diskstats", "net/dev", "net/snmp", "net/sockstat",
        "net/tcp", "self/mountinfo", "sys/kernel/random/boot_id", "sys/fs/file-nr"]


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sandbox")

    def prepare(tree):
        make_install(tree)
        run("cc", "-O1", "-o", tree / "usr/bin/prisoner", HELPERS / "prisoner.c", "-lsystemd", "-pthread")
        for path, mode in [("home/somebody/diary", 0o644), ("root/diary", 0o644), ("srv/secret", 0o600),
                           ("var/log/by-adm.log", 0o640), ("var/log/by-www-data.log", 0o640),
                           ("srv/my-app/app.log", 0o640)]:
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text("INFO text\n")
            (tree / path).chmod(mode)
        (tree / "root").chmod(0o755)            # so that only the sandbox can refuse
        os.chown(tree / "srv/secret", 12345, 12345)
        os.chown(tree / "var/log/by-adm.log", 0, 4)
        os.chown(tree / "var/log/by-www-data.log", 0, 33)

    with booted(folder, prepare) as machine:
        machine.run("systemd-sysusers")
        machine.run("systemd-run", "--unit=victim", "-p", "User=www-data", "sleep", "infinity")
        machine.victim = machine.systemctl("show", "--value", "-p", "MainPID", "victim").stdout.strip()
        yield machine


def attempts(machine, unit, wanted, *drop_ins, lines=()):
    """Start `unit` with the prisoner in it; returns {attempt: (succeeded, message)}."""
    folder = machine.tree / "etc/systemd/system" / f"{unit}.d"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.conf"):
        old.unlink()
    output = machine.tree / "run/../var/tmp/prisoner.out"
    output.unlink(missing_ok=True)
    arguments = " ".join(f'"{w}"' for w in wanted).replace("=PID", f"={machine.victim}")
    for drop_in in drop_ins:
        (folder / drop_in).write_text((machine.tree / "usr/share/observ/drop-ins" / drop_in).read_text())
    (folder / "zz-prisoner.conf").write_text("\n".join([
        "[Service]", "ExecStart=", f"ExecStart=/usr/bin/prisoner {arguments}", "StandardInput=null",
        "StandardOutput=file:/var/tmp/prisoner.out", "OOMPolicy=continue", "CPUQuota=", "Restart=no",
        *lines, ""]))
    machine.systemctl("daemon-reload")
    machine.systemctl("start", unit)
    wait_for(lambda: output.exists() and output.read_text().endswith("end\n"),
             f"the prisoner's end in {unit}", 30)
    return verdicts(output.read_text(), machine)


def verdicts(text, machine):
    found = {}
    for line in text.replace(f"={machine.victim} ", "=PID ").splitlines()[:-1]:
        what, _, verdict = line.rpartition(" done") if line.endswith(" done") else line.partition(" ")
        found[what] = (line.endswith(" done"), verdict)
    return found


def refused(found, wanted):
    """The prisoner reports "No such process" when it has no target."""
    return [w for w in wanted if w in found and not found[w][0] and found[w][1].startswith("refused") and
            "No such process" not in found[w][1]]


def done(found, wanted):
    return [w for w in wanted if found.get(w, (False,))[0]]


def test_outside_of_the_sandbox_the_same_attempts_succeed(machine):
    """As root or, if root's rights do not matter, as any user: so only the sandbox can refuse them inside."""
    output = machine.run("prisoner",
                         *[w.replace("PID", machine.victim) for w in OUT if not w.startswith("kill")]).stdout
    wanted = [w for w in OUT if w not in NOT_EVEN_ROOT and not w.startswith("kill")]
    found = verdicts(output, machine)
    assert done(found, wanted) == wanted, {w: found.get(w) for w in wanted if w not in done(found, wanted)}
    for made in ("etc/attack", "usr/bin/attack", "opt/attack", "var/lib/attack", "tmp/setuid", "tmp/copy"):
        (machine.tree / made).unlink(missing_ok=True)


@pytest.mark.parametrize("unit", [AGENT, HUB, WATCH, MAINTAIN])
def test_the_sandbox_refuses_every_attempt(machine, unit):
    controllers = machine.run("cat", "/sys/fs/cgroup/cgroup.controllers", check=False).stdout.split()
    mine = ["run_copy=/var/lib/obs-agent/prisoner/copy",
            "run_copy=/run/obs-agent/prisoner/copy"] if unit == AGENT else []
    wanted = OUT + mine + [LIMITS[c] for c in controllers if c in LIMITS]
    found = attempts(machine, unit, wanted)
    assert refused(found, wanted) == wanted, {w: found.get(w) for w in wanted
                                              if w not in refused(found, wanted)}


def test_the_agents_sources_and_features_work_inside(machine):
    journal = next((machine.tree / "run/log/journal").glob("*/system.journal"), None) or \
        next((machine.tree / "var/log/journal").glob("*/system.journal"))
    journal = "/" + str(journal.relative_to(machine.tree))
    group = machine.run("find", "/sys/fs/cgroup", "-path", "*/victim.service/cgroup.procs").stdout.split()[0]
    wanted = [*(f"read=/proc/{p}" for p in PROC), f"read={group}",
              "read=/var/log/by-adm.log", "read=/var/log/by-www-data.log", f"read={journal}",
              "watch=/var/log",
              "read=/etc/ssl/certs/ca-certificates.crt", "resolve=localhost",
              "unix=/run/database/.s.PGSQL.PORT", "tcp=8000", "tcp=8443",
              "write=/var/lib/obs-agent/prisoner/file", "write=/run/obs-agent/prisoner/file",
              "write=/tmp/file", "notify=STATUS=inside", "notify=WATCHDOG=1", "shell=true", "processes=20"]
    socket = next(Path(machine.server.url().split("host=")[1].split()[0]).glob(".s.PGSQL.*[0-9]"))
    wanted = [w.replace(".s.PGSQL.PORT", socket.name) for w in wanted]
    with tls_server(machine):
        found = attempts(machine, AGENT, wanted)
    assert done(found, wanted) == wanted, {w: found.get(w) for w in wanted if w not in done(found, wanted)}


def tls_server(machine):
    """Servers on ports 8000 and 8443 of the machine, which trusts their certificate."""
    pem = machine.tree.parent / "tls.pem"
    if not pem.exists():
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", pem, "-out", str(pem) + ".crt")
        certificate = Path(str(pem) + ".crt").read_text()
        pem.write_text(pem.read_text() + certificate)
        trusted = machine.tree / "etc/ssl/certs/ca-certificates.crt"
        trusted.parent.mkdir(parents=True, exist_ok=True)
        trusted.write_text(certificate)
    return machine.beside("/usr/bin/python3", HELPERS / "https_server.py", 8000, 8443, pem, port=8000)


def test_the_agent_itself_works_inside(machine):
    """Metrics, checks over HTTP and verified HTTPS, in a charset that the C library loads, logs readable by
    each group; the state is kept."""
    logs = ["/var/log/by-adm.log", "/var/log/by-www-data.log"]
    machine.deploy("inside", log_files=logs, health_checks=[
        "http://localhost:8000/", {"url": "https://localhost:8443/", "expect_body": "café"}])
    with tls_server(machine):
        machine.start("inside")
        machine.db.wait("SELECT count(*) > 0 FROM vps_metrics WHERE app_name = 'inside'", timeout=15)
        machine.db.wait("SELECT count(DISTINCT url) = 2 FROM health_checks WHERE app_name = 'inside'",
                        timeout=15)
        machine.db.wait("SELECT count(*) = 2 FROM log_entries WHERE app_name = 'inside'", timeout=15)
    assert machine.db.query("SELECT url, error_message FROM health_checks WHERE app_name = 'inside' "
                            "AND NOT success") == []
    assert list((machine.tree / "var/lib/obs-agent/inside").iterdir()) != []
    machine.systemctl("stop", "obs-agent@inside")


# ---- credentials -------------------------------------------------------------------------------------

def test_only_its_service_can_read_a_credential(machine):
    store = machine.tree / "etc/credstore"
    store.mkdir(mode=0o700, exist_ok=True)
    (store / "obs-agent.prisoner.password").write_text("secret")
    (store / "obs-agent.prisoner.password").chmod(0o600)
    folder = f"/run/credentials/{AGENT}"
    found = attempts(machine, AGENT,
                     [f"read={folder}/password", f"read={folder}/database_url", f"write={folder}/password",
                      "read=/etc/credstore/obs-agent.prisoner.password"])
    assert [v[0] for v in found.values()] == [True, False, False, False], found
    (store / "obs-agent.prisoner.password").unlink()


def test_the_hub_gets_its_configuration(machine):
    folder = f"/run/credentials/{HUB}"
    found = attempts(machine, HUB,
                     [f"read={folder}/hub.conf", "read=/etc/observ/hub.conf", "unix=/run/observ/hub.sock"])
    assert [v[0] for v in found.values()] == [True, False, False], found


def test_the_watcher_itself_works_inside(machine):
    """With its configuration as a credential, over the socket of the database, told to systemd."""
    socket = next(Path(machine.server.url().split("host=")[1].split()[0]).glob(".s.PGSQL.*[0-9]"))
    machine.db.query("CREATE ROLE \"fleet-watch\" LOGIN IN ROLE observ_watch")
    (machine.tree / "etc/systemd/system/fleet-watch.service.d/zz-prisoner.conf").unlink(missing_ok=True)
    config = machine.tree / "etc/observ/watch.conf"
    config.write_text(f"database_url = host=/run/database port={socket.suffix[1:]} user=fleet-watch "
                      f"dbname={machine.db.name}\nevaluate_every_s = 1\n")
    machine.systemctl("daemon-reload")
    machine.systemctl("restart", WATCH)
    wait_for(lambda: "leading; evaluated at" in machine.systemctl("show", "--value", "-p", "StatusText",
                                                                  WATCH).stdout, "an evaluation", 30)
    machine.systemctl("stop", WATCH)
    assert machine.systemctl("show", "--value", "-p", "Result", WATCH).stdout.strip() == "success"


# ---- drop-ins ----------------------------------------------------------------------------------------

def test_a_drop_in_allows_only_what_it_names(machine):
    machine.run("groupadd", "-f", "my-app", check=False)
    containers = machine.tree / "var/lib/docker/containers/c1"
    containers.mkdir(parents=True, exist_ok=True)
    for folder in (containers, containers.parent, containers.parent.parent):
        folder.chmod(0o710)
    (containers / "c1-json.log").write_text("{}\n")
    (containers / "c1-json.log").chmod(0o640)
    gid = next(line.split(":")[2] for line in (machine.tree / "etc/group").read_text().splitlines()
               if line.startswith("my-app:"))
    os.chown(machine.tree / "srv/my-app/app.log", 0, int(gid))
    tries = ["read=/home/somebody/diary", "read=/srv/my-app/app.log",
             "read=/var/lib/docker/containers/c1/c1-json.log",
             "write=/home/somebody/diary", "write=/srv/my-app/app.log", "write=/etc/attack",
             "read=/etc/shadow", "read=/root/diary", "mount=/mnt", "open_by_handle"]
    opened = {None: [], "home-logs.conf": tries[0:1] + ["read=/root/diary"], "groups.conf": tries[1:2],
              "limits.conf": [],
              "docker.conf": tries[1:3]}
    for drop_in, expected in opened.items():
        found = attempts(machine, AGENT, tries, *[drop_in] * bool(drop_in))
        assert done(found, tries) == [t for t in tries if t in expected], (drop_in, found)


# ---- limits ------------------------------------------------------------------------------------------

def test_limits_are_set(machine):
    """test_the_sandbox_refuses_every_attempt checks that the kernel enforces them, if it has the
    controllers."""
    names = ["MemoryMax", "CPUQuotaPerSecUSec", "TasksMax", "RestartUSec", "Restart",
             "StartLimitIntervalUSec"]
    values = machine.systemctl("show", "-p", ",".join(names), "obs-agent@limits").stdout.split()
    assert dict(v.split("=", 1) for v in values) == {
        "MemoryMax": str(100 << 20), "CPUQuotaPerSecUSec": "100ms", "TasksMax": "64", "RestartUSec": "5s",
        "Restart": "always", "StartLimitIntervalUSec": "0"}


@pytest.mark.soak
def test_systemd_257_accepts_the_units_and_drop_ins(tmp_path):
    """systemd of Debian 13, which is downloaded; it is not booted."""
    tree = tmp_path / "tree"
    made = subprocess.run([NSPAWN, "tree", tree, "systemd"], env={**os.environ, "OBSERV_SUITE": "trixie"},
                          text=True, capture_output=True)
    if made.returncode == NOT_POSSIBLE:
        pytest.skip(made.stderr.strip().splitlines()[-1])
    assert made.returncode == 0, made.stderr
    make_install(tree)
    shutil.copy(tree / "bin/true", tree / "usr/bin/psql")
    units = ["fleet-hub.service", "fleet-hub.socket", "fleet-watch.service", "observ-maintain.service",
             "observ-maintain.timer", "obs-agent@plain.service"]
    for drop_in in (TOP / "templates/drop-ins").glob("*.conf"):
        units.append(f"obs-agent@{drop_in.stem}.service")
        folder = tree / f"etc/systemd/system/{units[-1]}.d"
        folder.mkdir()
        shutil.copy(drop_in, folder)
    run("chroot", tree, "systemd-sysusers")
    for unit in units:
        done = subprocess.run(["chroot", tree, "systemd-analyze", "verify",
                               "--man=no", f"/etc/systemd/system/{unit}" if "@" not in unit else unit],
                              text=True, capture_output=True)
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), unit
