"""fleet_hub_admin enrolls servers, changes their logins and removes them; mistakes and refusals are one
sentence."""
import re
import socket
import subprocess
from pathlib import Path

import psycopg2
import pytest
from harness import BUILD


@pytest.fixture
def admin(db):
    """As a role that may only enroll."""
    db.query("DROP ROLE IF EXISTS somebody")
    db.query("CREATE ROLE somebody LOGIN IN ROLE observ_enroll")

    def run(*arguments, user="somebody", url=None):
        return subprocess.run([BUILD / "fleet_hub/fleet_hub_admin", "--url", url or db.url(user), *arguments],
                              capture_output=True, text=True, timeout=60)
    yield run
    db.query("DROP ROLE somebody")


def enroll(db, role, password, server):
    """The enrolment of a server with a token."""
    return subprocess.run([BUILD / "obs_agent/obs_agent", "enroll", "--server", server,
                           "--url", db.url(role)], input=password + "\n",
                          capture_output=True, text=True, timeout=60)


def said(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_server_is_enrolled_rotated_and_revoked(db, admin):
    assert "No server is enrolled yet" in said(admin("servers"))
    text = said(admin("enroll", "web & 1"))
    role = db.one("SELECT role FROM agent_roles WHERE vps_name = 'web & 1'")
    assert (f"web & 1 writes as {role}." in text
            and f"postgresql://{role}:${{CRED:password}}@DATABASE-HOST/{db.name}" in text)
    assert f"install.sh --server 'web & 1' --url postgresql://{role}@DATABASE-HOST/{db.name} --app" in text
    password = text.split("\n\n")[1].strip()
    with psycopg2.connect(db.url(role), password=password) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT epoch FROM observ.agent_hello('web & 1', 'shop', 1, NULL, '0', 60, now())")
        assert cursor.fetchone()[0] > 0
    connection.close()
    assert "stays valid for 3 days" in said(admin("rotate", "web & 1", "3"))
    assert "rotating" in said(admin("servers"))
    assert f"{role} was taken away." in said(admin("finish", "web & 1"))
    assert "web & 1 is retired" in said(admin("retire", "web & 1"))
    assert "retired" in said(admin("servers"))
    nobody = admin("revoke", "web & 1")
    assert (nobody.returncode == 1
            and "had no login to take away; fleet_hub_admin servers lists" in nobody.stdout)
    assert admin("finish", "nobody").returncode == admin("untoken", "nobody").returncode == 1


def test_tokens_of_servers_are_listed_replaced_and_ended(db, admin):
    assert "No server has a token" in admin("tokens").stdout
    db.query("INSERT INTO servers (vps_name, created_by) VALUES ('web-1', 'test')")
    tokens = []
    for arguments, days in ((), 7), (("3",), 3):
        done = admin("server-token", "web-1", *arguments)
        tokens += re.findall(r"obs_server_[\w-]{43}", done.stdout)
        assert done.returncode == 0 and f"for {days} days more" in done.stdout
    assert len(set(tokens)) == 2
    assert db.query("""SELECT round(extract(epoch FROM valid_until - now()) / 86400)::int FROM server_tokens
        WHERE valid_until < 'infinity'""") == [(3,)], "the first one"
    admin("token", "5", "2")
    listed = admin("tokens").stdout
    assert listed.count("web-1") == 2 and listed.count("valid until") == 2 and "used 0 of 5" in listed
    assert "by shell: " in listed and not any(token in listed for token in tokens)
    assert "2 token(s) of web-1 ended" in admin("end-server-tokens", "web-1").stdout
    assert db.count("server_tokens") == 0
    nothing = admin("end-server-tokens", "web-1")
    assert nothing.returncode == 1 and "has no token" in nothing.stdout
    unknown = admin("server-token", "nobody")
    assert unknown.returncode == 1 and 'no server "nobody"' in unknown.stderr


def test_a_token_enrolls_once_and_expires(db, admin):
    text = said(admin("token", "2", "1"))
    assert "Good for 2 server(s) within 1 hours." in text
    role = db.one("SELECT role FROM bootstrap_tokens")
    assert f"install.sh --token --server NAME --url postgresql://{role}@DATABASE-HOST/{db.name}" in text
    made = enroll(db, role, text.split("\n\n")[1].strip(), "it's new")
    assert made.returncode == 0, made.stderr
    assert db.one("SELECT vps_name FROM agent_roles WHERE role = %s", made.stdout.split(":")[0]) == "it's new"
    again = enroll(db, role, text.split("\n\n")[1].strip(), "it's new")
    assert (again.returncode == 69
            and "is known already, and a token is for new ones. Give this one another name" in again.stderr)
    assert r"install.sh --server 'it'\''s new' --url" in said(admin("enroll", "it's new"))
    assert "the password before this one is void" in said(admin("enroll", "it's new"))
    assert "void" not in said(admin("enroll", "it's newer"))
    assert f"{role} was taken away." in said(admin("untoken", role))
    assert db.count("bootstrap_tokens") == 0
    ended = enroll(db, role, "any", "web-9")
    assert (ended.returncode == 69 and f'role "{role}" does not exist' in ended.stderr
            and len(ended.stderr.splitlines()) == 1)


@pytest.mark.parametrize("arguments, status, sentence", [
    ((), 64, "which command?"),
    (("enrol", "web-1"), 64, "no such command: enrol"),
    (("enroll",), 64, "usage: fleet_hub_admin [--url URL] enroll SERVER"),
    (("servers", "web-1"), 64, "usage: fleet_hub_admin [--url URL] servers"),
    (("enroll", "web-1", "--url", "x"), 64, "usage: fleet_hub_admin [--url URL] enroll SERVER"),
    (("enroll", ""), 1, "vps_name must have 1 to 128 bytes"),
    (("enroll", "--app"), 64, "usage: fleet_hub_admin [--url URL] enroll SERVER"),
    (("rotate", "web-1"), 1, 'server "web-1" is not enrolled'),
    (("rotate", "web-1", "7d"), 64, "7d is not a whole number from 1 on; usage: fleet_hub_admin [--url URL] "
                                    "rotate SERVER [DAYS]"),
    (("token", "many"), 64, "many is not a whole number from 1 on"),
    (("token", "1", "0"), 64, "0 is not a whole number from 1 on"),
    (("token", "99999"), 1, "a token has 1 to 10000 uses"),
    (("setup", "--ap", "shop"), 64, "--ap is no option of setup; fleet_hub_admin --help lists them"),
    (("setup", "--app"), 64, "--app needs a value"),
    (("setup", "--app", "my app"), 64, "--app my app: an application's name has letters"),
    (("setup", "--port", "99999"), 64, "--port 99999: a port is a number from 1 to 65535"),
])
def test_mistakes_are_one_sentence(admin, arguments, status, sentence):
    done = admin(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert sentence in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments",
                         [("--help",), ("setup", "--help"), ("enroll", "--help"), ("enroll", "web-1", "-h")])
def test_help_is_given_behind_any_command_and_changes_nothing(db, admin, arguments):
    assert "make or upgrade the database" in said(admin(*arguments))
    assert db.count("agent_roles") == 0


PROGRAMS = {"obs_agent": "obs_agent/obs_agent", "fleet_hub": "fleet_hub/fleet_hub",
            "fleet_hub_admin": "fleet_hub/fleet_hub_admin", "logcore": "logcore/logcore"}


def start(program, *arguments):
    return subprocess.run([BUILD / PROGRAMS[program], *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_has_a_version_and_a_help(name):
    def out(option):
        return said(start(name, option))
    assert out("--version").split() == [name, said(start("obs_agent", "--version")).split()[1]]
    assert name in out("--help") and out("-h") == out("--help") and "--version" in out("--help")


@pytest.mark.parametrize("program, arguments, meant", [
    ("obs_agent", ["doktor", "--app", "shop"], "doctor"),
    ("obs_agent", ["statsu", "--app", "shop"], "status"),
    ("obs_agent", ["help"], "--help"), ("obs_agent", ["--app", "shop", "--chek-config"], "--check-config"),
    ("obs_agent", ["--verison"], "--version"), ("obs_agent", ["--confg=/x"], "--config"),
    ("fleet_hub_admin", ["enrol", "web-1"], "enroll"), ("fleet_hub_admin", ["server"], "servers"),
    ("fleet_hub_admin", ["version"], "--version"), ("fleet_hub_admin", ["--ulr", "x", "servers"], "--url"),
    ("fleet_hub_admin", ["setup", "--databse", "x"], "--database"),
    ("fleet_hub_admin", ["setup", "--databas-only"], "--database-only"),
    ("fleet_hub", ["--hepl"], "--help"), ("fleet_hub", ["version"], "--version"),
])
def test_a_typo_is_told_what_it_may_mean(program, arguments, meant):
    done = start(program, *arguments)
    assert done.returncode in (2, 64) and done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert f"did you mean {meant}?" in done.stderr and f"{program} --help" in done.stderr


def shown_arguments(pid):
    """As `ps` shows them to every user."""
    return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()


@pytest.mark.parametrize("program, front, behind", [
    ("fleet_hub_admin", ["--url", "{}"], ["servers"]), ("fleet_hub_admin", ["--url={}"], ["servers"]),
    ("obs_agent", ["enroll", "--server", "a", "--url", "{}"], []),
    ("obs_agent", ["enroll", "--url={}", "--server", "a"], []),
])
@pytest.mark.parametrize("url", ["postgresql://me:PaSsWoRd@127.0.0.1:{}/x",
                                 "host=127.0.0.1 port={} user=me password=PaSsWoRd"])
def test_a_password_in_the_url_is_hidden_from_other_users(program, front, behind, url):
    """While the program waits for a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        given = url.format(server.getsockname()[1])
        command = [BUILD / PROGRAMS[program], *(a.format(given) for a in front), *behind]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            if program == "obs_agent":
                process.stdin.write(b"token\n")
            process.stdin.close()
            peer = server.accept()[0]           # so the URL was used, password and all
            arguments = shown_arguments(process.pid)
            peer.close()
            process.kill()
    assert "PaSsWoRd" not in arguments and "***" in arguments and "127.0.0.1" in arguments


@pytest.mark.parametrize("program, arguments", [
    ("fleet_hub_admin", ["postgresql://me:PaSsWoRd@h/d", "servers"]),
    ("fleet_hub_admin", ["--ulr=postgresql://me:PaSsWoRd@h/d", "servers"]),
    ("fleet_hub_admin", ["setup", "--ulr=postgresql://me:PaSsWoRd@h/d"]),
    ("obs_agent", ["enroll", "postgresql://me:PaSsWoRd@h/d"]),
    ("obs_agent", ["enroll", "--ulr=postgresql://me:PaSsWoRd@h/d"]),
])
def test_a_url_in_the_wrong_place_is_named_without_its_password(program, arguments):
    done = start(program, *arguments)
    assert done.returncode in (2, 64) and "PaSsWoRd" not in done.stderr and len(done.stderr.splitlines()) == 1


def test_obstacles_are_named_with_their_fix(db, admin):
    assert "GRANT observ_enroll" in admin("enroll", "web-1", user="agents").stderr
    assert "no connection string" in admin("servers", url="nonsense://").stderr
    assert "give --url" in admin("servers", url="host=/nowhere").stderr
    assert "run: fleet_hub_admin setup" in admin("servers", url=db.cluster.url("postgres")).stderr
    assert db.count("agent_roles") == 0


@pytest.mark.parametrize("arguments, given, sentence", [
    (("enroll",), "x\n", "enroll needs --server NAME and --url URL"),
    (("enroll", "--server", "a", "--url", "postgresql://t@/d"), "", "no password on standard input"),
    (("--server", "a", "--app", "shop"), "", "--server and --url belong to obs_agent enroll"),
    (("enrol", "--server", "a"), "", "unknown command enrol"),
    (("--app",), "", "--app needs a value"),
    (("--ap=shop", "--chek-config"), "", "--chek-config is not an option"),
    (("--once=2", "--app", "shop"), "", "--once=2 is not an option"),
    (("-x", "--app", "shop"), "", "-x is not an option"),
])
def test_mistakes_with_the_agents_command_line_are_one_sentence(arguments, given, sentence):
    done = subprocess.run([BUILD / "obs_agent/obs_agent", *arguments], input=given, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 2 and sentence in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), ("doctor", "--help"), ("--help", "doctor"),
                                       ("enroll", "-h", "--app")])
def test_the_agent_gives_help_wherever_it_is_asked(arguments):
    done = subprocess.run([BUILD / "obs_agent/obs_agent", *arguments], capture_output=True, text=True,
                          timeout=60)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("Usage: obs_agent --app NAME")
