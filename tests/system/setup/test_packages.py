"""The Debian packages: their content, lintian, reproducible builds; then installed in a booted Debian 12,
upgraded while a log is written, purged.
"""
import hashlib
import os
import re
import shutil
import socket
import struct
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import BUILD, TOP, run
from hub_server import Hub
from machine import booted, make_environment
from writer import Writer, check_exactly_once

DEBIAN = ("prefix=/usr", "sysconfdir=/etc", "libdir=/usr/lib/MULTIARCH", "unitdir=/lib/systemd/system")
VERSION = re.match(r"observ \((.*?)\)", (TOP / "debian/changelog").read_text()).group(1)
NEWER = VERSION + "+1"


def make_deb(folder, **environment):
    """Run `make deb`; returns {package: path}, without packages of debugging symbols."""
    folder.mkdir()
    run("make", "-C", TOP, f"BUILD={folder}", "deb", env={**make_environment(), **environment}, timeout=300)
    return {deb.name.split("_")[0]: deb for deb in (folder / "deb").glob("*.deb")
            if "-dbgsym_" not in deb.name}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return make_deb(tmp_path_factory.mktemp("built") / "one")


@pytest.fixture(scope="module")
def newer(tmp_path_factory):
    """The same source with another entry in its changelog, from a tree without git."""
    folder = tmp_path_factory.mktemp("newer")
    shutil.copytree(TOP, folder / "source",
                    ignore=shutil.ignore_patterns("build", "demo-data", ".git", "__pycache__"))
    changelog = folder / "source/debian/changelog"
    entry = (f"observ ({NEWER}) unstable; urgency=medium\n\n  * Newer.\n\n"
             " -- The Observ authors <maintainers@observ.invalid>  Sun, 22 Nov 2026 00:00:00 +0000\n\n")
    changelog.write_text(entry + changelog.read_text())
    quick = {"OPT": "-O0", "DEB_BUILD_OPTIONS": "noautodbgsym"}
    run("make", "-C", folder / "source", f"BUILD={folder}/build", "deb", env={**make_environment(), **quick},
        timeout=300)
    return {deb.name.split("_")[0]: deb for deb in (folder / "build/deb").glob("*.deb")
            if "-dbgsym_" not in deb.name}


def held(deb):
    """{path: mode} of all files, with the names of `make install`."""
    files = {}
    for line in run("dpkg", "-c", deb).splitlines():
        mode, _, _, _, _, path = line.split(None, 5)
        if mode[0] != "d":
            path, _, target = path[2:].partition(" -> ")
            files[re.sub(r"(/man/.*)\.gz$", r"\1", path)] = mode, re.sub(r"\.gz$", "", target)
    return files


# ---- the built packages ------------------------------------------------------------------------------

def test_seven_packages_are_built(built):
    assert set(built) == {"obs-agent", "fleet-hub", "fleet-watch", "liblogcore0", "liblogcore-dev",
                          "python3-logcore", "logcore"}


def test_lintian_has_no_complaint(built):
    changes = next(built["obs-agent"].parent.glob("*.changes"))
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", str(changes)], text=True,
                          capture_output=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_packages_built_in_another_folder_and_time_zone_are_the_same(built, tmp_path):
    again = make_deb(tmp_path / "in-another-and-longer-folder", TZ="Asia/Tokyo", LC_ALL="C",
                     HOME=str(tmp_path), USER="somebody")

    def sums(debs):
        return {d.name: hashlib.sha256(d.read_bytes()).hexdigest()
                for d in next(iter(debs.values())).parent.glob("*.deb")}
    assert sums(again) == sums(built)


def test_make_install_installs_what_the_packages_hold(built, tmp_path):
    """The same paths and modes, except files for dpkg, and documentation, which has a folder for each
    package."""
    multiarch = run("dpkg-architecture", "-qDEB_HOST_MULTIARCH").strip()
    run("make", "-C", TOP, f"BUILD={BUILD}", f"DESTDIR={tmp_path}",
        *(d.replace("MULTIARCH", multiarch) for d in DEBIAN), "install", env=make_environment())
    installed = {str(f.relative_to(tmp_path)) for f in tmp_path.rglob("*") if f.is_symlink() or f.is_file()}
    packed = {path for deb in built.values() for path in held(deb)}
    ours = {p for p in installed if not p.startswith("usr/share/doc/")}
    assert ours == {p for p in packed if not p.startswith(("usr/share/doc/", "usr/share/lintian/"))}
    assert {Path(p).name for p in installed - ours} - {"LICENSE", "NEWS.md", "fleet.png", "logs.png"} == \
        {re.sub(r"\.gz$", "", Path(p).name) for p in packed
         if p.startswith("usr/share/doc/")} - {"changelog", "copyright"}
    modes = {p: m for deb in built.values() for p, (m, _) in held(deb).items()}
    secret = ("etc/observ/hub.conf", "etc/observ/watch.conf")
    assert {modes[p] for p in secret} == {"-rw-------"}
    others = {m for p, m in modes.items() if p not in secret}
    assert others <= {"-rw-r--r--", "-rwxr-xr-x", "lrwxrwxrwx"}


def test_programs_are_hardened(built, tmp_path):
    for package, program in [("obs-agent", "usr/bin/obs_agent"),
                             ("fleet-hub", "usr/libexec/observ/fleet_hub"),
                             ("fleet-hub", "usr/bin/fleet_hub_admin"),
                             ("fleet-watch", "usr/bin/fleet_watch"), ("logcore", "usr/bin/logcore")]:
        run("dpkg", "-x", built[package], tmp_path)
        headers = run("readelf", "-Wldh", tmp_path / program)
        assert ("DYN (Position-Independent Executable file)" in headers and "BIND_NOW" in headers
                and "GNU_RELRO" in headers)
        assert re.search(r"GNU_STACK.* RW ", headers)
        assert run(tmp_path / program, "--help")


def test_each_program_unit_and_file_format_has_a_manual_page(built):
    pages = {Path(p).name for deb in built.values() for p in held(deb) if "/man/" in p}
    assert {"obs_agent.8", "obs_agent.yml.5", "fleet_hub.8", "fleet_hub_admin.8", "fleet_watch.8",
            "observ-schema.7", "logcore.1", "logcore.3"} <= pages
    for unit in (TOP / "templates").glob("*.service"):
        named = re.findall(r"man:([\w.-]+)\((\d)\)", unit.read_text())
        assert named and {f"{name}.{section}" for name, section in named} <= pages


# ---- in a machine ------------------------------------------------------------------------------------

# Files that any package may leave in Debian, and files of the applications.
NOT_OURS = re.compile(r"(var/lib/dpkg|var/cache|var/log|var/lib/apt|opt/deployments|packages|run|tmp|var/tmp"
                      r"|dev|proc|sys|root|var/lib/systemd/(timers|random-seed|catalog|credential)"
                      r"|etc/(passwd|group|shadow|gshadow)-?$|etc/machine-id"
                      r"|etc/\.pwd\.lock|etc/\.updated|var/\.updated|etc/ld\.so\.cache|var/lib/private)")


def paths(tree):
    found = set()
    for folder, folders, files in os.walk(tree):
        relative = os.path.relpath(folder, tree)
        found |= {os.path.normpath(os.path.join(relative, name)) for name in folders + files}
    return {p for p in found if not NOT_OURS.match(p)}


def install(machine, debs, *packages):
    folder = machine.tree / "packages"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for package in packages:
        shutil.copy(debs[package], folder)
    names = [f"/packages/{debs[p].name}" for p in packages]
    return machine.run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get",
                       "-q", "-y", "--no-install-recommends", "install", *names, timeout=120)


OURS = ("obs-agent", "fleet-hub", "fleet-watch", "liblogcore0", "liblogcore-dev", "logcore")


@pytest.fixture(scope="module")
def machine(tmp_path_factory, built):
    with booted(tmp_path_factory.mktemp("machine"), lambda tree: None) as machine:
        machine.before = paths(machine.tree)
        machine.log = install(machine, built, *OURS).stdout
        machine.db.query("CREATE ROLE hub LOGIN IN ROLE observ_hub")
        machine.db.query('CREATE ROLE "observ-maintain" LOGIN IN ROLE observ_watch')
        yield machine


def show(machine, unit, name):
    return machine.systemctl("show", "--value", "-p", name, unit).stdout.strip()


def test_the_installed_agent_waits_to_be_enabled(machine):
    for unit in ("fleet-hub.socket", "fleet-hub.service", "fleet-watch.service", "observ-maintain.timer"):
        assert show(machine, unit, "LoadState") == "loaded" and show(machine, unit,
                                                                     "ActiveState") == "inactive"
    assert machine.run("id", "-Gn", "obs-agent").stdout.strip() == "obs-agent"
    assert machine.run("stat", "-c", "%a %U", "/etc/credstore").stdout.strip() == "700 root"


def test_an_instance_is_enabled_and_rows_arrive(machine):
    folder = machine.deploy("my-app")
    (folder / "logs/app.log").write_text("INFO from a package\n")
    machine.systemctl("enable", "--now", "obs-agent@my-app")
    machine.db.wait("SELECT count(*) > 0 FROM vps_metrics WHERE app_name = 'my-app'")
    machine.db.wait("SELECT count(*) = 1 FROM log_entries WHERE app_name = 'my-app'")
    assert machine.db.one("SELECT version FROM agents WHERE app_name = 'my-app'") == VERSION


def test_install_sh_sets_a_server_up(machine, built):
    """Twice: it repairs the set-up, and keeps an existing configuration."""
    role, password = machine.db.query("SELECT * FROM enroll('web \"1\"')")[0]
    shutil.copy(TOP / "templates/install.sh", machine.tree / "packages")
    (machine.tree / "root/password").write_text(password + "\n")
    command = ("/packages/install.sh", "--server", 'web "1"',
               "--url", f"postgresql://{role}@/{machine.db.name}?host=/run/database",
               "--app", "shop", "--app", "till", "--password-file", "/root/password",
               "--package", f"/packages/{built['obs-agent'].name}")
    said = machine.run(*command, timeout=200).stdout
    assert "wrote /opt/deployments/till/config.yml" in said
    for app in ("shop", "till"):
        assert f"{app}: the first row is in the database" in said
        assert machine.db.count("vps_metrics", "vps_name = 'web \"1\"' AND app_name = %s", app) > 0
        assert machine.run("stat", "-c", "%a %U",
                           f"/etc/credstore/obs-agent.{app}.database_url").stdout.strip() == "600 root"
    config = machine.tree / "opt/deployments/shop/config.yml"
    config.write_text(config.read_text() + "  # by hand\n")
    assert "wrote" not in machine.run(*command, timeout=200).stdout
    assert "by hand" in config.read_text()
    bar = machine.run(*command[:5], "--app", "bar", timeout=200).stdout      # its login exists
    assert f"has the login {role} already" in bar and "bar: the first row is in the database" in bar
    machine.run("rm", "/opt/deployments/bar/config.yml")
    machine.run("ln", "-s", "/etc/planted", "/opt/deployments/bar/config.yml")
    planted = machine.run(*command[:5], "--app", "bar", check=False)
    assert (planted.returncode == 1
            and "config.yml is a symbolic link: put the file itself there" in planted.stderr)
    assert machine.run("test", "-e", "/etc/planted", check=False).returncode == 1
    machine.systemctl("disable", "--now", "obs-agent@shop", "obs-agent@till", "obs-agent@bar")


def test_install_sh_enrolls_a_server_with_a_token(machine):
    """It enrolls once; later runs use the login that it made. If refused, it says why and changes nothing."""
    role, password = machine.db.query("SELECT * FROM make_token()")[0]
    (machine.tree / "root/token").write_text(password + "\n")
    machine.run("rm", "-r", "/etc/credstore")

    def enroll(server, *more, check=True):
        return machine.run("/packages/install.sh", "--token", "--server", server,
                           "--password-file", "/root/token", "--url",
                           f"postgresql://{role}@/{machine.db.name}?host=/run/database", "--app", "kiosk",
                           *more, check=check, timeout=200)
    assert "kiosk: the first row is in the database" in enroll("web-2").stdout
    assert machine.db.one("SELECT used FROM bootstrap_tokens") == 1
    assert machine.db.count("vps_metrics", "vps_name = 'web-2' AND app_name = 'kiosk'") > 0
    assert machine.db.one("SELECT count(*) FROM agent_roles WHERE vps_name = 'web-2'") == 1
    again = enroll("web-2", "--app", "desk").stdout
    assert "has the login obs_web_2 already" in again and "desk: the first row is in the database" in again
    other = enroll("web-3", check=False)
    assert other.returncode == 1 and 'says vps_name: "web-2", not web-3' in other.stderr
    machine.run("rm", "-r", "/etc/credstore", "/opt/deployments/kiosk")
    refused = enroll("web-3", check=False)
    assert refused.returncode == 1 and "this token is used up: it was for 1 server(s)" in refused.stderr
    assert machine.run("ls", "/etc/credstore").stdout == ""
    machine.systemctl("disable", "--now", "obs-agent@kiosk", "obs-agent@desk")
    role, password = machine.db.query("SELECT * FROM enroll('web-4')")[0]
    (machine.tree / "root/token").write_text(password)
    wrong = machine.run("/packages/install.sh", "--server", "web-5",
                        "--url", f"postgresql://{role}@/{machine.db.name}?host=/run/database",
                        "--password-file", "/root/token", "--app", "kiosk", check=False, timeout=50)
    assert wrong.returncode == 1 and "kiosk: no row came; this is what obs_agent doctor says:" in wrong.stderr
    assert 'may write as server "web-4" only, not as "web-5"; set vps_name' in wrong.stderr
    machine.systemctl("disable", "--now", "obs-agent@kiosk")
    machine.run("journalctl", "--sync")
    assert password not in machine.run("journalctl", "--no-pager").stdout


@contextmanager
def without_applications(machine):
    """As a machine on which nothing was set up, but for curl; the other tests find theirs again."""
    folders = ("/opt/deployments", "/etc/credstore")
    shutil.copy("/usr/bin/curl", machine.tree / "usr/bin")      # of this Debian; its library is there
    machine.run("mkdir", "-p", *folders)
    for folder in folders:
        machine.run("mv", folder, f"{folder}.aside")
    try:
        yield
    finally:
        machine.run("rm", "/usr/bin/curl")
        for folder in folders:
            machine.run("rm", "-rf", folder)
            machine.run("mv", f"{folder}.aside", folder)


def test_the_command_that_the_hub_prints_sets_a_server_up(machine, built, tmp_path):
    """Its packages, its login, its unit. It works again without harm."""
    folder = tmp_path / "packages"
    folder.mkdir()
    shutil.copy(built["obs-agent"], folder)
    machine.db.query("INSERT INTO servers (vps_name, created_by) VALUES ('by-hub', 'test')")
    token = machine.db.one("SELECT new_server_token('by-hub', 'test', '0')")
    hub = Hub(tmp_path / "hub", machine.db.url("hub"), "fastcgi",
              conf=f"packages = {folder}\nagents_database = /{machine.db.name}?host=/run/database\n")
    hub.launch = lambda: hub                            # not here, but in the machine's network
    config = hub.start().folder / "lighttpd.conf"
    site = hub.url("").rstrip("/")
    command = f"curl -fsSL {site}/install.sh | sh -s -- --token {token} --url {site}"
    with without_applications(machine), \
            machine.beside("/usr/sbin/lighttpd", "-D", "-f", config, port=hub.port):
        said = machine.run("sh", "-c", command, timeout=200).stdout
        assert 'this server is "by-hub"' in said and "host: the first row is in the database" in said
        assert machine.db.count("vps_metrics", "vps_name = 'by-hub' AND app_name = 'host'") > 0
        again = machine.run("sh", "-c", command, timeout=200).stdout
        assert "has the login obs_by_hub already" in again and "wrote" not in again
        assert machine.db.count("agent_roles", "vps_name = 'by-hub'") == 1
        assert machine.run("stat", "-c", "%a %U", "/etc/credstore/observ.hub").stdout.strip() == "600 root"
        machine.systemctl("disable", "--now", "obs-agent@host")


@pytest.mark.parametrize("arguments, status, sentence", [
    ((), 64, "--server, --url and --app are needed"),
    (("--server",), 64, "--server needs a value"),
    (("--sever", "x"), 64, "what is --sever?"),
    (("--server", "x", "--url", "postgresql://a:b@h/d", "--app", "shop"), 1, "has a password in it"),
    (("--server", "x", "--url", "postgresql://a@h/d?password=b", "--app", "shop"), 1, "has a password in it"),
    (("--server", "x", "--url", "postgresql://obs_token_1@h/d", "--app", "shop"), 1,
     "obs_token_1 is a token, which writes nothing itself: add --token"),
    (("--server", "${HOME}", "--url", "postgresql://a@h/d", "--app", "shop"), 1,
     "no control characters, no ${ and no space at its ends"),
    (("--server", "x", "--url", "postgresql://a@h/d", "--app", ""), 64, "--app needs a value"),
    (("--server", "x", "--url", "postgresql://a@h/d", "--app", "*"), 1, "an application's name has letters"),
    (("--server", "x", "--url", "h/d", "--app", "shop"), 1, "must be postgresql://ROLE@HOST/DATABASE"),
    (("--server", "x", "--url", "postgresql://a@h/d", "--app", "../x"), 1,
     "an application's name has letters"),
    (("--server", "x", "--url", "postgresql://a@h/d", "--app", "my app"), 1,
     "my app: an application's name has letters"),
    (("--server", "x", "--url", "postgresql://a@h/d", "--app", "APPLICATION"), 1,
     "in the place of APPLICATION"),
    (("--server", "x", "--url", "postgresql://a@DATABASE-HOST/d", "--app", "shop"), 1,
     "in the place of DATABASE-HOST"),
    (("--server", "NAME", "--url", "postgresql://a@h/d", "--app", "shop"), 1, "in the place of NAME"),
])
def test_mistakes_with_install_sh_are_one_sentence(arguments, status, sentence):
    done = subprocess.run([TOP / "templates/install.sh", *arguments], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == status and sentence in done.stderr and "not found" not in done.stderr


def record(kind, content=b""):
    return struct.pack(">BBHHBB", 1, kind, 1, len(content), 0, 0) + content


def ask(machine, path):
    """The hub's answer on its socket to a request of a web server."""
    leader = Path(f"{machine.tree}.nspawn/leader").read_text().strip()
    parameters = {"REQUEST_METHOD": "GET", "REQUEST_URI": path, "QUERY_STRING": path.partition("?")[2],
                  "SERVER_ADDR": "127.0.0.1",
                  "REMOTE_ADDR": "127.0.0.1"}
    packed = b"".join(struct.pack(">II", len(k) | 1 << 31, len(v) | 1 << 31) + k.encode() + v.encode()
                      for k, v in parameters.items())
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(f"/proc/{leader}/root/run/observ/hub.sock")
        s.settimeout(20)
        s.sendall(record(1, struct.pack(">HB5x", 1, 0)) + record(4, packed) + record(4) + record(5))
        answer = b""
        while part := s.recv(65536):
            answer += part
    text = b""
    while answer:
        kind, length, padding = answer[1], *struct.unpack(">HB", answer[4:7])
        text += answer[8:8 + length] if kind == 6 else b""
        answer = answer[8 + length + padding:]
    return text.decode()


def test_the_hub_answers_on_its_socket(machine):
    (machine.tree / "etc/observ/hub.conf").write_text("database_url = host=/run/database user=hub "
                                                      f"dbname={machine.db.name}\nanonymous = viewer\n")
    machine.systemctl("enable", "--now", "fleet-hub.socket")
    assert show(machine, "fleet-hub.service", "ActiveState") == "inactive"
    assert '"machine"' in ask(machine, "/?format=json&show=all")
    assert show(machine, "fleet-hub.service", "ActiveState") == "active"
    assert (machine.tree / "etc/observ/hub.conf").stat().st_mode & 0o777 == 0o600


def test_the_timer_runs_maintain(machine):
    (machine.tree / "etc/observ/maintain.env").write_text(
        f"PGHOST=/run/database\nPGDATABASE={machine.db.name}\n")
    machine.systemctl("enable", "--now", "observ-maintain.timer")
    machine.systemctl("start", "observ-maintain.service")
    assert machine.db.count("job_runs") > 0


def test_upgrade_under_load_loses_and_doubles_nothing(machine, newer):
    db = machine.server.new_database()
    folder = machine.deploy("busy", postgres_url=f"host=/run/database user=agents dbname={db.name}")
    machine.systemctl("enable", "obs-agent@busy")
    writer = Writer(folder / "logs/app.log", 2000).start()
    machine.systemctl("start", "obs-agent@busy")
    db.wait("SELECT count(*) > 0 FROM log_entries")
    old = {unit: show(machine, unit, "MainPID")
           for unit in ("obs-agent@busy", "obs-agent@my-app", "fleet-hub.service")}
    install(machine, newer, *OURS)
    db.wait("SELECT version = %s FROM agents", NEWER, timeout=30)
    before = db.count("log_entries")
    db.wait("SELECT count(*) > %s FROM log_entries", before, timeout=30)
    check_exactly_once(db, writer.stop())
    for unit, pid in old.items():
        assert show(machine, unit, "MainPID") != pid and show(machine, unit, "ActiveState") == "active", \
            (unit, machine.run("journalctl", "-n", "60", "--no-pager").stdout)
    for unit in ("fleet-hub.socket", "observ-maintain.timer"):
        assert show(machine, unit, "ActiveState") == "active", unit
    assert show(machine, "obs-agent@never", "ActiveState") == "inactive"
    assert '"machine"' in ask(machine, "/?format=json&show=all")
    assert "database_url = host=" in (machine.tree / "etc/observ/hub.conf").read_text()
    db.close()


def test_removal_stops_the_agent_and_keeps_undelivered_samples(machine):
    machine.run("apt-get", "-q", "-y", "remove", "obs-agent", timeout=120)
    assert "obs_agent" not in machine.run("sh", "-c", "cat /proc/[0-9]*/comm").stdout.split()
    assert (machine.tree / "var/lib/obs-agent/my-app").is_dir()


def test_purge_leaves_nothing(machine):
    """Except the users, which Debian keeps, and files of the applications."""
    (machine.tree / "etc/credstore/obs-agent.my-app.password").write_text("secret")
    machine.run("apt-get", "-q", "-y", "purge", *OURS, timeout=120)
    assert paths(machine.tree) - machine.before == set()
    assert (machine.tree / "opt/deployments/my-app/config.yml").exists()
    assert machine.run("systemctl", "list-units", "--plain", "--no-legend", "obs-agent@*", "fleet-hub*",
                       "observ-*").stdout == ""
    assert not {"obs_agent", "fleet_hub"} & set(machine.run("sh",
                                                            "-c", "cat /proc/[0-9]*/comm").stdout.split())
