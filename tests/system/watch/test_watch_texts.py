"""What each kind of channel says, and how it goes on: honest peers."""
import json
import time
import uuid
from email.utils import formatdate

import pytest
from harness import wait_for
from peers import READ, HttpPeer, answer
from watching import add_channel, an_alert, message, retry_now, say, wait_sent, wait_tried

OK = {"ok": True, "status": "success", "id": "1", "result": {}}


def deliver(watched, make_watcher, kind, settings, secrets=None, script=None, messages=(), **keys):
    """Send the messages (arguments of say()), one after the other; returns the requests and rows."""
    with HttpPeer(script or [[READ, answer(200, OK)]]) as peer:
        place = {k: v.format(url=peer.url) for k, v in settings.items()}
        secrets = {k: v.format(url=peer.url) for k, v in (secrets or {}).items()}
        add_channel(watched, "it", kind, place, secrets)
        make_watcher(public_url="https://hub.test", **keys).start()
        ids = [say(watched, "it", **m) for m in messages]
        for sent in ids:
            wait_for(lambda: retry_now(watched) or message(watched, sent)["sent_at"], "the message", 30)
        return peer.requests, [message(watched, sent) for sent in ids]


MARKUP = {"rule": "<b>a & b</b> *x* \"q\" `c`"}


def test_slack_by_webhook_escapes_its_three_signs(watched, make_watcher):
    requests, _ = deliver(watched, make_watcher, "slack", {}, {"url": "{url}"}, [[READ, answer(200, b"ok")]],
                          [{"alerts": [an_alert(**MARKUP)]}])
    text = requests[0].json["text"]
    assert text.startswith("*CRITICAL: &lt;b&gt;a &amp; b&lt;/b&gt; *x* \"q\" `c`, web-1*\n")
    for line in ("value 97.25, threshold &gt; 95", "since 2026-03-01 12:00:00 UTC", "server web-1",
                 "&gt; ERROR third"):
        assert line.replace("&gt; ERROR", "> ERROR") in text, text
    assert "ERROR fourth" not in text and f"https://hub.test/alerts/{an_alert()['alert_id']}" in text


def mail_body(watched, make_watcher, **content):
    """The text of a message, as ntfy gets it."""
    requests, _ = deliver(watched, make_watcher, "ntfy", {"url": "{url}", "topic": "ops"}, None, None,
                          [content])
    return requests[0].json["message"]


def test_a_text_says_values_with_units_the_reason_and_who_has_it(watched, make_watcher):
    text = mail_body(watched, make_watcher, alerts=[an_alert(
        subject={"app": "shop", "server": "web-1"}, value=1, value_text="1 failure", threshold=3,
        threshold_text="3 failures", detail="503 Service Unavailable", problem="no data", flapping=True,
        acked_by="ann@example.com", ack_note="I look")])
    for line in ("value 1 failure, threshold > 3 failures", "503 Service Unavailable", "now: no data",
                 "server web-1, app shop", "acknowledged by ann@example.com: I look",
                 "It fires again and again. You hear of it when it is stable."):
        assert f"\n{line}\n" in text, text
    assert "reminder" not in text and "ended" not in text


def test_the_whole_fleet_has_no_place(watched, make_watcher):
    text = mail_body(watched, make_watcher, alerts=[an_alert(subject={}, labels={
        "rule": "cpu high", "severity": "critical", "team": "ops"})])
    assert "\nteam ops\n" in text and "severity" not in text, text


def test_a_state_has_no_threshold(watched, make_watcher):
    text = mail_body(watched, make_watcher, alerts=[an_alert(value=2, value_text="offline", threshold=2,
                                                             threshold_text=None)])
    assert "\nvalue offline\n" in text, text


def test_a_text_says_why_an_alert_ended_what_had_passed_and_that_it_is_a_reminder(watched, make_watcher):
    gone = an_alert(1, status="resolved", resolved_at="2026-03-01T13:00:00+00:00",
                    ended="the server was retired")
    over = an_alert(2, status="resolved", resolved_at="2026-03-01T12:05:00+00:00")
    text = mail_body(watched, make_watcher, alerts=[an_alert(3), gone], passed=[over], reason="repeat")
    for line in ("A reminder: this is still so.", "It ended because the server was retired.",
                 "cpu high, web-2 fired and ended before this message, from 2026-03-01 12:00:00 UTC"
                 " to 2026-03-01 12:05:00 UTC"):
        assert f"{line}\n" in text + "\n", text


def test_slack_as_a_bot_names_its_channel(watched, make_watcher):
    requests, _ = deliver(watched, make_watcher, "slack", {"channel": "#ops", "api_url": "{url}"},
                          {"token": "xoxb-1"}, None, [{}])
    assert requests[0].path == "/hook/chat.postMessage" and requests[0].json["channel"] == "#ops"
    assert requests[0].headers["authorization"] == "Bearer xoxb-1"


def test_telegram_splits_a_long_text_behind_escaping_and_goes_on_where_it_stopped(watched, make_watcher):
    """The second piece fails once: the first is not sent again."""
    alerts = [an_alert(n, summary=f"{n} " + "<&>" * 90 + " 🔥") for n in range(30)]
    requests, (row,) = deliver(
        watched, make_watcher, "telegram", {"chat_id": "-100", "thread_id": "7", "api_url": "{url}"},
        {"token": "1:a"}, lambda n: [READ, answer(502, b"") if n == 1 else answer(200, OK)],
        [{"alerts": alerts}])
    texts = [r.json["text"] for r in requests]
    assert len(texts) >= 4 and texts[1] == texts[2] and row["attempts"] == 2
    del texts[1]
    assert all(len(t.encode("utf-16-le")) // 2 <= 4096 for t in texts)
    assert all(t.count("&") == t.count(";") for t in texts)             # no piece ends within an entity
    whole = "".join(texts)
    assert whole.startswith("<b>CRITICAL: cpu high, web-0 (and 29 more)</b>")
    assert "&lt;&amp;&gt;" in whole and "<&>" not in whole
    assert all(r.json["chat_id"] == "-100" and r.json["message_thread_id"] == "7" for r in requests)
    assert requests[0].path == "/hook/bot1:a/sendMessage"


def test_telegram_follows_a_chat_to_its_new_number(watched, make_watcher):
    moved = {"ok": False, "description": "Bad Request: group chat was upgraded to a supergroup chat",
             "parameters": {"migrate_to_chat_id": -1001234567890}}
    requests, _ = deliver(watched, make_watcher, "telegram", {"chat_id": "-5", "api_url": "{url}"},
                          {"token": "1:a"},
                          lambda n: [READ, answer(400, moved) if n == 0 else answer(200, OK)], [{}, {}])
    assert [r.json["chat_id"] for r in requests] == ["-5", "-1001234567890", "-1001234567890"]
    assert watched.one("SELECT settings ->> 'chat_id' FROM channels") == "-1001234567890"


def test_ntfy_has_title_priority_and_a_click(watched, make_watcher):
    many = [an_alert(n, summary="x" * 300) for n in range(40)]
    requests, _ = deliver(watched, make_watcher, "ntfy", {"url": "{url}", "topic": "ops"}, {"token": "tk_1"},
                          None, [{"alerts": many}, {"kind": "resolved"}])
    first, second = (r.json for r in requests)
    assert first["topic"] == "ops" and first["priority"] == 5 and first["click"] == "https://hub.test/alerts"
    assert len(first["message"].encode()) < 4096 and first["message"].endswith("the rest is left out")
    assert second["priority"] == 3 and second["title"].startswith("RESOLVED: ")
    assert requests[0].headers["authorization"] == "Bearer tk_1"


def test_pagerduty_has_an_event_for_each_alert_and_resolves_it(watched, make_watcher):
    group = str(uuid.uuid4())
    alerts = [an_alert(1), an_alert(2, severity="warning"), an_alert(3, status="resolved")]
    requests, _ = deliver(watched, make_watcher, "pagerduty", {"url": "{url}"}, {"routing_key": "R1"},
                          [[READ, answer(202, OK)]], [{"alerts": alerts, "group": group},
                                                      {"kind": "resolved", "group": group}])
    events = [r.json for r in requests]
    assert [e["event_action"] for e in events] == ["trigger", "trigger", "resolve", "resolve"]
    assert [e["dedup_key"] for e in events] == [a["key"] for a in alerts] + [alerts[0]["key"]]
    assert events[0]["payload"]["severity"] == "critical" and events[1]["payload"]["severity"] == "warning"
    assert events[0]["payload"]["source"] == "web-1" and events[0]["routing_key"] == "R1"
    assert events[0]["payload"]["custom_details"]["value"] == 97.25


@pytest.mark.parametrize("header, least", [("Retry-After: 100", 95), ("date", 95), ("Retry-After: 1e9", 0),
                                           ("Retry-After: -5", 0), ("Retry-After: soon", 0)])
def test_retry_after_is_honoured_in_seconds_and_as_a_date(watched, make_watcher, header, least):
    if header == "date":
        header = f"Retry-After: {formatdate(time.time() + 110, usegmt=True)}"
    with HttpPeer([[READ, answer(429, b"slow down", header)]]) as peer:
        add_channel(watched, "it", "webhook", {"url": peer.url})
        make_watcher().start()
        row = wait_tried(watched, say(watched, "it"))
        waits, gate = watched.query("""SELECT extract(epoch FROM not_before - now())::float8,
            extract(epoch FROM retry_at - now())::float8
            FROM notifications JOIN channel_state USING (channel_id)
            WHERE notification_id = %s""", row["notification_id"])[0]
    assert least <= waits <= 130 and least <= gate <= 130


def test_telegrams_own_retry_after_is_honoured(watched, make_watcher):
    late = {"ok": False, "description": "Too Many Requests", "parameters": {"retry_after": 77}}
    with HttpPeer([[READ, answer(429, late)]]) as peer:
        add_channel(watched, "it", "telegram", {"chat_id": "1", "api_url": peer.url}, {"token": "1:a"})
        make_watcher().start()
        row = wait_tried(watched, say(watched, "it"))
        assert 60 < watched.one("""SELECT extract(epoch FROM retry_at - now())::float8 FROM channel_state
            WHERE channel_id = %s""", row["channel_id"]) <= 77


def test_fault_41_a_target_that_was_down_gets_all_and_no_flood(watched, make_watcher):
    """Down for an hour (time passes by moving it), with 500s, hangs and resets; then it is back."""
    down = [[READ, answer(500, b"")], [], [READ, answer(429, b"", "Retry-After: 2")],
            [READ, answer(503, b"")]]
    state = {"down": True}
    with HttpPeer(lambda n: down[n % len(down)] if state["down"] else [READ, answer()]) as peer:
        add_channel(watched, "it", "webhook", {"url": peer.url})
        make_watcher().start()
        groups = [str(uuid.uuid4()) for _ in range(10)]
        for _ in range(12):
            failed = watched.one("SELECT coalesce(max(failures), 0) FROM channel_state")
            for n, group in enumerate(groups):
                say(watched, "it", alerts=[an_alert(n)], group=group)
            retry_now(watched)
            # The outcome of a try sets the next wait: none may be under way when that is taken away.
            watched.wait("SELECT failures > %s AND NOT EXISTS (SELECT FROM notifications"
                         " WHERE taken_until IS NOT NULL) FROM channel_state", failed)
            watched.query("UPDATE notifications SET made_at = made_at - interval '5 minutes'")
        before = peer.accepted
        assert before <= 12 * 3                         # one message at a time tries, not each of them
        state["down"] = False
        retry_now(watched)
        watched.wait("SELECT count(*) = 0 FROM notifications WHERE sent_at IS NULL AND dead_at IS NULL")
        back = [r for r in peer.requests[-(peer.accepted - before):]]
        told = {a["alert_id"] for r in back for a in json.loads(r.body)["data"]["alerts"]}
    assert told == {an_alert(n)["alert_id"] for n in range(10)} and len(back) <= 20
    assert watched.count("notifications", "dead_at IS NOT NULL AND replaced_by IS NULL") == 0


def test_a_disabled_channel_speaks_through_its_fallback(watched, make_watcher):
    with HttpPeer() as good, HttpPeer([[READ, answer(410, b"gone")]]) as gone:
        add_channel(watched, "good", "webhook", {"url": good.url})
        add_channel(watched, "gone", "webhook", {"url": gone.url}, fallback="good")
        make_watcher().start()
        say(watched, "gone")
        wait_for(lambda: len(good.requests) == 2, "the message and the news")
        by_type = {r.json["type"]: r.json["data"] for r in good.requests}
        assert by_type["channel"]["channel"] == "gone" and "status 410: gone" in by_type["channel"]["reason"]
        assert by_type["alerts.firing"]["instead_of"] == "gone"
        wait_sent(watched, say(watched, "good"))
    assert len(gone.requests) == 1
