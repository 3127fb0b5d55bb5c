"""Hostile peers of the channels that speak HTTP, over real sockets: a row a fault.

A row is a name, what the peer does, and what becomes of the message: "sent", "later" (it waits), "dead" (this
message is refused), "disabled" (so is its channel); then a text of the error. Rows of ALL are tried on each
kind, with that kind's own good answer where a row says GOOD.
"""
import email.utils
import gzip
import socket
import ssl
import time

import pytest
from certificates import make_authority, make_certificate
from harness import wait_for
from peers import HANG, READ, RESET, HttpPeer, Wait, answer
from watching import Watcher, add_channel, an_alert, evaluation, message, say, wait_tried, watch_role



def no(status, /, **body):
    """The answer of an API that refuses."""
    return [READ, answer(status, {"ok": False, **body})]


def raw(text, *more):
    return [READ, text.replace("\n", "\r\n").encode(), *more]


KINDS = {
    # kind: settings and secrets for a peer's address, its good answer
    "webhook": (lambda url: ({"url": url}, {"secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"}),
                answer(204, b"")),
    "slack": (lambda url: ({}, {"url": url}), answer(200, b"ok")),
    "slack bot": (lambda url: ({"channel": "#ops", "api_url": url}, {"token": "xoxb-1"}),
                  answer(200, {"ok": True, "ts": "1.2"})),
    "telegram": (lambda url: ({"chat_id": "-100", "api_url": url}, {"token": "123:abc"}),
                 answer(200, {"ok": True, "result": {"message_id": 5}})),
    "ntfy": (lambda url: ({"url": url, "topic": "ops"}, {"token": "tk_123456"}),
             answer(200, {"id": "abc", "event": "message"})),
    "pagerduty": (lambda url: ({"url": url}, {"routing_key": "R0123456789"}),
                  answer(202, {"status": "success", "dedup_key": "x"})),
}


def good(kind):
    return KINDS[kind][1]


def h2(kind, stream, payload):
    """A frame of HTTP/2, which nobody asked for."""
    return len(payload).to_bytes(3, "big") + bytes([kind, 0]) + stream.to_bytes(4, "big") + payload


def chunked(*chunks):
    return b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks)


def slowly(head, piece, times=60):
    return [READ, head, *[s for _ in range(times) for s in (piece, Wait(0.1))]]


GOOD = object()
BIG = b"x" * (1 << 20)
BOMB = gzip.compress(b"0" * (64 << 20))         # 64 MiB in 64 kB
GZIP = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(BOMB), BOMB)
SETTINGS, GOAWAY, RST_STREAM = h2(4, 0, b""), h2(7, 0, b"\0\0\0\0\0\0\0\1"), h2(3, 1, b"\0\0\0\7")
ALL = [
    # name, steps, becomes, error
    ("accepts", [READ, GOOD], "sent", ""),
    ("accepts slowly", [READ, Wait(0.5), GOOD], "sent", ""),
    ("answers byte by byte", "drip", "sent", ""),
    ("says 100 first", [READ, b"HTTP/1.1 100 Continue\r\n\r\n", GOOD], "sent", ""),
    ("says 103 first", [READ, b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", GOOD], "sent", ""),
    ("only says 100", [READ, b"HTTP/1.1 100 Continue\r\n\r\n"], "later", ""),
    ("hangs before it reads", [HANG], "later", "timed out"),
    ("hangs before it answers", [READ, HANG], "later", "timed out"),
    ("hangs in its headers", [READ, b"HTTP/1.1 200 OK\r\nX-A: ", HANG], "later", ""),
    ("closes at once", [], "later", ""),
    ("closes without an answer", [READ], "later", ""),
    ("resets at once", [RESET], "later", ""),
    ("resets behind the request", [READ, RESET], "later", ""),
    ("closes in its headers", [READ, b"HTTP/1.1 200 OK\r\nX-A: b"], "later", ""),
    ("speaks no HTTP", [READ, b"\x16\x03\x01garbage \xff\xfe\r\n\r\n"], "later", ""),
    ("speaks SMTP", [b"220 mail.test ESMTP\r\n", HANG], "later", ""),
    ("speaks HTTP 0.9", [READ, b"ok"], "later", ""),
    ("has endless headers", [READ, b"HTTP/1.1 200 OK\r\n", b"X-A: " + BIG + b"\r\n", HANG], "later", ""),
    ("has many headers", [READ, b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 100000, HANG], "later", ""),
    ("floods with 100", [READ, b"HTTP/1.1 100 Continue\r\n\r\n" * 100000, HANG], "later", "headers"),
    ("floods with 103", [READ, b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 50000, GOOD], "later",
     "headers"),
    ("says 100 for ever", slowly(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "later", "timed out"),
    ("says its headers for ever", slowly(b"HTTP/1.1 200 OK\r\nX-A: ", b"b"), "later", ""),
    ("switches the protocol", raw("HTTP/1.1 101 Switching Protocols\nUpgrade: h2c\n\n", SETTINGS, GOAWAY),
     "later", ""),
    ("ends HTTP/2 by GOAWAY", [READ, SETTINGS, GOAWAY], "later", ""),
    ("resets a stream of HTTP/2", [READ, SETTINGS, RST_STREAM, HANG], "later", ""),
    ("says GOAWAY before it reads", [SETTINGS, GOAWAY, HANG], "later", ""),
    ("packs its answer", raw("HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n0\n\n"), "later",
     "transfer coding"),
    ("lies about its length", [READ, b"HTTP/1.1 500 X\r\nContent-Length: -5\r\n\r\n"], "later", ""),
    ("has a broken chunk", raw("HTTP/1.1 500 X\nTransfer-Encoding: chunked\n\nzz\n"), "later", ""),
    ("has a negative chunk", raw("HTTP/1.1 500 X\nTransfer-Encoding: chunked\n\n-1\n"), "later", ""),
    ("has a huge chunk", raw("HTTP/1.1 500 X\nTransfer-Encoding: chunked\n\n" + "f" * 100), "later", ""),
    ("has two lengths", raw("HTTP/1.1 500 X\nContent-Length: 2\nContent-Length: 5\n\nabcde"), "later", ""),
    ("has a length that is too small", raw("HTTP/1.1 500 X\nContent-Length: 2\n\nabcdefgh"), "later",
     "status 500"),
    ("has a length that is too large", raw("HTTP/1.1 500 X\nContent-Length: 900\n\nabcdefgh"), "later",
     "status 500"),
    ("is endless in failing", raw("HTTP/1.1 500 X\nTransfer-Encoding: chunked\n\n", chunked(BIG) * 4, HANG),
     "later", "status 500"),
    ("is slow in failing", slowly(b"HTTP/1.1 500 X\r\nContent-Length: 900\r\n\r\n", b"x"), "later",
     "status 500"),
    ("fails with a bomb", [READ, b"HTTP/1.1 500 X\r\n" + GZIP], "later", "status 500"),
    ("is too large in failing", [READ, b"HTTP/1.1 500 X\r\nContent-Length: 1048576\r\n\r\n", BIG], "later",
     "status 500"),
    ("redirects", [READ, answer(302, b"", "Location: http://127.0.0.1:1/")], "later", "is not followed"),
    ("redirects to a file", [READ, answer(302, b"", "Location: file:///etc/passwd")], "later", "status 302"),
    ("redirects to itself for ever", [READ, answer(307, b"", "Location: /hook")], "later", "status 307"),
    ("redirects with a login", [READ, answer(303, b"", "Location: http://me:pw@127.0.0.1:1/")], "later",
     "status 303"),
    ("redirects to nowhere", [READ, answer(302, b"")], "later", "status 302"),
    ("redirects to metadata", [READ, answer(307, b"", "Location: http://169.254.169.254/")], "later",
     "status 307"),
    ("has moved for ever", [READ, answer(308, b"", "Location: /elsewhere")], "later", "status 308"),
    ("is busy", [READ, answer(429, b"slow down")], "later", "status 429"),
    ("times out itself", [READ, answer(408, b"")], "later", "status 408"),
    ("fails", [READ, answer(500, b"boom")], "later", "boom"),
    ("has a bad gateway", [READ, answer(502, b"<html>bad</html>")], "later", "status 502"),
    ("is in repair", [READ, answer(503, b"")], "later", "status 503"),
    ("has a slow gateway", [READ, answer(504, b"")], "later", "status 504"),
    ("has no room", [READ, answer(507, b"")], "later", "status 507"),
    ("is too early", [READ, answer(425, b"")], "later", "status 425"),
    ("says 999", [READ, answer(999, b"")], "later", ""),
    ("finds it too large", [READ, answer(413, b"")], "dead", "status 413"),
    ("repeats control characters", [READ, answer(500, b"a\x1b[31m\x00\x9b\xe2\x80\xaeb")], "later",
     "status 500"),
]
# A page of some other program says 200, too; only who proves that it is the peer has accepted.
PROVEN = [
    ("is a login page", [READ, answer(200, b"<html>please log in</html>")], "later",
     "not as it does"),
    ("says nothing", [READ, answer(200, b"")], "later", "not as it does"),
    ("says null", [READ, answer(200, b"null")], "later", "not as it does"),
    ("says deep JSON", [READ, answer(200, b"[" * 5000)], "later", "not as it does"),
    ("says other JSON", [READ, answer(200, {"hello": 1})], "later", "not as it does"),
    ("has packed its answer", [READ, b"HTTP/1.1 200 OK\r\n" + GZIP], "later", "not as it does"),
    ("accepts without end", raw("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", chunked(BIG) * 4, HANG),
     "later", "not as it does"),
    ("cuts its JSON", raw("HTTP/1.1 200 OK\nContent-Length: 500\n\n{\"ok\": tr"), "later", "not as it does"),
]
OWN = {
    "webhook": [
        ("is gone", [READ, answer(410, b"")], "disabled", "status 410"),
        ("does not know us", [READ, answer(401, b"who?")], "later", "who?"),
        ("is being rolled out", [READ, answer(404, b"")], "later", "status 404"),
        ("finds it wrong", [READ, answer(422, b"bad")], "later", "status 422"),
        ("is forbidden by somebody between", [READ, answer(403, b"blocked")], "later", "blocked"),
        ("finds a conflict", [READ, answer(409, b"")], "later", "status 409"),
        ("has packed its answer", [READ, b"HTTP/1.1 200 OK\r\n" + GZIP], "sent", ""),
        ("accepts without a body", [READ, answer(202, b"")], "sent", ""),
        ("accepts, then says nothing more", raw("HTTP/1.1 200 OK\nContent-Length: 5\n\n", HANG), "sent", ""),
        ("accepts with garbage", raw("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nzz\n"), "sent", ""),
        ("says a lot", [READ, b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n", BIG], "sent", ""),
        ("has accepted, then closes", raw("HTTP/1.1 200 OK\nContent-Length: 500\n\nhalf"), "sent", ""),
    ],
    "slack": [
        ("has no such hook", [READ, answer(404, b"no_service")], "disabled", "no_service"),
        ("has archived the channel", [READ, answer(410, b"channel_is_archived")], "disabled", "archived"),
        ("forbids", [READ, answer(403, b"invalid_token")], "disabled", "invalid_token"),
        ("finds it wrong", [READ, answer(400, b"invalid_payload")], "dead", "invalid_payload"),
        ("limits", [READ, answer(429, b"rate_limited", "Retry-After: 30")], "later", "rate_limited"),
        ("has no text", [READ, answer(400, b"no_text")], "dead", "no_text"),
        *((f"says {word}", [READ, answer(status, word)], "disabled", word) for status, word in (
            (400, "no_service"), (404, "no_service_id"), (404, "no_team"), (403, "action_prohibited"),
            (400, "user_not_found"), (404, "channel_not_found"), (400, "channel_is_archived"),
            (403, "posting_to_general_channel_denied"), (404, "no_active_hooks"), (403, "team_disabled"))),
        ("fails to roll up", [READ, answer(500, b"rollup_error")], "later", "rollup_error"),
        ("refuses with 200", [READ, answer(200, b"invalid_token")], "later", "not as it does"),
        ("says ok as JSON", [READ, answer(200, {"ok": True})], "sent", ""),
        ("says ok, and not all of it", raw("HTTP/1.1 200 OK\nContent-Length: 900\n\nok"), "sent", ""),
        ("is a page with ok in it", [READ, answer(200, b"<p>all is ok</p>")], "later", "not as it does"),
    ],
    "slack bot": [
        ("knows no such token", no(200, error="invalid_auth"), "disabled",
         "invalid_auth"),
        ("knows no such channel", no(200, error="channel_not_found"), "disabled",
         "channel_not_found"),
        ("was not invited", no(200, error="not_in_channel"), "disabled", "not_in"),
        ("is limited", no(200, error="ratelimited"), "later", "ratelimited"),
        ("is limited by status", no(429, error="ratelimited"), "later", "ratelimited"),
        *((f"says {word}", no(200, error=word), "disabled", word) for word in (
            "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope",
            "no_permission", "is_archived", "restricted_action_read_only_channel", "ekm_access_denied",
            "cannot_dm_bot", "not_allowed_token_type", "team_access_not_granted", "messages_tab_disabled")),
        *((f"says {word}", no(200, error=word), "dead", word) for word in (
            "no_text", "invalid_arguments", "invalid_json")),
        *((f"says {word}", no(200, error=word), "later", word) for word in (
            "fatal_error", "service_unavailable", "team_added_to_org", "request_timeout", "never_heard_of")),
        ("finds it too long", no(200, error="msg_too_long"), "dead", "too_long"),
        ("fails inside", no(200, error="internal_error"), "later", "internal_error"),
    ],
    "telegram": [
        ("knows no such bot", no(401, description="Unauthorized"), "disabled",
         "Unauthorized"),
        ("has no such address", no(404, description="Not Found"), "disabled",
         "Not Found"),
        ("was blocked", no(403, description="Forbidden: bot was kicked"),
         "disabled", "kicked"),
        ("knows no such chat", no(400, description="Bad Request: chat not found"),
         "disabled", "chat not found"),
        *((f"says {words}", no(400 if words.startswith("Bad") else 403, description=words), "disabled", words)
          for words in (
            "Forbidden: bot was blocked by the user", "Forbidden: user is deactivated",
            "Forbidden: bot is not a member of the channel chat", "Bad Request: CHAT_WRITE_FORBIDDEN",
            "Bad Request: have no rights to send a message", "Bad Request: PEER_ID_INVALID",
            "Bad Request: TOPIC_CLOSED", "Bad Request: need administrator rights in the channel chat",
            "Bad Request: message thread not found",
            "Bad Request: group chat was deactivated", "Bad Request: CHANNEL_PRIVATE")),
        ("finds it too long", no(400, description="Bad Request: message is too long"), "dead", "too long"),
        ("finds no text", no(400, description="Bad Request: message text is empty"), "dead", "is empty"),
        ("fails inside", no(500, description="Internal Server Error"), "later", "Internal"),
        ("was blocked, says a proxy", no(200, error_code=403, description="Forbidden: bot was blocked"),
         "disabled", "blocked"),
        ("is no, and not why", no(200), "later", "not as it does"),
        ("can't parse", no(400, description="Bad Request: can't parse entities"),
         "dead", "can't parse"),
        ("wants patience", no(429, description="retry after 34", parameters={"retry_after": 34}), "later",
         "retry after 34"),
        ("moves the chat for ever", no(400, description="upgraded", parameters={"migrate_to_chat_id": -1}),
         "dead", "upgraded"),
    ],
    "ntfy": [
        ("wants a login", no(401, error="unauthorized"), "disabled",
         "unauthorized"),
        ("forbids the topic", no(403, error="forbidden"), "disabled", "forbidden"),
        ("finds it wrong", no(400, error="invalid"), "dead", "invalid"),
        ("limits", no(429, error="limit reached"), "later", "limit reached"),
        ("limits the day", no(429, code=42908, http=429, error="limit reached: too many messages"), "later",
         "too many messages"),
        ("knows no such topic", no(400, code=40009, error="invalid request: topic invalid"), "disabled",
         "topic invalid"),
        ("disallows the topic", no(400, code=40010, error="invalid request: topic name is disallowed"),
         "disabled", "disallowed"),
        ("has no such address", no(404, code=40401, error="page not found"), "disabled", "not found"),
        ("finds its JSON too large", no(413, code=41303, error="JSON body too large"), "dead", "too large"),
        ("finds no JSON", no(400, code=40017, error="request body must be message JSON"), "dead", "JSON"),
        ("is full", no(507, code=50701, error="insufficient storage"), "later", "insufficient"),
        ("fails inside", no(500, code=50001, error="internal server error"), "later", "internal"),
    ],
    "pagerduty": [
        ("knows no such key", no(400, status="invalid event", errors=["Invalid routing key"]), "disabled",
         "Invalid routing key"),
        ("finds it wrong", no(400, status="invalid event", errors=["no 'summary'"]), "dead", "summary"),
        ("limits as it did of old", [READ, answer(403, b"")], "later", "status 403"),
        ("is limited", [READ, answer(429, b"")], "later", "status 429"),
        ("has no such address", [READ, answer(404, b"")], "disabled", "status 404"),
        ("reads no JSON", [READ, answer(400, b"Bad Request")], "dead", "status 400"),
        ("accepts with 200", [READ, answer(200, {"status": "success"})], "sent", ""),
    ],
}
TLS = [
    # what is wrong with the certificate, or the handshake
    ("is trusted", "good", "sent"),
    ("has a certificate of another host", "other", "later"),
    ("has an old certificate", "old", "later"),
    ("has a certificate of an unknown authority", "nobodys", "later"),
    ("has signed itself", "own", "later"),
    ("speaks HTTP/2 alone", "h2", "later"),
    ("speaks no TLS", None, "later"),
]


def rows():
    for kind in KINDS:
        for row in ALL + (PROVEN if kind != "webhook" else []) + OWN[kind]:
            yield f"{kind}: {row[0]}", kind, *row[1:]


def script(kind, steps):
    if steps == "drip":
        return [READ, *[s for byte in good(kind) for s in (bytes([byte]), Wait(0.002))]]
    return [good(kind) if s is GOOD else s for s in steps]


@pytest.fixture(scope="module")
def world(cluster, tmp_path_factory):
    """One database and one watcher for all rows."""
    database = cluster.new_database()
    watch_role(database)
    evaluation(database)
    folder = tmp_path_factory.mktemp("tls")
    make_authority(folder)
    make_authority(folder, "nobody")
    make_certificate(folder, "good", "localhost")
    make_certificate(folder, "other", "other.test")
    make_certificate(folder, "old", "localhost", days="-1")
    make_certificate(folder, "nobodys", "localhost", ca="nobody")
    make_authority(folder, "own")
    watcher = Watcher(folder / "w", database, ca_file=folder / "ca.crt", delivery_timeout_s=3, parallel=64)
    watcher.start()
    with HttpPeer() as news:
        add_channel(database, "news", "webhook", {"url": news.url})     # is told of disabled channels
        yield database, folder
        watcher.kill()
        database.drop()


def becomes(row, database):
    disabled = database.one("SELECT disabled_reason FROM channels WHERE channel_id = %s", row["channel_id"])
    return ("disabled" if disabled else "dead" if row["dead_at"] else "sent" if row["sent_at"] else "later",
            disabled or row["last_error"] or "")


@pytest.fixture(scope="module")
def outcomes(world):
    """All rows at once, each with its own peer: name -> (connections, row of the
    message, what it became, error)."""
    database, _ = world
    peers, ids, found = {}, {}, {}
    for name, kind, steps, *_ in rows():
        peers[name] = HttpPeer([script(kind, steps)])
        settings, secrets = KINDS[kind][0](peers[name].url)
        add_channel(database, name, kind.split()[0], settings, secrets)
        ids[name] = say(database, name, alerts=[an_alert()])
    for name, peer in peers.items():
        wait_tried(database, ids[name])
        accepted = peer.accepted
        row = message(database, ids[name])
        found[name] = accepted, row, *becomes(row, database)
        peer.stop()
        database.query("UPDATE channels SET disabled_at = now() WHERE name = %s", name)
    return found


@pytest.mark.parametrize("name, what, said", [pytest.param(n, w, s, id=n) for n, _, _, w, s in rows()])
def test_watch_fault(outcomes, name, what, said):
    connections, row, became, error = outcomes[name]
    assert became == what and said in error, f"{became}: {error}"
    assert connections <= row["attempts"] + ("moves the chat" in name)  # nothing is sent twice by itself
    assert what != "sent" or connections == 1
    assert not any(c < " " for c in row["last_error"] or "")


ASKS = [
    # name, status, what the peer asks for, seconds that the watcher waits: at least, at most
    ("for 120 s", 429, "120", 118, 122),
    ("in repair for 120 s", 503, "120", 118, 122),
    ("for less than the back-off", 429, "1", 2, 6),
    ("for a year", 429, "31536000", 86390, 86401),
    ("for more than a number", 429, "9" * 40, 2, 86401),
    ("for what has passed", 429, "-5", 2, 6),
    ("for nothing", 429, "0", 2, 6),
    ("for garbage", 429, "soon", 2, 6),
    ("until a date", 503, "DATE", 110, 130),
    ("until a date that has passed", 429, "Wed, 21 Oct 2015 07:28:00 GMT", 2, 6),
]


@pytest.fixture(scope="module")
def waits(world):
    """What Retry-After asks for, of each kind: seconds to the next try of the message and of its channel."""
    database, _ = world
    peers, ids, found = {}, {}, {}
    for kind in KINDS:
        for name, status, asks, *_ in ASKS:
            date = email.utils.formatdate(time.time() + 120, usegmt=True)
            asks = f"Retry-After: {date if asks == 'DATE' else asks}"
            peer = peers[kind, name] = HttpPeer([[READ, answer(status, b"later", asks)]])
            settings, secrets = KINDS[kind][0](peer.url)
            add_channel(database, f"{kind} asks {name}", kind.split()[0], settings, secrets)
            ids[kind, name] = say(database, f"{kind} asks {name}")
    for key, peer in peers.items():
        wait_tried(database, ids[key])
        found[key], = database.query("""SELECT extract(epoch FROM not_before - failed_at)::float8,
                extract(epoch FROM retry_at - failed_at)::float8
            FROM notifications JOIN channel_state USING (channel_id)
            WHERE notification_id = %s""", ids[key])
        peer.stop()
        database.query("UPDATE channels SET disabled_at = now() WHERE name = %s", f"{key[0]} asks {key[1]}")
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name, least, most", [pytest.param(r[0], *r[3:], id=r[0]) for r in ASKS])
def test_watch_fault_retry_after(waits, kind, name, least, most):
    assert all(least <= s <= most for s in waits[kind, name]), waits[kind, name]


def test_watch_fault_a_chat_that_moved_is_written_to_at_its_new_number(world):
    """At once, and once; the channel has the number from then on. Also by retry_after of the body alone."""
    database, _ = world
    moved = answer(400, {"ok": False, "error_code": 400, "parameters": {"migrate_to_chat_id": -1001}})
    with HttpPeer([[READ, moved], [READ, good("telegram")]]) as peer:
        add_channel(database, "moves", "telegram", {"chat_id": "-5", "api_url": peer.url}, {"token": "1:a"})
        row = wait_tried(database, say(database, "moves"))
        chats = [r.json["chat_id"] for r in peer.requests]
    assert row["sent_at"] and chats == ["-5", "-1001"]
    assert database.one("SELECT settings ->> 'chat_id' FROM channels WHERE name = 'moves'") == "-1001"


def test_watch_fault_a_refusal_for_ever_is_told_through_another_channel(world):
    """The news names the channel and the reason, and the message itself goes to the fallback."""
    database, _ = world
    gone = [READ, answer(403, {"ok": False, "description": "Forbidden: bot was blocked by the user"})]
    with HttpPeer([gone]) as peer, HttpPeer() as other:
        add_channel(database, "other", "webhook", {"url": other.url})
        add_channel(database, "blocked", "telegram", {"chat_id": "5", "api_url": peer.url}, {"token": "1:a"},
                    fallback="other")
        row = wait_tried(database, say(database, "blocked"))
        wait_for(lambda: len(other.requests) == 2, "the message and the news")
        bodies = [r.json for r in other.requests]
        assert len(peer.requests) == 1 and row["dead_at"]
    news, = [b for b in bodies if b["type"] == "channel"]
    moved, = [b for b in bodies if b["type"] == "alerts.firing"]
    assert news["data"]["channel"] == "blocked" and "blocked by the user" in news["data"]["reason"]
    assert moved["data"]["instead_of"] == "blocked" and "blocked by the user" in moved["data"]["instead_why"]


def test_watch_fault_a_redirect_leads_nowhere_else(world):
    """Neither its address nor what a login there would be is ever asked; nor is TLS left."""
    database, folder = world
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "good.crt", folder / "good.key")
    with HttpPeer() as elsewhere:
        to = f"Location: http://me:pw@127.0.0.1:{elsewhere.port}/"
        with HttpPeer([[READ, answer(308, b"", to)]], context) as peer:
            add_channel(database, "leads on", "webhook", {"url": f"https://localhost:{peer.port}/"},
                        {"authorization": "Bearer hush"})
            row = wait_tried(database, say(database, "leads on"))
        assert "is not followed" in row["last_error"] and elsewhere.accepted == 0 and peer.accepted == 1


@pytest.mark.parametrize("url, said", [
    ("http://nowhere.invalid/", "resolve"), ("http://256.1.1.1/", ""), ("http://[::1]:9/", ""),
    ("http://a.b-.invalid/", "")])
def test_watch_fault_a_name_that_leads_nowhere(world, url, said):
    database, _ = world
    add_channel(database, url, "webhook", {"url": url})
    row = wait_tried(database, say(database, url))
    assert becomes(row, database)[0] == "later" and said in row["last_error"] and row["last_error"]


@pytest.mark.parametrize("certificate, what", [pytest.param(*row[1:], id=row[0]) for row in TLS])
def test_watch_fault_tls(world, request, certificate, what):
    database, folder = world
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        chain = "good" if certificate == "h2" else certificate
        context.load_cert_chain(folder / f"{chain}.crt", folder / f"{chain}.key")
        context.set_alpn_protocols(["h2"] if certificate == "h2" else ["http/1.1"])
    with HttpPeer([[READ, SETTINGS + GOAWAY]] if certificate == "h2" else None, context) as peer:
        name = request.node.callspec.id
        add_channel(database, name, "webhook", {"url": f"https://localhost:{peer.port}/"})
        row = wait_tried(database, say(database, name))
        assert becomes(row, database)[0] == what, row["last_error"]
        assert bool(peer.requests) == (what == "sent") or certificate == "h2"


def test_watch_fault_nobody_listens(world):
    database, _ = world
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        add_channel(database, "nobody", "webhook", {"url": f"http://127.0.0.1:{bound.getsockname()[1]}/"})
        row = wait_tried(database, say(database, "nobody"))
    assert becomes(row, database)[0] == "later" and row["last_error"]
