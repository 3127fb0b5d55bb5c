"""`make demo`: its example application stops, and the pages, a mail and a webhook say so; and when it is
back."""
import base64
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system/setup"))
from demo import Demo  # noqa: E402
from harness import BUILD, wait_for  # noqa: E402
from screenshots import THEMES, WIDTHS  # noqa: E402

# Three checks in 15 s, five of a rule and of a group each; the rest is for a busy machine.
ALERT_S = 90
ROW = "document.querySelector('.panel a[href$=\"/alerts/%s\"]')"


@pytest.fixture
def demo(cluster_dir):
    if not shutil.which("lighttpd", path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.skip("needs lighttpd")
    started = Demo(cluster_dir).start()
    yield started
    started.stop()


@pytest.fixture
def browser(demo, open_browser):
    return open_browser(demo)


def alerts_told(demo):
    """(type, alert) of what the webhook got about the check of the application."""
    bodies = [json.loads(p.read_text())["body"] for p in demo.messages("webhook")]
    return [(body["type"], alert) for body in bodies for alert in body["data"].get("alerts", [])
            if alert["rule"] == "Check down"]


def mails_about(demo, alert_id):
    return [p.read_text() for p in demo.messages("mail") if f"/alerts/{alert_id}" in p.read_text()]


def only_this_check(demo):
    """Neither how busy this machine is, nor the check that always fails."""
    demo.query("""UPDATE observ.alert_rules SET is_active = builtin = 'check',
        match = '[{"label": "check", "op": "!=", "value": "http://127.0.0.1:9/health"}]'""")


def look_at(browser, name, path):
    """At both widths, in both themes: a picture, no bar to scroll sideways, nothing in the console."""
    for width in WIDTHS:
        for theme in THEMES:
            browser.look(width, theme)
            browser.open(path)
            assert browser.js("return document.documentElement.scrollWidth") <= width, (name, width)
            assert not browser.console(), (name, width)
            folder = BUILD / "screenshots"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"demo-{name}-{width}-{theme}.png").write_bytes(
                base64.b64decode(browser.cdp("Page.captureScreenshot", format="png")["data"]))
    browser.look()


def words_of_fleet(browser):
    return browser.js("return document.querySelector('main').innerText")


def test_a_stopped_application_is_an_alert_and_messages_until_it_is_back(demo, browser):
    assert str(demo.data / "messages") in demo.said()
    only_this_check(demo)
    browser.open("/alerts")
    demo.command("stop-shop")
    kind, alert = wait_for(lambda: alerts_told(demo), "a message at the webhook", ALERT_S)[0]
    about = alert["alert_id"]
    assert kind == "alerts.firing" and alert["status"] == "firing" and alert["subject"]["app"] == "shop"
    mail, = wait_for(lambda: mails_about(demo, about), "the mail")
    assert "Check down" in mail and "CRITICAL" in mail

    browser.wait(ROW % about, "its row on the page that was open before")      # without a reload
    assert "critical" in browser.js(f"return {ROW % about}.closest('tr').innerText")
    assert browser.js("return document.title").startswith("(")
    look_at(browser, "alerts", "/alerts")
    look_at(browser, "alert", f"/alerts/{about}")
    look_at(browser, "fleet", "/")
    assert "alert: Check down" in words_of_fleet(browser)

    browser.open("/alerts")
    demo.command("start-shop")
    browser.wait(f"!{ROW % about}", "its row to go")
    wait_for(lambda: len(alerts_told(demo)) > 1, "the end at the webhook", ALERT_S)
    wait_for(lambda: len(mails_about(demo, about)) > 1, "the end in a mail")
    assert [(kind, a["status"], a["alert_id"]) for kind, a in alerts_told(demo)] == [
        ("alerts.firing", "firing", about), ("alerts.resolved", "resolved", about)]
    assert "RESOLVED" in mails_about(demo, about)[1] and len(mails_about(demo, about)) == 2
    browser.open("/alerts", state="resolved")
    assert "ended" in browser.js(f"return {ROW % about}.closest('tr').innerText")
    browser.open("/")
    assert "alert" not in words_of_fleet(browser)
