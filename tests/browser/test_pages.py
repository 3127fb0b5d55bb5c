"""The pages in a browser: they fit, are readable, and work by keyboard, with and without scripts."""
import re

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import screenshots

# The contrast of each visible text with its background: [ratio, colour, background, text] of the worst ones.
CONTRAST = """
const dot = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
const canvas = dot.getContext("2d", { willReadFrequently: true });
const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3])).concat(1);
const linear = (v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const luminance = (c) => { const [r, g, b] = c.slice(0, 3).map(linear);
    return .2126 * r + .7152 * g + .0722 * b; };
const behind = (e) => {
    const layers = [];
    for (; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]); };
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), worst = [];
while (walker.nextNode()) {
    const e = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || e.closest("script, .unseen, title, thead.unseen") || e.getBoundingClientRect().width < 2
        || !e.checkVisibility({ visibilityProperty: true }))
        continue;
    const back = behind(e), front = over(rgba(getComputedStyle(e).color), back);
    const [a, b] = [luminance(front), luminance(back)].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
    if (ratio < 4.5)
        worst.push([ratio.toFixed(2), getComputedStyle(e).color, back.join(), text.slice(0, 40),
                    e.className]);
}
return worst;
"""


@pytest.mark.parametrize("theme", screenshots.THEMES)
@pytest.mark.parametrize("width", screenshots.WIDTHS)
@pytest.mark.parametrize("name", screenshots.PAGES)
def test_a_page_fits_and_can_be_read(browser, name, width, theme):
    file = screenshots.take(browser, name, width, theme)
    assert file.stat().st_size > 10000
    inner, scroll = browser.js("return [innerWidth, document.documentElement.scrollWidth]")
    assert inner == width and scroll <= width, f"scrolls sideways: {scroll} > {width}"
    assert browser.js(CONTRAST) == []
    noise = [line for line in browser.console() if "404 (Not Found)" not in line or name != "error"]
    assert noise == [], "errors or CSP violations in the console"


@pytest.mark.parametrize("width", screenshots.WIDTHS)
def test_nothing_moves_while_a_page_loads(browser, width):
    browser.look(width)
    for path, query in screenshots.PAGES.values():
        browser.open(path, **query)
        browser.drawn()
        shift = browser.driver.execute_async_script("""
            const done = arguments[0]; let sum = 0;
            new PerformanceObserver((list) => { for (const e of list.getEntries()) sum += e.value; })
                .observe({ type: "layout-shift", buffered: true });
            requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(sum), 0)));""")
        assert shift < 0.05, path


def test_without_scripts_everything_is_there(browser):
    browser.look(scripts=False)
    for path, query, expected in [
            ("/", {}, ["ams-2", "down", "timeout at http://127.0.0.1:8000/health", "disk 96 % full"]),
            ("/servers/fra-1", {}, ["CPU", "Memory", "billing", "http://127.0.0.1:8000/health", "/srv",
                                    "truncated", "312 samples, 0 lost",
                                    "in memory only: /var/lib/observ/shop: No space left on device",
                                    "refused, kept in rejects"]),
            ("/servers/nyc-2", {}, ["buffering or stopped since", "Nothing lost in this range"]),
            ("/logs", {"q": "timeout"}, ["payment timeout, retrying", "lines", "Older", "WARNING"])]:
        browser.open(path, **query)
        text = browser.driver.find_element(By.TAG_NAME, "body").text
        for part in expected:
            assert part in text, (path, part)
    browser.open("/servers/fra-1")
    lines = browser.driver.find_elements(By.CSS_SELECTOR, ".chart svg .line")
    assert len(lines) >= 12 and all(line.get_attribute("d").count("M") >= 2 for line in lines), \
        "drawn, with the hole as a hole"
    assert not browser.driver.find_element(By.ID, "live").is_displayed()


def test_the_keyboard_goes_everywhere(browser):
    focused = "document.activeElement"
    browser.open("/")
    browser.keys(Keys.TAB)
    assert browser.js(f"return {focused}.className") == "skip"
    browser.keys("/")
    assert browser.js(f"return {focused}.id") == "q"
    browser.keys("gl/?j")
    assert browser.js(f"return {focused}.value") == "gl/?j", "keys are letters in a text box"
    browser.keys(Keys.ESCAPE)
    browser.keys("j")
    assert browser.js(f"return {focused}.textContent") == "ams-2"
    browser.keys("jjk")
    assert browser.js(f"return {focused}.textContent") == "nyc-2"
    outline = browser.js(f"return getComputedStyle({focused}).outlineStyle")
    assert outline == "solid", "the focus can be seen"
    browser.keys(Keys.ENTER)
    browser.wait("location.pathname == '/servers/nyc-2' && document.readyState == 'complete'",
                 "Enter opens the row")
    browser.keys("gl")
    browser.wait("location.pathname == '/logs' && document.readyState == 'complete'", "g l")
    browser.keys("j")
    browser.keys(Keys.ENTER)
    browser.wait("document.querySelector('.row details').open", "Enter opens the line")
    browser.keys("gf")
    browser.wait("location.pathname == '/' && document.readyState == 'complete'", "g f")
    browser.keys("?")
    browser.wait("location.pathname == '/help'", "?")


def test_every_link_and_control_has_a_name(browser):
    for path, query in screenshots.PAGES.values():
        browser.open(path, **query)
        nameless = browser.js(
            """return [...document.querySelectorAll("a[href], button, input:not([type=hidden]), summary")]
            .filter((e) => e.checkVisibility())
            .filter((e) => !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length))
            .map((e) => e.outerHTML.slice(0, 120))""")
        assert nameless == [], path
        assert browser.js("return document.querySelectorAll('h1').length") == 1
        assert browser.js("return [...document.querySelectorAll('[id]')].map((e) => e.id).filter((id, i, "
                          "all) => all.indexOf(id) != i)") == []


def test_a_drag_over_a_chart_sets_the_time(browser):
    browser.open("/servers/fra-1", range="6h")
    browser.drawn()
    area = browser.driver.find_element(By.CSS_SELECTOR, ".chart .u-over")
    drag = ActionChains(browser.driver).move_to_element_with_offset(area, -60, 0).click_and_hold()
    drag.move_by_offset(90, 0).release().perform()
    browser.wait("location.search.includes('from=')", "the address has the time")
    assert "range=" not in browser.driver.current_url
    browser.drawn()
    assert browser.js("return document.querySelectorAll('.plot.drawn canvas').length") >= 8


def test_the_cursor_is_in_all_charts(browser):
    browser.open("/servers/fra-1")
    browser.drawn()
    area = browser.driver.find_element(By.CSS_SELECTOR, ".chart .u-over")
    ActionChains(browser.driver).move_to_element_with_offset(area, 20, 0).perform()
    lines = browser.js(
        """return [...document.querySelectorAll(".u-cursor-x")].map((e) => e.style.transform)""")
    assert len(lines) >= 8 and len(set(lines)) == 1 and "translate" in lines[0]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_releases_are_marked_in_all_charts(browser, theme):
    """A column of the canvas has the colour of releases: there, and not on a server without any."""
    browser.look(theme=theme)
    marks = {}
    for server in ("fra-1", "ams-1"):
        browser.open("/servers/" + server, range="6h")
        browser.drawn()
        marks[server] = browser.js("""
            const probe = document.body.appendChild(document.createElement("i"));
            probe.style.color = "var(--release)";
            const wanted = getComputedStyle(probe).color.match(/\\d+/g).map(Number);
            return [...document.querySelectorAll(".plot.drawn canvas")].map((canvas) => {
                const { width, height } = canvas, columns = new Map();
                const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
                for (let i = 0; i < data.length; i += 4)
                    if (data[i + 3] > 200 && wanted.every((v, k) => Math.abs(v - data[i + k]) < 12))
                        columns.set((i / 4) % width, (columns.get((i / 4) % width) ?? 0) + 1);
                return [...columns.values()].filter((n) => n > height / 6).length;
            });""")
    assert len(marks["fra-1"]) >= 8 and min(marks["fra-1"]) >= 2, marks
    assert max(marks["ams-1"]) == 0, marks


def test_a_live_page_changes_and_keeps_place_and_focus(browser, fleet):
    browser.look(height=400)
    browser.open("/")
    browser.js(
        """window.stayed = true; document.querySelector('a[href="/servers/syd-1"]').focus();
        scrollTo(0, 120);""")
    before = browser.js("return scrollY")
    fleet.query("UPDATE agents SET last_seen_at = last_seen_at - interval '3 hours' WHERE vps_name = 'sgp-1'")
    try:
        # refreshes at once, as a tab that becomes visible
        browser.js("document.dispatchEvent(new Event('visibilitychange'))")
        browser.wait("document.querySelectorAll('tr.row.offline').length == 2", "the second offline row")
        assert browser.js("return window.stayed && scrollY") == before
        assert browser.js("return document.activeElement.textContent") == "syd-1"
    finally:
        fleet.query("UPDATE agents SET last_seen_at = last_seen_at + interval '3 hours' "
                    "WHERE vps_name = 'sgp-1'")


def test_a_line_keeps_the_focus_when_others_come(browser, fleet):
    browser.open("/logs", range="24h")
    browser.keys("jjj")
    focused = "document.activeElement.closest('.row').dataset.line"
    line, place = (browser.js(f"return {focused}"),
                   "[...document.querySelectorAll('.row')].indexOf(document.activeElement.closest('.row'))")
    assert browser.js(f"return {place}") == 2
    fleet.query("""INSERT INTO log_entries (timestamp, vps_name, app_name, level, message)
        VALUES (now(), 'ams-1', 'shop', 'INFO', 'just come')""")
    try:
        browser.js("document.dispatchEvent(new Event('visibilitychange'))")
        browser.wait("document.querySelector('.row summary').textContent.startsWith('just come')",
                     "the new line")
        assert browser.js(f"return [{focused}, {place}]") == [line, 3]
    finally:
        fleet.query("DELETE FROM log_entries WHERE message = 'just come'")


def test_a_page_of_the_past_is_not_live(browser):
    browser.open("/logs", to="2026-01-01T00:00:00Z")
    assert not browser.driver.find_element(By.ID, "live").is_displayed()


def test_facets_stand_beside_the_lines_and_fold_on_a_phone(browser):
    seen = "return document.querySelector('.facet a').checkVisibility({ contentVisibilityAuto: true })"
    browser.open("/logs")
    assert browser.js(seen) and not browser.driver.find_element(By.CSS_SELECTOR,
                                                                ".facets summary").is_displayed()
    browser.look(390)
    browser.open("/logs")
    assert not browser.js(seen)
    browser.driver.find_element(By.CSS_SELECTOR, ".facets summary").click()
    assert browser.js(seen)


def test_a_bar_and_a_facet_are_links_to_what_they_count(browser):
    browser.open("/logs", q="timeout", range="24h")        # no line drops out of the range between two pages
    link = browser.driver.find_element(By.CSS_SELECTOR, ".facet a[href*='level:ERROR']")
    counted = int(link.find_element(By.TAG_NAME, "em").get_attribute("textContent").replace(",", ""))
    browser.js("arguments[0].click()", link)
    browser.wait("location.search.includes('level:ERROR') && document.readyState == 'complete'",
                 "the facet's page")
    assert browser.driver.find_element(By.CSS_SELECTOR, ".scale b").text.replace(",", "") == str(counted)
    bar = browser.driver.find_element(By.CSS_SELECTOR, ".hist a")
    lines = int(re.search(r": (\d+) lines", bar.get_attribute("aria-label"))[1])
    browser.driver.get(browser.js("return new URL(arguments[0].getAttribute('href'), location).href", bar))
    assert browser.driver.find_element(By.CSS_SELECTOR, ".scale b").text == str(lines)


TRACE = ("Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    "
         "main()\n\tValueError: x")
LONG_NAME = "a-server-whose-name-somebody-made-of-" + "a-great-many-words-" * 12


@pytest.fixture
def odd_lines(fleet):
    """A stack trace and a long one, and a server with a long name; (id, timestamp) of the first."""
    fleet.query("""INSERT INTO agents (vps_name, app_name, epoch, version, interval_s, first_seen_at,
        last_seen_at)
        VALUES (%s, 'odd', 1, '0.1.0', 60, now(), now())""", LONG_NAME)
    fleet.query("""INSERT INTO log_entries (timestamp, vps_name, app_name, level, message, stream_id,
        stream_offset)
        VALUES (now(), %s, 'odd', 'ERROR', %s, 1, 0), (now() - interval '1 s', %s, 'odd', 'ERROR', %s, 1,
            1)""",
                LONG_NAME, TRACE, LONG_NAME, TRACE + "\n  at x" * 60)
    yield fleet.query("SELECT id, to_json(timestamp) #>> '{}' FROM log_entries WHERE message = %s", TRACE)[0]
    fleet.query("DELETE FROM log_entries WHERE app_name = 'odd'")
    fleet.query("DELETE FROM agents WHERE app_name = 'odd'")


@pytest.mark.parametrize("width", screenshots.WIDTHS)
def test_a_stack_trace_keeps_its_lines_and_indents(browser, odd_lines, width):
    browser.look(width)
    shape = ("const e = document.querySelector(arguments[0]); return [e.innerText, "
             "e.getBoundingClientRect().height]")
    for path, query, where in [("/logs", {"q": "app:odd"}, ".msg .text"),
                               (f"/servers/{LONG_NAME}", {}, ".msg .text"),
                               ("/logs/line", {"id": odd_lines[0], "at": odd_lines[1]}, "pre.message")]:
        browser.open(path, **query)
        text, height = browser.js(shape, where)
        assert text.rstrip("\n") == TRACE, path
        assert height > 4 * 17, (path, height)
    browser.open("/logs", q="app:odd")
    many = "return document.querySelector('.text.many').getBoundingClientRect().height"
    assert 150 < browser.js(many) < 300, "a list shows some lines of a long one"
    browser.js("document.querySelectorAll('.msg details')[1].open = true")
    assert browser.js(many) > 60 * 15, "all of it, once somebody opens the row"


@pytest.mark.parametrize("width", screenshots.WIDTHS)
def test_a_long_name_leaves_room_for_the_rest(browser, odd_lines, width):
    browser.look(width)
    for path, query, where in [("/", {"q": "somebody-made"}, ".fleet th[scope=row]"),
                               ("/logs", {"q": "app:odd"}, ".logs .msg"),
                               (f"/servers/{LONG_NAME}", {}, ".logs .msg"),
                               (f"/servers/{LONG_NAME}", {}, ".agents th[scope=row]"),
                               ("/logs/line", {"id": odd_lines[0], "at": odd_lines[1]}, "pre.message"),
                               ("/logs/around", {"vps": LONG_NAME, "app": "odd", "stream": 1, "offset": 0,
                                                 "at": odd_lines[1]}, ".logs .msg")]:
        browser.open(path, **query)
        room = browser.js("return document.querySelector(arguments[0]).getBoundingClientRect().width", where)
        assert room > (0.55 if width < 700 else 0.3) * width, (path, where, room)
        assert browser.js("return document.documentElement.scrollWidth") <= width, path


def test_a_cut_line_leads_to_the_whole_one(browser, fleet):
    fleet.query("INSERT INTO log_entries (timestamp, vps_name, app_name, level, message) "
                "VALUES (now(), 'ams-1', 'cut', 'INFO', %s)", "word " * 2000)
    try:
        browser.open("/logs", q="app:cut")
        link = browser.driver.find_element(By.CSS_SELECTOR, ".msg .cut")
        assert link.text == "… cut, 10,000 characters: show all"
        link.click()
        browser.wait("location.pathname == '/logs/line' && document.readyState == 'complete'",
                     "the line's page")
        assert len(browser.js("return document.querySelector('pre.message').textContent")) == 10_000
    finally:
        fleet.query("DELETE FROM log_entries WHERE app_name = 'cut'")


def test_the_theme_can_be_chosen_and_given_back(browser):
    browser.look(theme="light")
    browser.open("/logs", q="timeout")
    light = browser.js("return getComputedStyle(document.body).backgroundColor")
    browser.driver.find_element(By.CSS_SELECTOR, "a[title='Dark theme']").click()
    assert browser.js("return document.documentElement.dataset.theme") == "dark"
    assert browser.js("return getComputedStyle(document.body).backgroundColor") != light
    assert browser.driver.current_url.endswith("/logs?q=timeout")
    browser.driver.find_element(By.CSS_SELECTOR, "a[title='Dark theme']").click()
    assert browser.js("return document.documentElement.dataset.theme ?? null") is None
