"""The pages by the tools of others: axe (WCAG 2.2 AA and best practice), vnu and html-validate.

The tools are not part of the project. These tests run where OBSERV_PAGE_TOOLS, or build/page-tools, has
node_modules with axe-core, vnu-jar and html-validate; see CONTRIBUTING.md.
"""
import json
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlencode

import pytest

import screenshots
import seed_alerts
from harness import BUILD
from people import PASSWORD, Visitor, admin

TOOLS = Path(os.environ.get("OBSERV_PAGE_TOOLS", BUILD / "page-tools")) / "node_modules"
AXE = TOOLS / "axe-core/axe.min.js"
VNU = TOOLS / "vnu-jar/build/dist/vnu.jar"
HTML_VALIDATE = TOOLS / "html-validate/bin/html-validate.mjs"
EMAIL = "standards@example.com"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


EDITED = [
    # table, key, page, which row
    ("channels", "channel_id", "/channels", "WHERE kind = 'webhook'"),
    ("silences", "silence_id", "/silences", "WHERE ends_at > now()"),
    ("alert_routes", "route_id", "/routing", "WHERE parent_id IS NOT NULL"),
    ("inhibitions", "inhibition_id", "/routing", ""), ("quiet_windows", "window_id", "/routing", ""),
    ("heartbeats", "heartbeat_id", "/heartbeats", ""),
]


def needs(file, program=None):
    missing = not file.exists() or program and not shutil.which(program)
    return pytest.mark.skipif(missing, reason=f"{file} is not there, see CONTRIBUTING.md")


@pytest.fixture(scope="module")
def pages(fleet):
    """Every page with data: name -> (path, query)."""
    admin(fleet, "create-user", EMAIL, "admin")
    user = fleet.one("SELECT user_id::text FROM users WHERE email = %s", EMAIL)
    id_, at, stream, offset = fleet.query("""SELECT id, to_json(timestamp) #>> '{}', stream_id, stream_offset
        FROM log_entries WHERE vps_name = 'fra-1' AND app_name = 'shop' AND context IS NOT NULL
        ORDER BY timestamp DESC LIMIT 1""")[0]
    seed_alerts.seed(fleet)
    alert = fleet.one("SELECT alert_id::text FROM alerts WHERE state = 'firing' AND severity = 'critical'")
    rule = fleet.one("SELECT rule_id::text FROM alert_rules WHERE name = 'Test: CPU busy'")
    place = {"vps": "fra-1", "app": "shop", "stream": stream, "offset": offset, "at": at}
    yield screenshots.PAGES | {
        "logs-from": ("/logs", {"from": at, "q": "app:shop level>=info"}),
        "logs-no-counts": ("/logs", {"counts": "no"}), "logs-error": ("/logs", {"columns": "colour"}),
        "line": ("/logs/line", {"id": id_, "at": at}), "around": ("/logs/around", place),
        "fleet-one": ("/", {"q": "fra-1"}), "fleet-none": ("/", {"q": "nothing-like-this"}),
        "fleet-wall": ("/", {"view": "wall"}),
        "sign-in": ("/sign-in", {}), "account": ("/account", {}), "users": ("/users", {}),
        "searches": ("/logs/saved", {}), "user": (f"/users/{user}", {}), "audit": ("/audit", {}),
        "servers": ("/servers", {}),
        "alerts": ("/alerts", {}), "alerts-ended": ("/alerts", {"state": "resolved"}),
        "alerts-none": ("/alerts", {"q": "nothing-like-this"}), "alert": (f"/alerts/{alert}", {}),
        "rules": ("/alert-rules", {}), "rule": (f"/alert-rules/{rule}", {"preview": "1"}),
        "rule-new": ("/alert-rules/new", {"kind": "check"}), "silences": ("/silences", {}),
        "heartbeats": ("/heartbeats", {}), "routing": ("/routing", {}),
        "channels": ("/channels", {"kind": "mail"}), "manage": ("/manage/fra-1", {}), "api": ("/api", {}),
        **{f"{table}-edit": (path, {"edit": fleet.one(f"SELECT {key}::text FROM {table} {which} LIMIT 1")})
           for table, key, path, which in EDITED}}
    admin(fleet, "delete-user", EMAIL)


def sign_in(browser):
    browser.open("/sign-in")
    for name, value in (("username", EMAIL), ("password", PASSWORD)):
        browser.js("document.getElementById(arguments[0]).value = arguments[1]", name, value)
    browser.js("document.querySelector('main form').submit()")
    browser.wait("location.pathname != '/sign-in' && document.readyState == 'complete'", "signed in")


@needs(AXE)
@pytest.mark.parametrize("theme", screenshots.THEMES)
@pytest.mark.parametrize("width", screenshots.WIDTHS)
def test_axe_finds_nothing(browser, pages, width, theme):
    browser.look(width, theme)
    sign_in(browser)
    found = {}
    for name, (path, query) in pages.items():
        browser.open(path, **query)
        browser.drawn()
        browser.js("document.querySelectorAll('.msg > details, .facets, details.facet, .menu').forEach("
                   "(d, i) => { d.open = d.matches('.facets, .facet') || i < 12 && d.matches('.msg *'); })")
        browser.js(AXE.read_text())
        violations = browser.driver.execute_async_script(
            "const done = arguments[1]; axe.run({ runOnly: arguments[0], resultTypes: ['violations'] })"
            ".then((r) => done(r.violations));", TAGS)
        found |= {f"{name}: {v['id']}": [len(v["nodes"]), *(n["html"][:150] for n in v["nodes"][:3])]
                  for v in violations}
    assert not found, json.dumps(found, indent=1)


@pytest.fixture(scope="module")
def files(pages, hub, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    visitor = Visitor(hub)
    visitor.get("/sign-in")
    visitor.sign_in(EMAIL)
    for name, (path, query) in pages.items():
        answer = visitor.get(path + "?" + urlencode(query))
        assert answer.status == {"error": 404, "logs-error": 400}.get(name, 200), (name, answer.text)
        (folder / f"{name}.html").write_bytes(answer.body)
    return sorted(folder.glob("*.html"))


@needs(VNU, "java")
def test_vnu_has_no_message(files):
    """Lines of logs are in any language, so that of a page is not guessed."""
    said = subprocess.run(["java", "-jar", VNU, "--no-langdetect", "--format", "json", "--stdout", *files],
                          stdout=subprocess.PIPE, timeout=300, check=False).stdout
    messages = json.loads(said)["messages"]
    assert [(Path(m["url"]).name, m.get("lastLine"), m["message"], m.get("extract", "")[:200])
            for m in messages] == []


@needs(HTML_VALIDATE, "node")
def test_html_validate_has_no_message(files):
    said = files[0].parent / "messages.json"
    subprocess.run(["node", HTML_VALIDATE, "--formatter", f"json={said}", *files], timeout=300, check=False)
    assert [(Path(r["filePath"]).name, m["line"], m["ruleId"], m["message"])
            for r in json.loads(said.read_text()) for m in r["messages"]] == []
