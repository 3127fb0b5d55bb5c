"""Results of the log search in a browser: histogram, facets, columns, a line's tree, suggestions, history,
copies."""
import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import screenshots

ODD = {"a b": 'say "hi"', "dots.in.key": "x*", "deep": {"er": {"est": "(1)"}, "list": ["one", "two"]},
       "empty": "", "n": 1.5, "yes": True, "none": None, "back": "a\\b", "rtl": "مرحبا", "eq": "=x",
       "k8s": {"app.io/name": "web"}, "objects": [{"id": 1}]}


@pytest.fixture
def odd(fleet):
    """Two lines with odd keys and values under the application "odd"; one more with none of them."""
    for message, context in [("odd one", ODD), ("odd two", ODD), ("plain", {"other": 1})]:
        fleet.query("""INSERT INTO log_entries (timestamp, vps_name, app_name, level, message, context,
            stream_id, stream_offset)
            VALUES (now() - interval '1 min', 'ams-1', 'odd', 'INFO', %s, %s, 1, 1)""",
                    message, json.dumps(context))
    yield
    fleet.query("DELETE FROM log_entries WHERE app_name = 'odd'")


def started(browser, *selectors):
    for selector in selectors or [".found"]:
        browser.wait(f"document.querySelector('{selector}').dataset.started", f"the script of {selector}")


def query_of(browser):
    return {k: v[0] for k, v in parse_qs(urlsplit(browser.driver.current_url).query).items()}


def find(browser, selector):
    return browser.driver.find_element(By.CSS_SELECTOR, selector)


def loaded(browser, condition, what):
    browser.wait(f"({condition}) && document.readyState == 'complete'", what)


def messages(browser):
    return browser.js("return [...document.querySelectorAll('.row .text')].map((e) => e.textContent)")


# ---- histogram ------------------------------------------------------------------------------------

def edges(browser):
    """Where the histogram is, and its times in milliseconds."""
    return browser.js("""const z = document.querySelector('.zoom'), b = z.querySelector('.hist')
        .getBoundingClientRect();
        return [b.left, b.top + b.height / 2, b.width, Date.parse(z.dataset.from),
                Date.parse(z.dataset.to)]""")


def zoomed(browser, begin, end, first, last):
    """The page shows the part of the time from `first` to `last`, two percent more or less."""
    loaded(browser, "location.search.includes('from=')", "the chosen time")
    _, _, _, now_begin, now_end = edges(browser)
    span = end - begin
    assert abs(now_begin - (begin + first * span)) < span / 50
    assert abs(now_end - (begin + last * span)) < span / 50
    assert "range" not in query_of(browser)


def test_a_drag_over_the_histogram_sets_the_time(browser):
    browser.open("/logs", q="timeout", range="6h")
    started(browser)
    left, y, width, begin, end = edges(browser)
    drag = ActionChains(browser.driver, duration=0).move_by_offset(0, 0)
    drag.w3c_actions.pointer_action.move_to_location(int(left + width * .25), int(y))
    drag.click_and_hold().move_by_offset(int(width * .2), 3).perform()
    assert re.fullmatch(r"\d\d:\d\d:\d\d to \d\d:\d\d:\d\d", find(browser, ".zoom output").text)
    ActionChains(browser.driver, duration=0).move_by_offset(int(width * .05), 0).release().perform()
    zoomed(browser, begin, end, .25, .5)
    assert query_of(browser)["q"] == "timeout"
    find(browser, ".legend a:last-child").click()
    loaded(browser, "document.querySelector('.zoom').dataset.from.length", "zoomed out")
    assert edges(browser)[3] < begin + .1 * (end - begin)


def test_a_drag_by_touch_sets_the_time_and_escape_leaves_it(browser):
    browser.look(390)
    browser.open("/logs", q="timeout", range="6h")
    started(browser)
    left, y, width, begin, end = edges(browser)

    def touch(kind, *points):
        browser.cdp("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y} for x in points])
    touch("touchStart", left + width * .5)
    for part in (.55, .6, .7, .75):
        touch("touchMove", left + width * part)
    touch("touchEnd")
    zoomed(browser, begin, end, .5, .75)
    browser.look()
    browser.open("/logs", q="timeout", range="6h")
    started(browser)
    left, y, width, *_ = edges(browser)
    drag = ActionChains(browser.driver, duration=0)
    drag.w3c_actions.pointer_action.move_to_location(int(left + width * .25), int(y))
    drag.click_and_hold().move_by_offset(80, 0).send_keys(Keys.ESCAPE).release().perform()
    assert browser.js("return document.querySelector('.zoom .mark')") is None
    assert query_of(browser) == {"q": "timeout", "range": "6h"}


def test_a_click_on_a_bar_opens_its_time_and_the_legend_its_level(browser):
    browser.open("/logs", q="timeout", range="6h")
    started(browser)
    left, y, width, begin, end = edges(browser)
    click = ActionChains(browser.driver, duration=0)
    click.w3c_actions.pointer_action.move_to_location(int(left + width * 50.5 / 60), int(y))
    click.click().perform()
    zoomed(browser, begin, end, 50 / 60, 51 / 60)
    browser.open("/logs", q="timeout", range="6h")
    find(browser, ".legend .err").click()
    loaded(browser, "location.search.includes('level')", "the errors")
    assert query_of(browser)["q"] == "timeout level>=ERROR"
    assert {"ERROR", "CRITICAL"} >= set(browser.js("""return [...document.querySelectorAll('.row .lv')]
        .map((e) => e.textContent)"""))


def with_shift(browser, keys):
    ActionChains(browser.driver, duration=0).key_down(Keys.SHIFT).send_keys(keys).key_up(Keys.SHIFT).perform()


def test_arrows_go_over_the_bars_and_with_shift_choose_a_time(browser):
    browser.open("/logs", q="timeout", range="6h")
    started(browser)
    *_, begin, end = edges(browser)
    focused = "document.activeElement.dataset"
    assert browser.js("return document.querySelectorAll('.hist a[tabindex=\"0\"]').length") == 1
    browser.js("document.querySelector('.hist a[tabindex=\"0\"]').focus()")
    browser.keys(Keys.HOME)
    browser.keys(Keys.ARROW_RIGHT * 3)
    first = browser.js(f"return Date.parse({focused}.from)")
    assert first == browser.js("return Date.parse(document.querySelectorAll('.hist a')[3].dataset.from)")
    with_shift(browser, Keys.ARROW_RIGHT * 2)
    last = browser.js(f"return Date.parse({focused}.to)")
    said = find(browser, ".zoom output").text
    assert re.fullmatch(r"\d\d:\d\d:\d\d to \d\d:\d\d:\d\d", said)
    browser.keys(Keys.ESCAPE)
    assert browser.js("return document.querySelector('.zoom .mark')") is None
    with_shift(browser, Keys.ARROW_LEFT * 2)
    browser.keys(Keys.ENTER)
    zoomed(browser, begin, end, (first - begin) / (end - begin), (last - begin) / (end - begin))


# ---- facets ------------------------------------------------------------------------------------------

def facet(browser, key, then):
    """The result of a script about the facet f of a key; a click leads to another page."""
    address = browser.driver.current_url
    here = "const f = document.querySelector(`details.facet[data-keep='${arguments[0]}']`); "
    ret = browser.js(here + then, key)
    if "click()" in then:
        loaded(browser, f"location.href != {json.dumps(address)}", "the link")
    return ret


@pytest.mark.parametrize("scripts", [True, False])
def test_facets_of_the_context_add_and_exclude_a_value(browser, odd, scripts):
    browser.look(scripts=scripts)
    browser.open("/logs", q="app:odd")
    keys = browser.js("return [...document.querySelectorAll('details.facet')].map((f) => f.dataset.keep)")
    assert {"a b", "k8s.app.io/name", "n", "yes", "other"} <= set(keys)
    assert "all 3 matches" in browser.js("return document.querySelector('.facets .group + p').textContent")
    assert facet(browser, "a b", "return f.querySelector('li em').textContent") == "2"
    facet(browser, "a b", "f.querySelector('.without').click()")
    assert query_of(browser)["q"] == 'app:odd -ctx."a b"="say \\"hi\\""' and messages(browser) == ["plain"]
    browser.open("/logs", q="app:odd")
    facet(browser, "n", "f.querySelector('li a').click()")
    assert query_of(browser)["q"] == "app:odd ctx.n=1.5" and len(messages(browser)) == 2
    facet(browser, "n", "f.querySelector('li .without').click()")
    assert query_of(browser)["q"] == "app:odd -ctx.n=1.5" and messages(browser) == ["plain"]
    browser.open("/logs", q="app:odd")
    facet(browser, "k8s.app.io/name", "f.querySelector('li a').click()")
    assert len(messages(browser)) == 2
    facet(browser, "k8s.app.io/name", "f.querySelector('li .without').click()")
    assert messages(browser) == ["plain"]
    browser.open("/logs", q="app:odd ctx.n=1.5")
    facet(browser, "n", "f.querySelector('a[aria-current]').click()")
    assert query_of(browser)["q"] == "app:odd"


def test_facets_of_many_matches_say_that_they_are_estimated(browser):
    browser.open("/logs", range="24h")
    said = browser.js("return document.querySelector('.facets .group + p').textContent")
    assert said == "Estimated: counts are of the newest 1,000 matches."
    facets = browser.js("""return [...document.querySelectorAll('details.facet')].map((f) =>
        [f.dataset.keep, f.querySelectorAll('li').length, f.open])""")
    assert 5 < len(facets) <= 20 and all(1 <= n <= 6 for _, n, _ in facets)
    assert {facets[0][0], facets[1][0]} == {"method", "status"}, "what divides the lines best comes first"
    assert [is_open for *_, is_open in facets].count(True) == 3


# ---- columns --------------------------------------------------------------------------------------

def headings(browser):
    return browser.js("""return [...document.querySelectorAll('.logs thead th')]
        .map((e) => e.firstChild.textContent)""")


def test_columns_stand_in_the_address_and_in_each_link(browser):
    browser.open("/logs", q="request", range="24h")
    find(browser, ".columns summary").click()
    choices = {a.text: a for a in browser.driver.find_elements(By.CSS_SELECTOR, ".columns li a")}
    choices["Server"].click()
    loaded(browser, "location.search.includes('columns=')", "columns")
    assert headings(browser) == ["Time", "Level", "Application", "Message"]
    facet(browser, "status", "f.querySelector('p a').click()")
    loaded(browser, "document.querySelectorAll('.logs th').length == 5", "one more column")
    assert headings(browser) == ["Time", "Level", "Application", "status", "Message"]
    assert query_of(browser)["columns"] == "time,level,app,ctx.status,message"
    assert set(browser.js("""return [...document.querySelectorAll('.row td:nth-child(4)')]
        .map((e) => e.textContent)""")) == {"200"}
    find(browser, ".pager a[rel=next]").click()
    loaded(browser, "location.search.includes('before=')", "the next page")
    assert headings(browser)[3] == "status"
    find(browser, ".logs th:nth-child(2) a").click()
    loaded(browser, "document.querySelectorAll('.logs th').length == 4", "one column less")
    assert headings(browser) == ["Time", "Application", "status", "Message"]
    find(browser, ".row summary").click()
    browser.wait("document.querySelector('.row .detail .tree')", "the fields")
    assert find(browser, ".row .detail .tree").is_displayed()


def test_columns_can_be_written_and_a_wrong_one_is_named(browser):
    browser.look(scripts=False)
    browser.open("/logs", q="request", wrap="no", range="24h")
    find(browser, ".columns summary").click()
    box = find(browser, "#columns")
    assert box.get_attribute("value") == "time,level,vps,app,message"
    box.clear()
    box.send_keys("time,ctx.path,ctx.ms" + Keys.ENTER)
    assert headings(browser) == ["Time", "path", "ms"]
    assert query_of(browser) == {"q": "request", "wrap": "no", "range": "24h",
                                 "columns": "time,ctx.path,ctx.ms"}
    find(browser, ".row summary").click()
    assert "request served" not in find(browser, ".row summary").text
    assert find(browser, ".row .detail .alone").is_displayed()
    browser.open("/logs", columns="time,colour")
    assert '"colour" names no column: write time, level, vps' in find(browser, ".error").text


@pytest.mark.parametrize("width", screenshots.WIDTHS)
def test_a_line_can_be_kept_on_one_row(browser, fleet, width):
    fleet.query("INSERT INTO log_entries (timestamp, vps_name, app_name, level, message) "
                "VALUES (now(), 'ams-1', 'long', 'INFO', %s)", "word " * 200 + "\nsecond")
    browser.look(width)
    height = "return document.querySelector('.row summary').getBoundingClientRect().height"
    try:
        browser.open("/logs", q="app:long")
        assert browser.js(height) > 60
        if width > 700:
            find(browser, ".switch").click()
            loaded(browser, "location.search.includes('wrap=no')", "the switch")
        else:
            browser.open("/logs", q="app:long", wrap="no")
        assert browser.js(height) < 30
        assert browser.js("return document.documentElement.scrollWidth") <= width
        browser.js("document.querySelector('.row details').open = true")
        assert browser.js(height) > 60, "the whole line, once somebody opens the row"
    finally:
        fleet.query("DELETE FROM log_entries WHERE app_name = 'long'")


@pytest.mark.parametrize("width", screenshots.WIDTHS)
def test_no_text_makes_the_page_wider(browser, fleet, width):
    """Hundreds of accents on one letter are one character, which can't be broken."""
    marks = "o" + "\u0489" * 400
    fleet.query("INSERT INTO log_entries (timestamp, vps_name, app_name, level, logger, message, context) "
                "VALUES (now(), 'ams-1', 'wide', 'INFO', %s, %s, jsonb_build_object('k', %s::text))",
                "l" * 300, marks, marks)
    browser.look(width)
    try:
        for wrap in ("", "no"):
            browser.open("/logs", q="app:wide", **({"wrap": wrap} if wrap else {}))
            assert browser.js("return document.documentElement.scrollWidth") <= width
            browser.js("document.querySelector('.row details').open = true")
            assert browser.js("return document.documentElement.scrollWidth") <= width
    finally:
        fleet.query("DELETE FROM log_entries WHERE app_name = 'wide'")


# ---- a line ---------------------------------------------------------------------------------------

TREE = """
const read = (ul) => Object.fromEntries([...ul.children].map((li) => {
    const branch = li.querySelector(":scope > details");
    return branch ? [branch.querySelector(".k").textContent, read(branch.querySelector("ul"))]
        : [li.querySelector(".k").textContent, li.querySelector(".v").textContent]; }));
return read(document.querySelector(arguments[0]));
"""


def shown(value):
    if isinstance(value, dict):
        return {k: shown(v) for k, v in value.items()}
    if isinstance(value, list):
        return {str(i): shown(v) for i, v in enumerate(value)}
    return value if isinstance(value, str) else json.dumps(value)


def found_at(browser, address):
    """The messages that a page of the hub lists, without the browser, which takes longer."""
    path = address.split("/", 3)[3]
    return [line["message"] for line in browser.hub.get(f"/{path}&format=json").json["lines"]]


@pytest.mark.parametrize("scripts", [True, False])
def test_a_context_is_a_tree_and_each_value_filters(browser, odd, scripts):
    browser.look(scripts=scripts)
    browser.open("/logs", q="odd OR plain")
    row = next(r for r in browser.driver.find_elements(By.CSS_SELECTOR, ".row") if "odd one" in r.text)
    row.find_element(By.TAG_NAME, "summary").click()
    if scripts:
        browser.wait("document.querySelector('.row .tree')", "the fields")
    else:
        row.find_element(By.CSS_SELECTOR, ".alone").click()
    tree = browser.js(TREE, ".tree")
    assert {k: tree[k] for k in ODD} == shown(ODD)
    assert (tree["server"], tree["application"], tree["level"]) == ("ams-1", "odd", "INFO")
    links = browser.js("""return [...document.querySelectorAll('.by a')]
        .map((a) => [a.closest('li').querySelector('.k').textContent, a.textContent, a.href])""")
    named = [key for key, sign, _ in links if sign == "+"]
    assert {"a b", "dots.in.key", "app.io/name", "est", "0", "empty", "n", "yes", "none", "back", "rtl",
            "eq"} <= set(named)
    for key, sign, address in links:
        found = found_at(browser, address)
        assert ("odd one" in found) == (sign == "+"), (key, sign, address, found)
    for adds in True, False:
        browser.driver.get(next(address for _, sign, address in links if (sign == "+") == adds))
        assert ("odd one" in messages(browser)) == adds


def test_a_page_of_a_hundred_lines_is_small_and_a_row_keeps_the_query(browser, fleet):
    browser.open("/logs", q="request", range="24h", columns="time,message")
    assert browser.js("return document.querySelectorAll('.row').length") == 100
    assert len(browser.driver.page_source.encode()) < 130_000
    find(browser, ".row summary").click()
    browser.wait("document.querySelector('.row .by a')", "the fields")
    browser.js("document.querySelector('.row .by a').click()")
    loaded(browser, "location.search.includes('vps')", "the link")
    query = query_of(browser)
    assert query.pop("q").startswith("request vps:")
    assert query == {"range": "24h", "columns": "time,message"}


def test_a_branch_folds(browser, odd):
    browser.open("/logs", q="app:odd")
    next(r for r in browser.driver.find_elements(By.CSS_SELECTOR, ".row summary") if "odd" in r.text).click()
    browser.wait("document.querySelector('.row .tree')", "the fields")
    branch = find(browser, ".row:has(details[open]) .tree details")
    assert branch.find_element(By.CSS_SELECTOR, "ul").is_displayed()
    branch.find_element(By.TAG_NAME, "summary").click()
    assert not branch.find_element(By.CSS_SELECTOR, "ul").is_displayed()


def test_filters_of_a_lines_own_page_find_it_again(browser, odd):
    browser.open("/logs", q='"odd one"')
    find(browser, ".row summary").click()
    find(browser, ".row .alone").click()
    loaded(browser, "location.pathname == '/logs/line'", "the line")
    tree = browser.js(TREE, ".tree")
    assert {k: tree[k] for k in ODD} == shown(ODD)
    links = browser.js("return [...document.querySelectorAll('.by a')].map((a) => [a.textContent, a.href])")
    for sign, address in links:
        assert ("odd one" in found_at(browser, address)) == (sign == "+"), address


def test_message_json_and_link_of_a_line_can_be_copied(browser, fleet, odd):
    browser.cdp("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    text = "tail of a long one"
    fleet.query("INSERT INTO log_entries (timestamp, vps_name, app_name, level, message, context) "
                "VALUES (now(), 'ams-1', 'odd', 'INFO', %s, %s)", "x" * 5000 + text, json.dumps(ODD))

    def copied(what):
        next(b for b in browser.driver.find_elements(By.CSS_SELECTOR, ".copy button")
             if b.text == f"Copy {what}").click()
        browser.wait(f"document.querySelector('.copy output')?.textContent == '{what} copied'", what)
        return browser.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    for own_page in (False, True):
        browser.open("/logs", q="xxxxx*" if own_page else "app:odd")
        started(browser)
        browser.js("document.querySelector('.row details').open = true")
        browser.wait("document.querySelector('.copy button')", "the buttons")
        address = browser.js("return document.querySelector('.row .alone').href")
        if own_page:
            browser.driver.get(address)
            started(browser, ".detail")
        assert copied("message") == "x" * 5000 + text, "whole, though the list cuts it"
        line = json.loads(copied("JSON"))
        assert (line["context"], line["app"], line["level"]) == (ODD, "odd", "INFO")
        assert copied("link") == address


# ---- suggestions and history ----------------------------------------------------------------------

def options(browser):
    return browser.js("return [...document.querySelectorAll('#suggestions:not([hidden]) li span')]"
                      ".map((e) => e.textContent)")


def type_in(browser, text, expected):
    """Type, and wait until the suggestions have `expected`."""
    browser.keys(text)
    browser.wait(f"[...document.querySelectorAll('#suggestions:not([hidden]) li span')]"
                 f".some((e) => e.textContent == {json.dumps(expected)})", f"{expected} is suggested")


def open_box(browser, **query):
    browser.open("/logs", **query)
    started(browser, ".box")
    browser.js("document.getElementById('q').focus()")


def test_fields_and_values_are_suggested_and_taken_by_keyboard(browser, odd):
    box = "document.getElementById('q')"
    open_box(browser)
    state = f"return [{box}.getAttribute('role'), {box}.ariaExpanded, {box}.getAttribute('aria-controls')]"
    assert browser.js(state) == ["combobox", "false", "suggestions"]
    type_in(browser, "ap", "app:")
    assert browser.js(state)[1] == "true"
    assert browser.js(f"return {box}.getAttribute('aria-activedescendant')") is None
    browser.keys(Keys.ARROW_DOWN)
    active = f"document.getElementById({box}.getAttribute('aria-activedescendant'))"
    said = browser.js(f"return [{active}.textContent, {active}.ariaSelected, {active}.getAttribute('role')]")
    assert said == ["app:", "true", "option"]
    browser.keys(Keys.ENTER)
    type_in(browser, "bill", "app:billing")
    browser.keys(Keys.ARROW_UP + Keys.ENTER)
    assert browser.js(f"return {box}.value") == "app:billing " and options(browser) == []
    type_in(browser, "-ctx.sta", "ctx.status=")
    browser.keys(Keys.ARROW_DOWN + Keys.ENTER)
    browser.wait("!document.getElementById('suggestions').hidden", "the values")
    assert options(browser) == ["ctx.status=200"]
    browser.keys(Keys.ESCAPE)
    assert options(browser) == []
    assert browser.js(f"return document.activeElement == {box}"), "only the list closes"
    browser.keys(" level>=err")
    browser.wait("document.querySelector('#suggestions li span')?.textContent == 'level>=ERROR'", "levels")
    browser.keys(Keys.ARROW_DOWN + Keys.ENTER + Keys.ENTER)
    loaded(browser, "location.search.includes('q=')", "the search")
    assert query_of(browser)["q"].strip() == "app:billing -ctx.status= level>=ERROR"


def test_odd_keys_and_values_are_suggested_as_the_search_reads_them(browser, odd):
    for typed, taken in [("a b", 'ctx."a b"='), ('ctx."a b"=', 'ctx."a b"="say \\"hi\\""'),
                         ("ctx.dots.in.key=", 'ctx.dots.in.key="x*"'), ("ctx.empty=", 'ctx.empty=""'),
                         ("ctx.eq=", 'ctx.eq="=x"'), ("(ctx.n=", "ctx.n=1.5")]:
        open_box(browser)
        browser.js("document.getElementById('q').value = arguments[0]", "" if typed == "a b" else typed)
        if typed == "a b":
            type_in(browser, "ctx.a", taken)
            continue
        type_in(browser, Keys.END + Keys.ARROW_DOWN, taken)
        browser.keys(Keys.ARROW_DOWN)
        at = options(browser).index(taken)
        browser.keys(Keys.ARROW_DOWN * at + Keys.ENTER + Keys.ENTER)
        loaded(browser, "location.search.includes('q=')", "the search")
        assert sorted(messages(browser)) == ["odd one", "odd two"], typed


def test_suggestions_fit_a_phone_and_a_click_takes_one(browser):
    browser.look(390)
    open_box(browser)
    type_in(browser, "fra", "vps:fra-1")
    assert browser.js("return document.documentElement.scrollWidth") <= 390
    next(o for o in browser.driver.find_elements(By.CSS_SELECTOR, "#suggestions li")
         if o.text.startswith("vps:fra-1")).click()
    assert browser.js("return document.getElementById('q').value") == "vps:fra-1 "
    assert browser.js("return document.activeElement.id") == "q"


def test_searches_are_remembered_in_the_browser_and_can_be_cleared(browser):
    browser.open("/logs")
    browser.js("localStorage.clear()")
    for q in ("first one", "level:error", "first one"):
        browser.open("/logs", q=q)
        started(browser, ".box")
    browser.open("/logs", range="6h")
    started(browser, ".box")
    find(browser, ".history summary").click()
    entries = browser.driver.find_elements(By.CSS_SELECTOR, ".history li a")
    assert [e.text for e in entries] == ["first one", "level:error"]
    entries[1].click()
    loaded(browser, "location.search.includes('level')", "the search of before")
    assert query_of(browser) == {"q": "level:error", "range": "6h"}
    open_box(browser)
    browser.keys(Keys.ARROW_DOWN)
    browser.wait("!document.getElementById('suggestions').hidden", "the searches of before")
    assert options(browser) == ["level:error", "first one"]
    browser.keys(Keys.ESCAPE)
    find(browser, ".history summary").click()
    find(browser, ".history button").click()
    assert find(browser, ".history .none").is_displayed()
    assert browser.js("return [localStorage.length, document.activeElement.tagName]") == [0, "SUMMARY"]


def test_without_scripts_nothing_stands_there_that_does_nothing(browser):
    browser.look(scripts=False)
    browser.open("/logs", q="timeout")
    assert not find(browser, ".history").is_displayed()
    assert browser.js("return document.getElementById('q').getAttribute('role')") is None
    find(browser, ".row summary").click()
    assert browser.driver.find_elements(By.CSS_SELECTOR, ".copy") == []
