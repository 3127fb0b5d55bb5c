"""README.md's way from a machine with nothing to the first row and page, word for word, in a booted bare
Debian 12; and fleet_hub_admin setup and teardown, which are most of it.

The first run ever needs a network, for the machine and for the packages; both stay in build/nspawn.
"""
import json
import re
import urllib.parse

import pytest
from harness import TOP, run, wait_for
from machine import BOOTED, SERVER, Machine, connect, download, nspawn

COMMANDS_MAX = 6
WALKER = "ten miles on foot"
INSTALL_S = 1000                # for what compiles and unpacks packages


def block(name, language, page="README.md"):
    """The code in the page between <!-- NAME: ... --> and <!-- end of NAME -->."""
    part = re.search(rf"<!-- {name}:.*?<!-- end of {name} -->", (TOP / page).read_text(), re.S).group()
    return re.search(rf"```{language}\n(.*?)```", part, re.S).group(1)


def commands(script):
    """The commands without comments; lines joined by a backslash are one."""
    lines = script.replace("\\\n", " ").splitlines()
    return [line for line in (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines) if line]


class Bare(Machine):
    """A booted machine whose network is its own loopback; what apt will ask for is in its archives
    already."""

    def __init__(self, tree):
        super().__init__(tree, None, None)

    def shell(self, script, **options):
        return self.run("bash", "-ec", f"cd /root/observ && {script}", **options)

    def ask(self, sql, database="observ_metrics"):
        return self.run("su", "postgres", "-c", f"cd / && psql -XAtqd {database} -c \"{sql}\"").stdout.strip()

    def web(self, request, headers="", body=""):
        """(status, body) of the web server that stands in front of the hub."""
        script = (f"exec 3<> /dev/tcp/127.0.0.1/8080; printf '%s HTTP/1.1\\r\\nHost: localhost\\r\\n"
                  f"Connection: close\\r\\nContent-Length: {len(body)}\\r\\n{headers}\\r\\n%s' '{request}' "
                  f"'{body}' >&3; cat <&3")
        head, _, body = self.run("bash", "-ec", script).stdout.partition("\n\n")
        return int(head.split()[1]), body

    def sign_in(self, email, password):
        """A session's token."""
        status, body = self.web("POST /api/v1/auth/login", "Content-Type: application/json\\r\\n",
                                json.dumps({"email": email, "password": password}))
        assert status == 200, body
        return json.loads(body)["access_token"]

    def get(self, path, session=None, database="observ_metrics"):
        """(status, body); signed in as an admin of the database who is made where he is missing."""
        if not session:
            self.run("su", "postgres", "-c", f"cd / && echo '{WALKER}' | fleet_hub_admin --url dbname="
                     f"{database} create-user walker@example.com admin --password-file -", check=False)
            session = self.sign_in("walker@example.com", WALKER)
        return self.web(f"GET {path}", f"Authorization: Bearer {session}\\r\\n")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    tree = tmp_path_factory.mktemp("walk") / "tree"
    nspawn("tree", tree, *BOOTED)
    run(TOP / "scripts/newcomer", "clone", tree)
    download(tree)
    # from here on there is no network to be patient with
    (tree / "etc/apt/apt.conf.d/99newcomer").unlink()
    (tree / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")       # nobody there: names fail at once
    try:
        nspawn("boot", tree, "--private-network")
        yield Bare(tree)
    finally:
        nspawn("remove", tree)


@pytest.fixture(scope="module")
def walk(bare):
    """The machine on which the README's first commands have run: each test begins there, alone or not."""
    # compiled quickly: test_packages has the packages as they are
    bare.first_row = bare.shell("export OPT=-O0\n" + block("first row", "sh"), timeout=INSTALL_S).stdout
    return bare


LINES_MAX = 100


def slug(heading):
    """The anchor of a heading, as forges make it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_readme_is_short_and_all_links_lead_somewhere():
    assert len((TOP / "README.md").read_text().splitlines()) <= LINES_MAX
    for page in [*TOP.glob("*.md"), *TOP.glob("docs/*.md")]:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if re.match(r"https?:", link):
                continue
            file, _, anchor = link.partition("#")
            target = page.parent / file if file else page
            assert target.exists(), f"{page.name}: {link}"
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M) if anchor else []
            assert not anchor or anchor in map(slug, headings), f"{page.name}: {link}"


def test_readme_leads_to_the_first_row_and_page(walk):
    assert 0 < len(commands(block("first row", "sh"))) <= COMMANDS_MAX
    said = walk.first_row
    assert "my-app: the first row is in the database" in said and "http://localhost:8080/" in said
    assert int(walk.ask("SELECT count(*) FROM vps_metrics WHERE app_name = 'my-app'")) > 0
    server = walk.run("hostname").stdout.strip()
    password = re.search(r"^  ([a-z0-9]{5}(-[a-z0-9]{5}){4})$", said, re.M)[1]
    session = walk.sign_in("you@example.com", password)
    assert walk.web("GET /")[0] == 401
    status, page = walk.get("/", session)
    assert status == 200 and server in page and "my-app" in page
    assert walk.get(f"/servers/{urllib.parse.quote(server)}", session)[0] == 200


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


# ---- another server -------------------------------------------------------------------------------------

OPERATING = "docs/operating.md"
NAME, ADDRESSES = "hub.example.com", ("10.99.0.1", "10.99.0.2")


@pytest.fixture(scope="module")
def public(walk):
    """The hub's machine, with a name for others, as docs/operating.md says."""
    (walk.tree / "etc/hosts").open("a").write(f"127.0.0.1 {NAME}\n")
    walk.shell(block("own CA", "sh", OPERATING))
    walk.published = walk.shell(block("public", "sh", OPERATING), timeout=120).stdout
    return walk


@pytest.fixture(scope="module")
def server(public, tmp_path_factory):
    """A Debian with curl and sudo, which reaches the hub's machine by a cable and trusts its CA."""
    tree = tmp_path_factory.mktemp("server") / "tree"
    nspawn("tree", tree, *SERVER)
    try:
        (tree / "etc/hostname").write_text("shop-1\n")
        (tree / "etc/hosts").write_text(f"127.0.0.1 localhost shop-1\n{ADDRESSES[0]} {NAME}\n")
        (tree / "root/ca.crt").write_bytes((public.tree / "root/observ/ca.crt").read_bytes())
        nspawn("boot", tree, "--private-network")
        machine = Machine(tree, None, None)
        connect(public, machine, ADDRESSES)
        machine.run("sh", "-ec", "cd /root && " + block("trust", "sh", OPERATING))
        yield machine
    finally:
        nspawn("remove", tree)


def api(server, session, method, path, body=None):
    """(status, JSON) of the hub as the other machine sees it."""
    body = ["-H", "Content-Type: application/json", "-d", json.dumps(body)] if body else []
    said = server.run("curl", "-sS", "-X", method, "-H", f"Authorization: Bearer {session}", *body, "-w",
                      "\n%{http_code}", f"https://{NAME}{path}").stdout
    text, _, status = said.rpartition("\n")
    return int(status), json.loads(text or "null")


@pytest.fixture(scope="module")
def session(public):
    public.get("/")                         # makes the admin
    return public.sign_in("walker@example.com", WALKER)


@pytest.fixture(scope="module")
def made(server, session):
    """What the page /servers gets: the new server, and the command that it prints."""
    status, made = api(server, session, "POST", "/api/v1/servers", {"name": "shop-1"})
    assert status == 201 and api(server, session, "GET", "/api/v1/servers/shop-1")[1]["state"] == "waiting"
    return made


def test_setup_public_lets_other_machines_in_and_says_how(public):
    assert f"the hub answers other machines at https://{NAME}/" in public.published
    assert f"PostgreSQL: servers reach it at {NAME}/observ_metrics, over TLS" in public.published
    again = public.shell(block("public", "sh", OPERATING), timeout=120).stdout
    assert "pg_hba.conf" not in again and f'has "public_url = https://{NAME}" already' in again
    hba = public.run("sh", "-c", "cat /etc/postgresql/*/main/pg_hba.conf").stdout
    assert hba.count("+observ_agent ") == hba.count("# Observ: ") == 1
    keys = public.run("sh", "-c", "stat -c '%a %U' /etc/observ/tls/hub.key "
                      "/var/lib/postgresql/*/main/observ.key").stdout
    assert keys.splitlines() == ["600 root", "600 postgres"]
    for arguments, sentence in [
            ("--public x.example.com --certificate hub.crt --key hub.key", "is not for the name x.example"),
            (f"--public {NAME} --certificate hub.crt --key ca.key", "ca.key is not the key of hub.crt"),
            (f"--public {NAME} --certificate hub.key --key hub.key", "hub.key is no certificate in PEM"),
            (f"--public {NAME} --certificate hub.crt", "needs --certificate FILE and --key FILE"),
            ("--key hub.key", "go with --public NAME"), ("--packages /etc", "/etc has no obs-agent_*.deb"),
            ("--public https://x", "--public https://x: the hub's name has letters")]:
        done = public.shell(f"fleet_hub_admin setup {arguments}", check=False)
        assert done.returncode in (1, 64) and sentence in done.stderr, done.stderr


def test_a_package_that_was_changed_on_the_way_is_refused(public, server, made):
    """What the script names and what the hub sends are two things."""
    command = made["install_command"]
    changed = command.replace("/install.sh |", "/install.sh | sed \"s/^OFFERED='..../OFFERED='0000/\" |", 1)
    done = server.run("sh", "-c", changed, check=False)
    assert done.returncode == 1 and "is not what the hub promised: its checksum differs" in done.stderr
    assert server.run("sh", "-c", "command -v obs_agent", check=False).returncode != 0


def test_the_printed_command_brings_the_server_on_the_page(public, server, session, made):
    command = made["install_command"]
    assert re.fullmatch(rf"curl -fsSL https://{NAME}/install.sh \| sudo sh -s -- --token \S+ "
                        rf"--url https://{NAME}", command)
    said = server.run("sh", "-c", command, timeout=120).stdout
    assert 'this server is "shop-1"' in said and "host: the first row is in the database" in said
    assert api(server, session, "GET", "/api/v1/servers/shop-1")[1]["state"] == "online"
    assert int(public.ask("SELECT count(*) FROM vps_metrics WHERE vps_name = 'shop-1'")) > 0
    tls = public.ask("SELECT DISTINCT ssl, client_addr FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                     "WHERE usename = 'obs_shop_1'")
    assert tls == f"t|{ADDRESSES[1]}"


def test_the_printed_command_again_changes_nothing(public, server, session, made):
    before = [server.run("cat", f"/etc/credstore/{f}").stdout for f in ("obs-agent.host.database_url",
                                                                         "observ.hub")]
    said = server.run("sh", "-c", made["install_command"], timeout=120).stdout
    assert "has the login obs_shop_1 already" in said and "the first row is in the database" in said
    assert [server.run("cat", f"/etc/credstore/{f}").stdout
            for f in ("obs-agent.host.database_url", "observ.hub")] == before
    assert api(server, session, "GET", "/api/v1/servers/shop-1")[1]["state"] == "online"


def test_a_login_of_a_server_opens_nothing_but_this_database_over_tls(server):
    """Neither without TLS, nor another database, nor where the certificate is not checked."""
    url = server.run("cat", "/etc/credstore/obs-agent.host.database_url").stdout.strip()
    for changed, why in [(url + "?sslmode=disable", "no pg_hba.conf entry"),
                         (url.replace("/observ_metrics", "/postgres"), "no pg_hba.conf entry"),
                         (url.replace(NAME, ADDRESSES[0]), "certificate")]:
        (server.tree / "root/try.yml").write_text(
            f"monitoring:\n  enabled: true\n  vps_name: shop-1\n  postgres_url: {changed}\n")
        done = server.run("obs_agent", "doctor", "--app", "host", "--config", "/root/try.yml", check=False)
        assert done.returncode != 0 and why in done.stdout + done.stderr, done.stdout + done.stderr


def test_rows_of_a_retired_server_stop_and_both_sides_say_why(public, server, session):
    status, _ = api(server, session, "DELETE", "/api/v1/servers/shop-1")
    assert status == 204 and api(server, session, "GET", "/api/v1/servers/shop-1")[1]["state"] == "retired"
    count = "SELECT count(*) FROM vps_metrics WHERE vps_name = 'shop-1'"
    before = public.ask(count)
    sentence = "a retired or revoked server has no login"
    wait_for(lambda: sentence in server.said("host"), "the agent's log")
    doctor = server.run("obs_agent", "doctor", "--app", "host", check=False)
    assert doctor.returncode != 0 and sentence in doctor.stdout, doctor.stdout
    assert public.ask(count) == before
    assert "retired" in public.get("/servers/shop-1", session)[1]


STATE = ("/etc/observ/hub.conf", "/etc/nginx/sites-available/observ",
         "/etc/credstore/obs-agent.my-app.database_url", "/opt/deployments/my-app/config.yml")


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
    assert walk.ask("SELECT count(*) FROM pg_authid WHERE rolpassword IS NOT NULL "
                    "AND rolname IN ('fleet-hub', 'fleet-watch', 'observ-maintain')") == "0"
    assert walk.systemctl("is-active", "fleet-watch").stdout.strip() == "active"


def test_admin_commands_need_no_su(walk):
    assert "enrolled" in walk.shell("fleet_hub_admin servers").stdout


@pytest.mark.parametrize("prepare, command, sentence", [
    ("", "setup --server web-9 --port 8080 --app x/y", "an application's name has letters"),
    ("fleet_hub_admin enroll elsewhere", "setup --server elsewhere --app shop",
     "is enrolled already, and its login obs_elsewhere is not on this machine"),
    ("rm /etc/nginx/sites-enabled/observ; systemctl restart nginx", "setup --port 80",
     "port 80 of this machine is in use; choose another one: --port 90"),
    ("su postgres -c 'cd / && createdb other && psql -qd other -c \"CREATE TABLE wages (n int)\"'",
     "setup --database other", "database other holds something else already (public.wages)"),
    ("", "setup --databse x", "--databse is no option of setup"),
    ("", "setup --database", "--database needs a value"),
    ("export PGHOST=/nowhere", "setup", "PGHOST is set: give --url"),
    ("", "--url postgresql://nobody@localhost/observ_metrics setup", "no password supplied"),
    ("", "--url host=localhost setup", "must be postgresql://LOGIN@HOST/DATABASE"),
])
def test_setup_says_what_is_in_the_way(walk, prepare, command, sentence):
    done = walk.shell(f"{prepare or ':'}; fleet_hub_admin {command}", check=False, timeout=120)
    assert done.returncode in (1, 64) and sentence in done.stdout + done.stderr


def test_setup_as_somebody_says_who_may(walk):
    done = walk.run("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "fleet_hub_admin",
                    "setup", check=False)
    assert (done.returncode == 1
            and done.stderr == "fleet_hub_admin: run it as root, or give --url for a database elsewhere\n")


def test_setup_starts_what_is_stopped_and_enables_what_is_missing(walk):
    walk.systemctl("disable", "--now", "postgresql", "fleet-hub.socket", "observ-maintain.timer")
    said = walk.shell("fleet_hub_admin setup", timeout=120).stdout
    assert "PostgreSQL 15: started" in said and "the hub answers on this machine" in said
    assert (walk.systemctl("is-enabled", "postgresql", "fleet-hub.socket",
                           "observ-maintain.timer").stdout.split() == ["enabled"] * 3)
    assert walk.get("/")[0] == 200


def test_setup_after_a_purge_goes_on_where_it_was(walk):
    """A purge takes the programs' logins and configuration away, the database keeps the rows. The next
    setup gives this machine another password; one whose agent is writing keeps its own."""
    assert int(walk.ask("SELECT count(*) FROM vps_metrics WHERE app_name = 'my-app'")) > 0
    walk.shell("apt-get -q -y purge fleet-hub fleet-watch obs-agent && "
               "apt-get -q -y install ./build/deb/*.deb", timeout=240)
    assert not (walk.tree / "etc/observ/hub.conf").read_text().count("\ndatabase_url")
    before = int(walk.ask("SELECT count(*) FROM vps_metrics WHERE app_name = 'my-app'"))
    said = walk.shell("fleet_hub_admin setup --app my-app", timeout=120).stdout
    assert "new password, since this machine had none" in said
    assert "my-app: the first row is in the database" in said
    assert walk.get("/")[0] == 200 and "my-app" in walk.get("/")[1]
    assert int(walk.ask("SELECT count(*) FROM vps_metrics WHERE app_name = 'my-app'")) > before
    walk.shell("mv /etc/credstore/obs-agent.my-app.database_url /root/kept")
    done = walk.shell("fleet_hub_admin setup --app my-app", check=False, timeout=120)
    walk.shell("mv /root/kept /etc/credstore/obs-agent.my-app.database_url")
    assert done.returncode == 1 and "is enrolled already, and its login obs_" in done.stderr
    assert "Then run: fleet_hub_admin enroll " in done.stderr
    said = walk.shell("fleet_hub_admin setup --app my-app", timeout=120).stdout
    assert "the first row is in the database" in said


def install(walk, app, password, *more):
    (walk.tree / "root/password").write_text(password + "\n")
    server, role = walk.run("hostname").stdout.strip(), walk.ask("SELECT role FROM agent_roles "
                                                                 "ORDER BY enrolled_at LIMIT 1")
    return walk.run("sh", "/usr/share/observ/install.sh", "--server", server,
                    "--url", f"postgresql://{role}@localhost/observ_metrics",
                    "--app", app, "--password-file", "/root/password", *more, check=False, timeout=120)


def credential(app):
    return f"/etc/credstore/obs-agent.{app}.database_url"


def password(walk):
    return urllib.parse.unquote(re.search(r"//[^:]*:([^@]*)@",
                                          (walk.tree / credential("my-app")[1:]).read_text()).group(1))


def test_install_sh_takes_back_what_the_database_refused(walk):
    done = install(walk, "refused", "not the password")
    assert done.returncode == 1 and "refused: its agent was stopped and disabled again" in done.stderr
    assert "password authentication failed" in done.stderr
    assert walk.systemctl("is-enabled", "obs-agent@refused", check=False).stdout.strip() == "disabled"
    assert walk.systemctl("is-active", "obs-agent@refused", check=False).returncode != 0
    assert not (walk.tree / credential("refused")[1:]).exists()
    assert "the first row is in the database" in install(walk, "refused", password(walk)).stdout


def test_install_sh_keeps_no_second_copy_of_a_password(walk):
    """A configuration by hand that says itself where the database is needs no credential."""
    folder = walk.tree / "opt/deployments/by-hand"
    folder.mkdir()
    (folder / "config.yml").write_text("monitoring:\n  enabled: true\n  postgres_url: "
                                       + (walk.tree / credential("my-app")[1:]).read_text())
    done = install(walk, "by-hand", password(walk))
    assert (done.returncode == 0
            and "has a postgres_url of its own: the password is not kept for it" in done.stdout)
    assert "by-hand: the first row is in the database" in done.stdout
    assert not (walk.tree / credential("by-hand")[1:]).exists()


def test_install_sh_makes_a_log_folder_that_application_and_agent_can_use(walk):
    done = install(walk, "owned", password(walk), "--user", "games", "--group", "games")
    assert done.returncode == 0, done.stderr
    assert (walk.run("stat", "-c", "%U %G %a", "/opt/deployments/owned/logs").stdout.strip()
            == "games adm 2750")
    walk.run("setpriv", "--reuid=games", "--regid=games", "--clear-groups", "logcore",
             "--file", "/opt/deployments/owned/logs/app.log", "info", "Mine")
    wait_for(lambda: walk.ask("SELECT 1 FROM log_entries WHERE message = 'Mine' AND app_name = 'owned'"),
             "the line of another user")
    assert "games" in walk.systemctl("show", "-P", "SupplementaryGroups", "obs-agent@owned").stdout.split()
    for arguments, sentence in [(("--user", "nobody-here"), "there is no user nobody-here"),
                                (("--group", "none-here"), "there is no group none-here")]:
        assert sentence in install(walk, "owned", "x", *arguments).stderr
    walk.systemctl("disable", "--now", "obs-agent@refused", "obs-agent@by-hand", "obs-agent@owned")


def tear_down(walk):
    """By what fleet_hub_admin teardown prints; it prints, and does nothing itself."""
    walk.systemctl("stop", "obs-agent@my-app")
    statements = walk.shell("fleet_hub_admin teardown").stdout
    assert int(walk.ask("SELECT count(*) FROM vps_metrics")) > 0
    (walk.tree / "var/tmp/teardown.sql").write_text(statements)
    walk.run("su", "postgres",
             "-c", "cd / && psql -XAtqv ON_ERROR_STOP=1 -d postgres -f /var/tmp/teardown.sql")


def test_teardown_prints_what_takes_all_away(walk):
    """And nothing of Observ is left in the server."""
    tear_down(walk)
    assert walk.ask("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'", "postgres") == "postgres"


def test_setup_of_a_database_elsewhere_gives_logins_passwords(walk):
    """By a login that is no superuser, over TCP. Only root may read the passwords, and a second run keeps
    them."""
    if walk.ask("SELECT 1 FROM pg_database WHERE datname = 'observ_metrics'", "postgres"):
        tear_down(walk)
    walk.ask("CREATE ROLE boss LOGIN CREATEDB CREATEROLE PASSWORD 'boss'", "postgres")
    walk.shell("rm /etc/observ/hub.conf; rm -r /etc/credstore/obs-agent.* /opt/deployments/*; systemctl "
               "disable --now 'obs-agent@*'")
    setup = "PGPASSWORD=boss fleet_hub_admin --url postgresql://boss@localhost/far setup --app my-app"
    said = walk.shell(setup, timeout=120).stdout
    assert ("database far: made" in said and "login fleet-hub: made" in said
            and "my-app: the first row is in the database" in said)
    assert walk.get("/", database="far")[0] == 200 and "my-app" in walk.get("/", database="far")[1]
    secrets = ("/etc/observ/hub.conf", "/etc/credstore/observ-maintain.pgpass")
    assert walk.run("stat", "-c", "%a %U", *secrets).stdout.split() == ["600", "root"] * 2
    assert "postgresql://fleet-hub:" in walk.run("cat", secrets[0]).stdout
    assert int(walk.ask("SELECT count(*) FROM job_runs", "far")) > 0
    before = walk.run("cat", *secrets).stdout
    again = walk.shell(setup, timeout=120).stdout
    assert "made" not in again and walk.run("cat", *secrets).stdout == before
    assert walk.get("/", database="far")[0] == 200
    walk.shell("rm /etc/observ/hub.conf")
    lost = walk.shell(setup, check=False)
    assert (lost.returncode == 1 and "the login fleet-hub exists already and /etc/observ/hub.conf has not "
                                     "its password" in lost.stderr)
    walk.shell("rm /etc/observ/maintain.env /etc/credstore/*")


def test_setup_makes_the_first_cluster_where_there_is_none(walk):
    """As on a machine whose PostgreSQL came with another program that told Debian to make none."""
    walk.shell("pg_dropcluster 15 main --stop && rm -rf /etc/observ/hub.conf /etc/credstore/obs-agent.* "
               "/opt/deployments/my-app", timeout=60)
    said = walk.shell("fleet_hub_admin setup --app my-app --server again", timeout=120).stdout
    assert "makes its first cluster" in said and "my-app: the first row is in the database" in said
    assert walk.get("/")[0] == 200


def test_setup_under_lighttpd(walk):
    walk.shell("apt-get -q -y purge nginx 'nginx-*' && apt-get -q -y --install-recommends install lighttpd",
               timeout=120)
    said = walk.shell("fleet_hub_admin setup", timeout=120).stdout
    assert "lighttpd: the hub answers on this machine at http://localhost:8080/" in said
    assert walk.get("/")[0] == 200 and "my-app" in walk.get("/")[1]


@pytest.fixture(scope="module")
def lighttpd(walk):
    """The hub under lighttpd, for other machines, too; lighttpd.published is what setup said."""
    if NAME not in (walk.tree / "etc/hosts").read_text():
        (walk.tree / "etc/hosts").open("a").write(f"127.0.0.1 {NAME}\n")
    walk.shell(block("own CA", "sh", OPERATING))
    walk.published = walk.shell(
        f"fleet_hub_admin setup --public {NAME} --certificate hub.crt --key hub.key", timeout=120).stdout
    return walk


def over_tls(machine, request, head="", body=""):
    """What the web server answers to these bytes; lines end as HTTP wants it."""
    sent = f"{request} HTTP/1.1\nHost: {NAME}\nConnection: close\n{head}\n".replace("\n", "\r\n") + body
    (machine.tree / "root/request").write_text(sent)
    return machine.shell(f"openssl s_client -quiet -verify_return_error -CAfile ca.crt -connect {NAME}:443 "
                         "< /root/request 2>/dev/null", check=False).stdout


def test_setup_public_under_lighttpd(lighttpd):
    assert f"lighttpd: the hub answers other machines at https://{NAME}/" in lighttpd.published
    page = over_tls(lighttpd, "GET /sign-in")
    assert page.startswith("HTTP/1.1 200") and "Strict-Transport-Security: max-age=31536000" in page, page
    wanted = json.dumps({"email": "walker@example.com", "password": WALKER})
    lighttpd.get("/")                       # makes the admin
    session = over_tls(lighttpd, "POST /api/v1/auth/login", f"Content-Type: application/json\n"
                       f"Content-Length: {len(wanted)}\n", wanted)
    assert session.startswith("HTTP/1.1 200") and "access_token" in session, session
    assert "Observ" not in lighttpd.shell("exec 3<> /dev/tcp/127.0.0.1/80; printf 'GET /sign-in HTTP/1.0\r\n"
                                          f"Host: {NAME}\r\n\r\n' >&3; cat <&3").stdout
    again = lighttpd.shell("fleet_hub_admin setup", timeout=120).stdout
    assert "lighttpd: has a site for the hub already" in again


def test_lighttpd_with_tls_lets_no_attack_through(lighttpd):
    inner = "GET /api/v1/users HTTP/1.1\r\nHost: x\r\n\r\n"
    for head in (f"Content-Length: 0\nContent-Length: {len(inner)}\n",
                 f"Content-Length: {len(inner)}\nTransfer-Encoding: chunked\n",
                 "Transfer-Encoding: xchunked\n", "Content-Length: -1\n", "Content-Length: 0x10\n"):
        got = over_tls(lighttpd, "POST /api/v1/auth/login", "Content-Type: application/json\n" + head, inner)
        assert got.count("HTTP/1.1 ") <= 1 and not got.startswith("HTTP/1.1 2"), (head, got)
    large = over_tls(lighttpd, "POST /api/v1/ingest", "Authorization: Bearer x\nContent-Type: "
                     "application/json\nContent-Length: 104857600\n", "x")
    assert large.startswith("HTTP/1.1 413"), large
    for path in ("/users", "//users", "/static/%2e%2e/users", "/fleet_hub/users"):
        for header in ("", "X-Forwarded-For: 127.0.0.1\n", "X-Forwarded-Proto: http\n", "Remote-User: a\n",
                       "HTTPS: off\n", "Proxy: http://evil.example\n"):
            got = over_tls(lighttpd, f"GET {path}", header)
            assert got.split()[1] in ("303", "401", "403", "404"), (path, header, got)
            assert "evil.example" not in got and "walker@example.com" not in got


def test_purged_hub_takes_its_site_along(walk):
    walk.run("apt-get", "-q", "-y", "purge", "fleet-hub", "fleet-watch", "obs-agent", timeout=120)
    assert not [p for p in ("etc/lighttpd/conf-enabled/60-observ.conf",
                            "etc/lighttpd/conf-available/60-observ.conf",
                            "etc/nginx/sites-enabled/observ", "etc/nginx/sites-available/observ",
                            "etc/observ", "run/observ")
                if (walk.tree / p).is_symlink() or (walk.tree / p).exists()]
    assert "active" in walk.systemctl("is-active", "lighttpd", "nginx", check=False).stdout.split()
    assert walk.run("systemctl", "--failed", "--plain", "--no-legend").stdout == ""


def test_setup_without_postgresql_says_what_to_install(walk):
    walk.shell("apt-get -q -y install ./build/deb/fleet-hub_*.deb && apt-get -q -y purge postgresql-15 "
               "postgresql", timeout=120)
    done = walk.shell("fleet_hub_admin setup", check=False)
    assert (done.returncode == 1
            and "PostgreSQL is not installed on this machine; run: apt-get install postgresql" in done.stderr)
