"""No secret of a channel is shown, whatever its peer says and however often it repeats it."""
import base64
import json

import pytest
from harness import wait_for
from peers import READ, HttpPeer, SmtpPeer, answer
from watching import Watcher, add_channel, message, say, wait_tried

KEY = "k3yOfTheHookQx7Rw2Zt9Lm"
HOOK = f"/api/webhooks/1234567890123/{KEY}?wait={KEY}"
PASSWORD = "pass word/of=me"
LOGIN = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
PLAIN = base64.b64encode(f"\0me\0{PASSWORD}".encode()).decode()

ECHOES = [
    # what the peer repeats
    f"Cannot POST {HOOK}", f"no hook {KEY}", json.dumps({"error": f"no {HOOK}"}).replace("/", "\\/"),
    KEY.upper(), "".join(f"%{ord(c):02x}" for c in KEY), f"a\x00b{KEY}\x1b", "x" * 290 + KEY,
    "x" * 8185 + KEY * 2, f"/{KEY}" * 400 + KEY[:10], f"unknown header Authorization: Bearer {KEY}xyz"]


def shows(text):
    """As much of a secret as helps who sees it."""
    return any(s[i:i + 8].lower() in text.lower() for s in (KEY, PASSWORD, LOGIN, PLAIN)
               for i in range(len(s) - 8 + 1))


@pytest.fixture
def elsewhere(watched):
    """Another channel, which is told of what the first one does not take."""
    with HttpPeer() as peer:
        add_channel(watched, "news", "webhook", {"url": peer.url})
        yield peer


@pytest.mark.parametrize("kind", ["webhook", "slack", "slack bot", "telegram", "ntfy", "pagerduty"])
def test_what_a_peer_repeats_of_a_secret_is_not_shown(watched, make_watcher, elsewhere, kind):
    """In the database, the log, the messages to other channels, and by the commands."""
    peers = [HttpPeer([[READ, answer(404, text, "Retry-After: 1")]]) for text in ECHOES]
    for i, peer in enumerate(peers):
        base = f"http://127.0.0.1:{peer.port}"
        settings, secrets = {
            "webhook": ({}, {"url": f"http://me:{KEY}xyz@127.0.0.1:{peer.port}{HOOK}",
                             "authorization": f"Bearer {KEY}xyz"}),
            "slack": ({}, {"url": base + HOOK}),
            "slack bot": ({"channel": "#a", "api_url": base}, {"token": KEY}),
            "telegram": ({"chat_id": "1", "api_url": base}, {"token": f"123456:{KEY}"}),
            "ntfy": ({"url": base, "user": "me"}, {"topic": KEY, "password": PASSWORD}),
            "pagerduty": ({"url": base}, {"routing_key": KEY})}[kind]
        add_channel(watched, f"c{i}", kind.split()[0], settings, secrets, fallback="news")
    ids = [say(watched, f"c{i}") for i in range(len(ECHOES))]
    watcher = make_watcher(parallel=32).start()
    rows = [wait_tried(watched, one) for one in ids]
    if kind != "webhook":       # a webhook's 404 passes
        wait_for(lambda: len(elsewhere.requests) >= 2 * len(ECHOES), "news of each disabled channel")
    for peer in peers:
        peer.stop()
    assert all("status 404" in row["last_error"] or "repeats a secret" in row["last_error"] for row in rows)
    shown = watcher.said() + "".join(r.body.decode() for r in elsewhere.requests)
    shown += str(watched.query("SELECT disabled_reason FROM channels")) + str(rows)
    shown += str(watched.query("SELECT last_error FROM channel_state"))
    done = Watcher(watcher.folder, watched).run("doctor")
    assert not shows(shown + done.stdout + done.stderr), [i for i, row in enumerate(rows) if shows(str(row))]


def test_what_a_mail_server_repeats_of_a_login_is_not_shown(watched, make_watcher, elsewhere):
    texts = [f"5.7.8 {PLAIN} is no login", f"5.7.8 {'x' * 250}{PASSWORD}", f"5.7.8 {PASSWORD.upper()}",
             f"5.7.8 {base64.b64encode(PASSWORD.encode()).decode()}",
             f"5.7.8 first\r\n535-5.7.8 {PLAIN}\r\n535 5.7.8 last"]
    peers = [SmtpPeer({"AUTH": [f"535 {t}\r\n".replace("535 5.7.8 first", "535-5.7.8 first").encode()]},
                      password="x") for t in texts]
    for i, peer in enumerate(peers):
        add_channel(watched, f"m{i}", "mail", {
            "url": peer.url(), "from": "a@example.com", "to": "b@example.com", "user": "me", "tls": "none"},
            {"password": PASSWORD})
    ids = [say(watched, f"m{i}") for i in range(len(texts))]
    watcher = make_watcher(parallel=32).start()
    rows = [wait_tried(watched, one) for one in ids]
    for peer in peers:
        peer.stop()
    assert all("535" in row["last_error"] for row in rows)
    assert "first" in rows[-1]["last_error"] and "last" in rows[-1]["last_error"]   # all that it said
    assert not shows(watcher.said() + str(rows))


def test_a_test_by_the_command_shows_no_secret(watched, make_watcher):
    with HttpPeer([[READ, answer(410, f"gone: {HOOK}")]]) as peer:
        add_channel(watched, "hook", "webhook", {"url": f"http://127.0.0.1:{peer.port}{HOOK}"})
        done = make_watcher().run("test", "hook")
    assert done.returncode == 1 and "410" in done.stdout and not shows(done.stdout + done.stderr)
    assert not shows(str(message(watched, watched.one("SELECT notification_id FROM notifications"))))


def test_a_short_secret_hides_only_the_words_that_it_is(watched, make_watcher):
    peers = [HttpPeer([[READ, answer(507, {"error": f"no room for {word}"})]]) for word in ("oops", "ops.")]
    for i, peer in enumerate(peers):
        add_channel(watched, f"n{i}", "ntfy", {"url": f"http://127.0.0.1:{peer.port}", "topic": "ops"})
    ids = [say(watched, f"n{i}") for i in range(2)]
    make_watcher().start()
    said = [wait_tried(watched, one)["last_error"] for one in ids]
    for peer in peers:
        peer.stop()
    assert said == ["ntfy answered with status 507: no room for oops",
                    "ntfy answered with status 507: what was answered repeats a secret and is not shown"]


@pytest.mark.parametrize("settings, said", [
    ({"url": "https://me:pw@ntfy.example.com", "topic": "ops"}, "has a login"),
    ({"url": "https://ntfy.example.com/?auth=QmFzaWM", "topic": "t"}, "a query")])
def test_a_url_that_people_see_holds_no_secret(watched, make_watcher, settings, said):
    add_channel(watched, "it", "ntfy", settings)
    done = make_watcher().run("test", "it")
    assert done.returncode == 1 and said in done.stdout and "pw" not in done.stdout
