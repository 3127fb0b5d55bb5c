"""Values of credentials and variables, and user info in URLs, never leave the agent."""
import json
import re
from pathlib import Path

import pytest
from harness import run, wait_for
from hub_server import Hub

CREDENTIAL = "s3cr3t/cr3d +%41"
ENVIRONMENT = {"VARIABLE": "v4ri4ble", "HOOK": "http://hookuser:h00kpass@127.0.0.1:9/h00kpath",
               "HEADER": "h34der"}
SECRETS = ["s3cr3t", "cr3d", *(v for v in ENVIRONMENT.values() if "/" not in v), "hookuser", "h00kpass",
           "h00kpath", "us3r", "p4ss", "l1teral"]
TOLD = re.compile("|".join(SECRETS), re.I)


@pytest.fixture
def environment(tmp_path):
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "tok").write_text(CREDENTIAL + "\n")
    (folder / "host").write_text("s3cr3t-cr3d\n")
    return {"CREDENTIALS_DIRECTORY": str(folder), **ENVIRONMENT}


def checks(port):
    """URLs with secrets in each place, and their shown form. Each check fails, so that there is a message."""
    here = f"http://127.0.0.1:{port}"
    rows = {
        f"{here}/status/503?token=${{CRED:tok}}": f"{here}/status/503?token=***",
        f"{here}/status/503?q=${{VARIABLE}}": f"{here}/status/503?q=***",
        f"{here}/status/503?api_key=l1teral": f"{here}/status/503?api_key=***",
        f"{here}/status/503#${{VARIABLE}}": f"{here}/status/503#***",
        f"http://us3r:p4ss@127.0.0.1:{port}/status/503": f"http://***@127.0.0.1:{port}/status/503",
        "${HOOK}/x": "***/x",
        "http://${VARIABLE}.invalid/": "http://***.invalid/",
        f"{here}/to_name?${{CRED:host}}.invalid": f"{here}/to_name?***.invalid",
        f"{here}/to_name?%76${{VARIABLE}}.invalid": f"{here}/to_name?%76***.invalid",
        f"{here}/to_name?h34der.invalid": f"{here}/to_name?h34der.invalid",
    }
    asked = [{"url": url, "retries": 0, "max_redirects": 2} for url in rows]
    asked[-1]["headers"] = {"X-Any": "${HEADER}"}
    return asked, sorted(rows.values())


def told(text):
    """The secrets in it, except the one that is in clear in a URL of the file."""
    return TOLD.findall(text.replace("to_name?h34der", ""))


def test_no_secret_leaves_by_a_row_or_a_page(db, make_agent, bad, environment, tmp_path):
    asked, shown = checks(bad["http"])
    agent = make_agent(db, environment=environment, health_checks=asked)
    done = agent.run("--once", timeout=120)
    assert done.returncode == 0, done.stderr
    assert [url for url, in db.query("SELECT url FROM health_checks ORDER BY url COLLATE \"C\"")] == shown
    messages = dict(db.query("SELECT url, error_message FROM health_checks"))
    assert messages["http://***.invalid/"].startswith("Could not resolve host: ***.invalid")
    assert messages[f"http://127.0.0.1:{bad['http']}/to_name?***.invalid"].startswith("Could not resolve "
                                                                                      "host: ***.invalid")
    assert all(messages.values()) and not told(done.stdout + done.stderr)
    dump = run("pg_dump", "-a", "--inserts", db.url("postgres"))
    assert "/status/503" in dump and not told(dump)
    hub = Hub(tmp_path, db.url("postgres")).start()
    try:
        for path in ("/", "/servers/test"):
            for form in ("", "?format=json", "?format=csv"):
                assert not told(hub.get(path + form).text), path + form
        assert "token=***" in hub.get("/servers/test?format=json").text
    finally:
        hub.stop()


def test_no_secret_leaves_by_a_command_or_the_log(db, make_agent, bad, environment):
    asked, shown = checks(bad["http"])
    url = db.url() + " application_name=${VARIABLE}"
    agent = make_agent(db, environment=environment, health_checks=asked, postgres_url=url, log_level="debug")
    said = [agent.run(*option, timeout=120)
            for option in (["--check-config"], ["--print-config"], ["--once", "--dry-run"], ["doctor"])]
    assert all(s in said[1].stdout for s in shown) and "application_name=***" in said[1].stdout
    agent.start()
    db.wait("SELECT count(*) >= %s FROM health_checks", len(asked))
    said.append(agent.run("status"))
    agent.stop()
    for done in said:
        assert done.stdout and not told(done.stdout + done.stderr), done.args
    assert agent.said() and not told(agent.said())


def test_no_secret_is_in_the_outbox(make_agent, bad, environment, short_dir):
    asked, shown = checks(bad["http"])
    agent = make_agent(None, environment=environment, health_checks=asked,
                       postgres_url=f"host={short_dir} password=p4ss")
    agent.start()
    kept = wait_for(lambda: {path: text for path in (agent.folder / "state").rglob("*") if path.is_file()
                             for text in [path.read_bytes().decode(errors="replace")]
                             if all(json.dumps(s)[1:-1] in text for s in shown)},
                    "all checks in the outbox")
    agent.stop()
    assert kept and not told("".join(kept.values())) and not told(agent.said())


@pytest.mark.parametrize("first, second", [
    ("http://127.0.0.1/?q=${CRED:tok}", "http://127.0.0.1/?q=${VARIABLE}"),
    ("http://us3r@127.0.0.1/", "http://other:p4ss@127.0.0.1/"),
    ("${HOOK}/", "${VARIABLE}/"),
])
def test_checks_that_differ_in_a_secret_are_told_apart_by_a_name(make_agent, environment, first, second):
    if second == "${VARIABLE}/":
        environment = {**environment, "VARIABLE": "http://v4ri4ble"}
    same = make_agent(None, environment=environment, enabled=False,
                      health_checks=[first, second]).run("--check-config")
    assert (same.returncode == 78
            and "differ only in what is shown as ***; tell them apart by a #name" in same.stderr)
    named = make_agent(None, environment=environment, enabled=False,
                       health_checks=[first + "#a", second + "#b"]).run("--print-config")
    assert named.returncode == 0, named.stderr
    assert not told(same.stdout + same.stderr + named.stdout + named.stderr)
    assert "***" in named.stdout and "#a" in named.stdout and "#b" in named.stdout


def test_another_secret_continues_the_same_check(db, make_agent, bad, environment):
    """A rotated credential makes no new check: its schedule and its row continue."""
    agent = make_agent(db,
                       environment=environment,
                       health_checks=[{"url": f"http://127.0.0.1:{bad['http']}/ok?q=${{CRED:tok}}",
                                       "interval": 1}])
    agent.start()
    db.wait("SELECT count(*) > 0 FROM health_checks")
    (Path(environment["CREDENTIALS_DIRECTORY"]) / "tok").write_text("an0ther")
    agent.reload()
    agent.wait_said("reload")
    now = db.one("SELECT now()")
    db.wait("SELECT count(*) > 1 FROM health_checks WHERE timestamp > %s", now)
    agent.stop()
    assert (db.query("SELECT DISTINCT url, success FROM health_checks")
            == [(f"http://127.0.0.1:{bad['http']}/ok?q=***", True)])
