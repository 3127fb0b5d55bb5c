"""A fleet, the hub under lighttpd and one Chromium for all browser tests."""
import sys
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

SYSTEM = Path(__file__).resolve().parents[1] / "system"
sys.path[:0] = [str(SYSTEM), str(SYSTEM / "hub")]
import seed_fleet  # noqa: E402
from hub_server import Hub  # noqa: E402


class Browser:
    """Chromium, with the few actions that the tests need."""

    def __init__(self, hub):
        self.hub = hub
        options = Options()
        for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars", "--force-color-profile=srgb",
                         "--disable-background-networking", "--no-first-run"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        self.driver.set_page_load_timeout(30)

    def cdp(self, command, **arguments):
        return self.driver.execute_cdp_cmd(command, arguments)

    def look(self, width=1280, theme="light", scripts=True, height=860):
        phone = width < 700
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=844 if phone else height,
                 deviceScaleFactor=2 if phone else 1, mobile=phone)
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        self.cdp("Emulation.setScriptExecutionDisabled", value=not scripts)

    def open(self, path, **query):
        self.driver.get_log("browser")
        self.driver.get(self.hub.url(path, **query))

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def console(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def wait(self, script, what):
        from harness import wait_for
        return wait_for(lambda: self.js("return " + script), what)

    def drawn(self):
        self.wait("!document.getElementById('charts') || document.getElementById('charts').dataset.drawn",
                  "charts drawn")

    def keys(self, text):
        from selenium.webdriver.common.action_chains import ActionChains
        ActionChains(self.driver).send_keys(text).perform()


@pytest.fixture(scope="session")
def fleet(cluster):
    database = cluster.new_database()
    database.query("""DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hub') THEN
        CREATE ROLE hub LOGIN IN ROLE observ_hub; END IF; END $$""")
    seed_fleet.seed(database)
    database.query("""INSERT INTO servers (vps_name, labels, created_by) SELECT DISTINCT vps_name,
        jsonb_build_object('environment', CASE WHEN vps_name LIKE 'fra%' THEN 'production' ELSE 'staging' END,
            'team', split_part(vps_name, '-', 1)), 'test' FROM agents WHERE vps_name < 'nyc-2'""")
    yield database
    database.drop()


@pytest.fixture(scope="session")
def hub(fleet, tmp_path_factory):
    server = Hub(tmp_path_factory.mktemp("hub"), fleet.url("hub"), "fastcgi").start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def open_browser():
    """open_browser(hub) -> a Browser; all are closed at the end."""
    opened = []

    def open_one(hub):
        opened.append(Browser(hub))
        return opened[-1]

    yield open_one
    for browser in opened:
        browser.driver.quit()


@pytest.fixture(scope="session")
def chromium(hub, open_browser):
    return open_browser(hub)


@pytest.fixture
def browser(chromium, fleet):
    seed_fleet.refresh(fleet)
    chromium.look()
    yield chromium
    chromium.driver.delete_all_cookies()
