"""A new user's logs on the log page: nginx, PostgreSQL, a Java service, a container, a Python service."""
import base64
import json
import shutil
from collections import Counter
from datetime import datetime

import pytest
import screenshots
from harness import BUILD, TOP, Agent
from hub_server import Hub

CORPUS = TOP / "tests/corpus"
FILES = ["nginx-access.log", "nginx-error.log", "postgres-csv.log", "logback-spring.log", "shape-cri.log",
         "python-asctime.log"]
RECORDS = json.loads((CORPUS / "expected.json").read_text(encoding="utf-8"))
EXPECTED = [record for file in FILES for record in RECORDS[file]]
RANGE = {"from": "2026-11-29", "to": "2026-12-02"}


@pytest.fixture(scope="module")
def loggers(cluster, fleet, tmp_path_factory):
    """A hub over a database that an agent filled from these files, with no line of configuration for them."""
    folder = tmp_path_factory.mktemp("loggers")
    (folder / "logs").mkdir()
    for name in ("run", "hub"):
        (folder / name).mkdir()
    for file in FILES:
        shutil.copy(CORPUS / "logs" / file, folder / "logs")
    db = cluster.new_database()
    monitoring = {"enabled": True, "postgres_url": db.url(), "vps_name": "web-1",
                  "log_files": [f"{folder}/logs/*.log"]}
    agent = Agent(folder, folder / "run", "newcomer", monitoring, {"TZ": "Asia/Kolkata"})
    agent.start()
    db.wait("SELECT count(*) >= %s FROM log_entries", len(EXPECTED))
    assert agent.stop() == 0
    hub = Hub(folder / "hub", db.url("hub"), "fastcgi").start()
    yield hub
    hub.stop()
    db.drop()


@pytest.fixture
def page(browser, loggers):
    before, browser.hub = browser.hub, loggers
    yield browser
    browser.hub = before


def test_levels_and_times_of_each_are_on_the_page(page):
    page.look()
    page.open("/logs", **RANGE)
    rows = page.js("""return [...document.querySelectorAll('tr.row')].map((r) =>
        [r.querySelector('.at').textContent, r.querySelector('.lv').textContent])""")
    assert len(rows) == len(EXPECTED)
    shown = Counter((at[:14], level) for at, level in rows)
    for record in sorted(EXPECTED, key=lambda r: r["level"] is None):       # those that say no level have any
        if not record["time"]:
            continue
        at = datetime.fromisoformat(record["time"].rstrip("Z")).strftime("%m-%d %H:%M:%S")
        levels = record["level"].split("/") if record["level"] else [level for a, level in shown if a == at]
        found = next(((at, level) for level in levels if shown[at, level] > 0), None)
        assert found, (record, rows)
        shown[found] -= 1
    assert "_prefix" not in page.js("return document.body.textContent")


@pytest.mark.parametrize("theme", screenshots.THEMES)
@pytest.mark.parametrize("width", screenshots.WIDTHS)
def test_the_page_fits(page, width, theme):
    page.look(width, theme)
    page.open("/logs", **RANGE)
    inner, scroll = page.js("return [innerWidth, document.documentElement.scrollWidth]")
    assert inner == width and scroll <= width
    folder = BUILD / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"logs-loggers-{width}-{theme}.png"
    file.write_bytes(base64.b64decode(page.cdp("Page.captureScreenshot", format="png")["data"]))
    assert file.stat().st_size > 10000
