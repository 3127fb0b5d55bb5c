"""Signing in with a real browser; the pages of accounts in both themes, at both widths, without scripts."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system/hub"))
from harness import wait_for  # noqa: E402
from hub_server import Hub  # noqa: E402
from people import PASSWORD, admin, bearer, token  # noqa: E402


@pytest.fixture(scope="module")
def guarded(fleet, tmp_path_factory):
    """The fleet behind sign-in."""
    admin(fleet, "create-user", "ann@example.com", "admin")
    server = Hub(tmp_path_factory.mktemp("guarded"), fleet.url("hub"), "fastcgi", conf="").start()
    server.get("/account/tokens?format=json", "POST", {**bearer(token(server, "ann@example.com")),
               "Content-Type": "application/x-www-form-urlencoded"}, "name=a-robot-with-a-long-name")
    yield server
    server.stop()
    admin(fleet, "delete-user", "ann@example.com")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_person_signs_in_where_he_wanted_to_go_and_out_again(browser, guarded, scripts):
    browser.look(scripts=scripts)
    find = browser.driver.find_element
    browser.driver.get(guarded.url("/servers/fra-1"))
    assert find("tag name", "h1").text == "Sign in"
    for name, value in [("username", "ann@example.com"), ("password", PASSWORD)]:
        find("id", name).send_keys(value)
    find("css selector", ".sign-in button").click()
    wait_for(lambda: browser.driver.current_url == guarded.url("/servers/fra-1"), "the page asked for")
    assert "fra-1" in find("tag name", "h1").text
    find("css selector", ".me button").click()
    wait_for(lambda: browser.driver.current_url == guarded.url("/sign-in"), "the sign-in")
    browser.driver.get(guarded.url("/"))
    assert find("tag name", "h1").text == "Sign in"
    browser.look()


def sign_in(browser, guarded):
    browser.driver.get(guarded.url("/sign-in"))
    browser.driver.find_element("id", "username").send_keys("ann@example.com")
    browser.driver.find_element("id", "password").send_keys(PASSWORD + "\n")
    wait_for(lambda: browser.driver.current_url != guarded.url("/sign-in"), "signed in")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_behind_the_sign_in_fit(browser, guarded, width, theme):
    browser.look(width, theme)
    sign_in(browser, guarded)
    browser.console()
    for path in ("/account", "/users", "/audit"):
        browser.driver.get(guarded.url(path))
        assert browser.js("return document.documentElement.scrollWidth") <= width, path
        assert browser.driver.find_element("css selector", ".me [aria-current]"), path
        assert not browser.console(), path
    for path in ("/servers", "/manage/fra-1", "/alerts", "/alert-rules", "/alert-rules/new?kind=log_share",
                 "/silences", "/heartbeats", "/routing", "/channels?kind=mail"):
        browser.driver.get(guarded.url() + path[1:])
        assert browser.driver.find_element("css selector", "header [aria-current]"), path
        assert browser.js("return document.documentElement.scrollWidth") <= width, path
        assert not browser.console(), path


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_of_the_api_fits_and_its_links_open_what_they_name(browser, guarded, width):
    for theme in ("light", "dark"):
        browser.look(width, theme)
        browser.driver.get(guarded.url("/api"))
        browser.js("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        assert browser.js("return document.documentElement.scrollWidth") <= width
        assert not browser.console()
    names = browser.js("""return [...document.querySelectorAll('main a[href^="#"]')]
        .map((a) => a.hash.slice(1))""")
    assert len(names) > 100
    assert browser.js("return arguments[0].filter((n) => !document.getElementById(n))", names) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_search_is_saved_from_the_menu_and_renamed(browser, guarded, fleet, width, theme):
    """The menu stays on the screen; all of it works without scripts."""
    fleet.query("TRUNCATE saved_searches")
    browser.look(width, theme)
    sign_in(browser, guarded)
    browser.look(width, theme, scripts=False)
    find = browser.driver.find_element
    browser.driver.get(guarded.url("/logs", q="timeout OR refused", range="24h"))
    find("css selector", ".saved summary").click()
    find("id", "search-name").send_keys("a search with a name that is rather long for a menu\n")
    wait_for(lambda: "rather long for a menu</a>" in browser.driver.page_source, "saved")
    find("css selector", ".saved summary").click()
    box = find("css selector", ".saved .pop").rect
    assert box["x"] >= 0 and box["x"] + box["width"] <= width, box
    find("css selector", ".saved .pop > p a").click()
    name = find("css selector", "input[name=name]")
    name.clear()
    name.send_keys("short\n")
    wait_for(lambda: ">short</a>" in browser.driver.page_source, "renamed")
    browser.look(width, theme)
    browser.driver.get(guarded.url("/logs/saved"))
    assert browser.js("return document.documentElement.scrollWidth") <= width
    assert find("css selector", "header [aria-current]").text == "Logs"
    find("css selector", "th a").click()
    assert find("id", "q").get_attribute("value") == "timeout OR refused"
