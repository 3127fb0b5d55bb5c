"""README.md's way from a machine with nothing to the first row and page, word for word, in a booted bare Debian 12; and
fleet_hub_admin setup and teardown, which are most of it.

The first run ever needs a network, for the machine and for the packages; both stay in build/nspawn.
"""
import json
import re
import urllib.parse

import pytest
from harness import TOP, run, wait_for
from machine import Machine, nspawn

BOOTED = ("git", "make", "ca-certificates", "systemd", "systemd-sysv", "dbus")
COMMANDS_MAX = 6
INSTALL_S = 1000                # for what compiles and unpacks packages


def block(name, language):
    """The code in README.md between <!-- NAME: ... --> and <!-- end of NAME -->."""
    part = re.search(rf"<!-- {name}:.*?<!-- end of {name} -->", (TOP / "README.md").read_text(), re.S).group()
    return re.search(rf"```{language}\n(.*?)```", part, re.S).group(1)


def commands(script):
    """Without comments; what goes on after a backslash is one."""
    lines = script.replace("\\\n", " ").splitlines()
    return [line for line in (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines) if line]


class Bare(Machine):
    """A booted machine whose network is its own loopback; what apt will ask for is in its archives already."""

    def __init__(self, tree):
        super().__init__(tree, None, None)

    def shell(self, script, **options):
        return self.run("bash", "-ec", f"cd /root/observ && {script}", **options)

    def ask(self, sql, database="observ_metrics"):
        return self.run("su", "postgres", "-c", f"cd / && psql -XAtqd {database} -c \"{sql}\"").stdout.strip()

    def get(self, path):
        """(status, body) of the web server that stands in front of the hub."""
        script = f"exec 3<> /dev/tcp/127.0.0.1/8080; printf 'GET {path} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3; cat <&3"
        head, _, body = self.run("bash", "-ec", script).stdout.partition("\n\n")
        return int(head.split()[1]), body


def download(tree):
    """What the README's commands install, so that they need no network: the machine has one of its own, where no port is taken."""
    ours = run(TOP / "scripts/deps", "--list", "build", "deb").split()
    for recommends, packages in [("--no-install-recommends", ours), ("--install-recommends", ["postgresql", "nginx", "python3"])]:
        nspawn("once", tree, "--resolv-conf=copy-host", "--", "sh", "-ec",
               f"apt-get -q update && apt-get -q -y --download-only {recommends} install {' '.join(packages)}")


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    tree = tmp_path_factory.mktemp("walk") / "tree"
    nspawn("tree", tree, *BOOTED)
    run(TOP / "scripts/newcomer", "clone", tree)
    download(tree)
    (tree / "etc/apt/apt.conf.d/99newcomer").unlink()          # from here on there is no network to be patient with
    try:
        nspawn("boot", tree, "--private-network")
        yield Bare(tree)
    finally:
        nspawn("remove", tree)


def test_readme_leads_to_the_first_row_and_page(walk):
    script = block("first row", "sh")
    assert 0 < len(commands(script)) <= COMMANDS_MAX
    said = walk.shell(script, timeout=INSTALL_S).stdout
    assert "my-app: the first row is in the database" in said and "http://localhost:8080/" in said
    assert int(walk.ask("SELECT count(*) FROM vps_metrics WHERE app_name = 'my-app'")) > 0
    server = walk.run("hostname").stdout.strip()
    status, page = walk.get("/")
    assert status == 200 and server in page and "my-app" in page
    assert walk.get(f"/servers/{urllib.parse.quote(server)}")[0] == 200


def rows(walk, message):
    return walk.ask(f"SELECT context FROM log_entries WHERE message = '{message}' AND app_name = 'my-app'")


def test_first_line_of_the_readme_arrives(walk):
    """The C program's log is a file that the agent follows and may read."""
    wait_for(lambda: rows(walk, "Hello"), "the line of the README's shell")
    (walk.tree / "root/observ/app.c").write_text(block("first line", "c"))
    walk.shell(block("first line", "sh"), timeout=120)
    wait_for(lambda: rows(walk, "User action"), "the line of the README's program")
    shown = json.loads(block("first line", "json"))
    assert json.loads(rows(walk, "User action")) == shown["context"]
    assert "User action" in walk.get("/logs")[1]


STATE = ("/etc/observ/hub.conf", "/etc/nginx/sites-available/observ", "/etc/credstore/obs-agent.my-app.database_url",
         "/opt/deployments/my-app/config.yml")


def test_setup_again_changes_nothing(walk):
    before = [walk.run("cat", path).stdout for path in STATE]
    logins = walk.ask("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1")
    said = walk.shell("fleet_hub_admin setup --app my-app", timeout=120).stdout
    assert "database observ_metrics: there already" in said and "made" not in said and "written" not in said
    assert [walk.run("cat", path).stdout for path in STATE] == before
    assert walk.ask("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1") == logins
    assert walk.get("/")[0] == 200
    as_postgres = walk.run("su", "postgres", "-c", "fleet_hub_admin setup").stdout
    assert "the database is ready; the rest needs root" in as_postgres


def test_retention_timer_runs_and_hub_has_no_secret(walk):
    assert walk.systemctl("is-active", "observ-maintain.timer").stdout.strip() == "active"
    assert int(walk.ask("SELECT count(*) FROM job_runs")) > 0
    assert walk.run("stat", "-c", "%a %U", "/etc/observ/hub.conf").stdout.strip() == "600 root"
    assert walk.ask("SELECT count(*) FROM pg_authid WHERE rolpassword IS NOT NULL AND rolname IN ('fleet-hub', 'observ-maintain')") == "0"


def test_admin_commands_need_no_su(walk):
    assert "enrolled" in walk.shell("fleet_hub_admin servers").stdout


@pytest.mark.parametrize("prepare, command, sentence", [
    ("", "setup --server web-9 --port 8080 --app x/y", "an application's name has letters"),
    ("fleet_hub_admin enroll elsewhere", "setup --server elsewhere --app shop", "is enrolled already, and its login obs_elsewhere is not on this machine"),
    ("rm /etc/nginx/sites-enabled/observ; systemctl restart nginx", "setup --port 80", "port 80 of this machine is in use; choose another one: --port 90"),
    ("su postgres -c 'cd / && createdb other && psql -qd other -c \"CREATE TABLE wages (n int)\"'", "setup --database other",
     "database other holds something else already (public.wages)"),
    ("", "setup --databse x", "--databse x: not understood"),
    ("", "setup --database", "--database: needs a value"),
    ("export PGHOST=/nowhere", "setup", "PGHOST is set: give --url"),
    ("", "--url postgresql://nobody@localhost/observ_metrics setup", "no password supplied"),
    ("", "--url host=localhost setup", "must be postgresql://LOGIN@HOST/DATABASE"),
])
def test_setup_says_what_is_in_the_way(walk, prepare, command, sentence):
    done = walk.shell(f"{prepare or ':'}; fleet_hub_admin {command}", check=False, timeout=120)
    assert done.returncode in (1, 64) and sentence in done.stdout + done.stderr


def test_setup_as_somebody_says_who_may(walk):
    done = walk.run("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "fleet_hub_admin", "setup", check=False)
    assert done.returncode == 1 and done.stderr == "fleet_hub_admin: run it as root, or give --url for a database elsewhere\n"


def test_setup_starts_what_is_stopped_and_enables_what_is_missing(walk):
    walk.systemctl("disable", "--now", "postgresql", "fleet-hub.socket", "observ-maintain.timer")
    said = walk.shell("fleet_hub_admin setup", timeout=120).stdout
    assert "PostgreSQL 15: started" in said and "the hub answers on this machine" in said
    assert walk.systemctl("is-enabled", "postgresql", "fleet-hub.socket", "observ-maintain.timer").stdout.split() == ["enabled"] * 3
    assert walk.get("/")[0] == 200


def test_teardown_prints_what_takes_all_away(walk):
    """And nothing of Observ is left in the server."""
    walk.systemctl("stop", "obs-agent@my-app")
    statements = walk.shell("fleet_hub_admin teardown").stdout
    assert int(walk.ask("SELECT count(*) FROM vps_metrics")) > 0
    (walk.tree / "var/tmp/teardown.sql").write_text(statements)
    walk.run("su", "postgres", "-c", "cd / && psql -XAtqv ON_ERROR_STOP=1 -d postgres -f /var/tmp/teardown.sql")
    assert walk.ask("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'", "postgres") == "postgres"


def test_setup_makes_the_first_cluster_where_there_is_none(walk):
    """As on a machine whose PostgreSQL came with another program that told Debian to make none."""
    walk.shell("pg_dropcluster 15 main --stop && rm -r /etc/credstore/obs-agent.* /opt/deployments/my-app", timeout=60)
    said = walk.shell("fleet_hub_admin setup --app my-app --server again", timeout=120).stdout
    assert "makes its first cluster" in said and "my-app: the first row is in the database" in said
    assert walk.get("/")[0] == 200


def test_purged_hub_takes_its_site_along(walk):
    walk.run("apt-get", "-q", "-y", "purge", "fleet-hub", "obs-agent", timeout=120)
    assert not [p for p in ("etc/nginx/sites-enabled/observ", "etc/nginx/sites-available/observ", "etc/observ", "run/observ")
                if (walk.tree / p).is_symlink() or (walk.tree / p).exists()]
    assert walk.systemctl("is-active", "nginx").stdout.strip() == "active"
    assert walk.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""


def test_setup_without_postgresql_says_what_to_install(walk):
    walk.shell("apt-get -q -y install ./build/deb/fleet-hub_*.deb && apt-get -q -y purge postgresql-15 postgresql", timeout=120)
    done = walk.shell("fleet_hub_admin setup", check=False)
    assert done.returncode == 1 and "PostgreSQL is not installed on this machine; run: apt-get install postgresql" in done.stderr
