"""Hostile peers of the channels that speak HTTP, over real sockets: a row a fault.

A row is a name, what the peer does, and what becomes of the message: "sent", "later" (it waits), "dead" (this
message is refused), "disabled" (so is its channel); then a text of the error. Rows of ALL are tried on each
kind, with that kind's own good answer where a row says GOOD.
"""
import socket
import ssl

import pytest
from certificates import make_authority, make_certificate
from peers import HANG, READ, RESET, HttpPeer, Wait, answer
from watching import Watcher, add_channel, an_alert, evaluation, message, say, wait_tried, watch_role



def no(code, **body):
    """The answer of an API that refuses."""
    return [READ, answer(code, {"ok": False, **body})]


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


GOOD = object()
BIG = b"x" * (1 << 20)
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
    ("packs its answer", raw("HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n0\n\n"), "later",
     "transfer coding"),
    ("lies about its length", [READ, b"HTTP/1.1 500 X\r\nContent-Length: -5\r\n\r\n"], "later", ""),
    ("has a broken chunk", raw("HTTP/1.1 500 X\nTransfer-Encoding: chunked\n\nzz\n"), "later", ""),
    ("is too large in failing", [READ, b"HTTP/1.1 500 X\r\nContent-Length: 1048576\r\n\r\n", BIG], "later",
     "status 500"),
    ("redirects", [READ, answer(302, b"", "Location: http://127.0.0.1:1/")], "later", "status 302"),
    ("redirects to metadata", [READ, answer(307, b"", "Location: http://169.254.169.254/")], "later",
     "status 307"),
    ("has moved for ever", [READ, answer(308, b"", "Location: /elsewhere")], "later", "status 308"),
    ("is busy", [READ, answer(429, b"slow down")], "later", "status 429"),
    ("times out itself", [READ, answer(408, b"")], "later", "status 408"),
    ("fails", [READ, answer(500, b"boom")], "later", "boom"),
    ("has a bad gateway", [READ, answer(502, b"<html>bad</html>")], "later", "status 502"),
    ("is in repair", [READ, answer(503, b"")], "later", "status 503"),
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
    ("cuts its JSON", raw("HTTP/1.1 200 OK\nContent-Length: 500\n\n{\"ok\": tr"), "later", "not as it does"),
]
OWN = {
    "webhook": [
        ("is gone", [READ, answer(410, b"")], "disabled", "status 410"),
        ("does not know us", [READ, answer(401, b"who?")], "later", "who?"),
        ("is being rolled out", [READ, answer(404, b"")], "later", "status 404"),
        ("finds it wrong", [READ, answer(422, b"bad")], "later", "status 422"),
        ("says a lot", [READ, b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n", BIG], "sent", ""),
        ("has accepted, then closes", raw("HTTP/1.1 200 OK\nContent-Length: 500\n\nhalf"), "sent", ""),
    ],
    "slack": [
        ("has no such hook", [READ, answer(404, b"no_service")], "disabled", "no_service"),
        ("has archived the channel", [READ, answer(410, b"channel_is_archived")], "disabled", "archived"),
        ("forbids", [READ, answer(403, b"invalid_token")], "disabled", "invalid_token"),
        ("finds it wrong", [READ, answer(400, b"invalid_payload")], "dead", "invalid_payload"),
        ("limits", [READ, answer(429, b"rate_limited", "Retry-After: 30")], "later", "rate_limited"),
        ("is a page with ok in it", [READ, answer(200, b"<p>all is ok</p>")], "later", "not as it does"),
    ],
    "slack bot": [
        ("knows no such token", no(200, error="invalid_auth"), "disabled",
         "invalid_auth"),
        ("knows no such channel", no(200, error="channel_not_found"), "disabled",
         "channel_not_found"),
        ("was not invited", no(200, error="not_in_channel"), "disabled", "not_in"),
        ("is limited", no(200, error="ratelimited"), "later", "ratelimited"),
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
    ],
    "pagerduty": [
        ("knows no such key", no(400, status="invalid event", errors=["Invalid routing key"]), "disabled",
         "Invalid routing key"),
        ("finds it wrong", no(400, status="invalid event", errors=["no 'summary'"]), "dead", "summary"),
        ("forbids", [READ, answer(403, b"")], "disabled", "status 403"),
        ("is limited", [READ, answer(429, b"")], "later", "status 429"),
    ],
}
TLS = [
    # what is wrong with the certificate, or the handshake
    ("is trusted", "good", "sent"),
    ("has a certificate of another host", "other", "later"),
    ("has an old certificate", "old", "later"),
    ("has a certificate of an unknown authority", "nobodys", "later"),
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


@pytest.mark.parametrize("certificate, what", [pytest.param(*row[1:], id=row[0]) for row in TLS])
def test_watch_fault_tls(world, request, certificate, what):
    database, folder = world
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / f"{certificate}.crt", folder / f"{certificate}.key")
    with HttpPeer(context=context) as peer:
        name = request.node.callspec.id
        add_channel(database, name, "webhook", {"url": f"https://localhost:{peer.port}/"})
        row = wait_tried(database, say(database, name))
        assert becomes(row, database)[0] == what, row["last_error"]
        assert bool(peer.requests) == (what == "sent")


def test_watch_fault_nobody_listens(world):
    database, _ = world
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        add_channel(database, "nobody", "webhook", {"url": f"http://127.0.0.1:{bound.getsockname()[1]}/"})
        row = wait_tried(database, say(database, "nobody"))
    assert becomes(row, database)[0] == "later" and row["last_error"]
