"""Hostile mail servers over real sockets: a row a fault. Rows as in test_watch_faults_http.py."""
import ssl

import pytest
from certificates import make_authority, make_certificate
from peers import HANG, RESET, HttpPeer, SmtpPeer, Wait
from watching import (Watcher, add_channel, evaluation, message, retry_now, say, wait_sent, wait_tried,
                      watch_role)


def no(code, text="5.0.0 no"):
    return [f"{code} {text}\r\n".encode()]


def lines(code, *texts):
    """An answer of several lines."""
    *first, last = texts
    return ["".join([*(f"{code}-{text}\r\n" for text in first), f"{code} {last}\r\n"]).encode()]


def slowly(text, times=60):
    return [s for _ in range(times) for s in (text, Wait(0.1))]


STAGES = {"EHLO": "EHLO", "MAIL": "MAIL", "RCPT": "RCPT", "DATA": "DATA", ".": "the text"}
ROWS = [
    # name, what the server says instead, becomes, error, further settings
    ("accepts", {}, "sent", ""),
    ("accepts slowly", {"": [Wait(0.5), b"220 hello\r\n"], ".": [Wait(0.5), b"250 ok\r\n"]}, "sent", ""),
    ("greets in many lines", {"": [b"220-a\r\n220-b\r\n220 c\r\n"]}, "sent", ""),
    ("closes at once", {"": []}, "later", ""),
    ("closes instead of a greeting", {"": [RESET]}, "later", ""),
    ("hangs before its greeting", {"": [HANG]}, "later", "time"),
    ("speaks HTTP", {"": [b"HTTP/1.1 400 Bad Request\r\n\r\n", HANG]}, "later", ""),
    ("greets with garbage", {"": [b"\x16\x03\x01\x00\xff\xfe\r\n", HANG]}, "later", ""),
    ("greets for ever", {"": [b"220-x\r\n" * 200000, HANG]}, "later", ""),
    ("has a line without an end", {"": [b"220 " + b"x" * (1 << 20), HANG]}, "later", ""),
    ("is not in service", {"": no(554, "no service")}, "later", ""),
    ("is busy", {"": no(421, "too busy")}, "later", ""),
    ("closes behind EHLO", {"EHLO": [RESET]}, "later", ""),
    ("hangs behind EHLO", {"EHLO": [HANG]}, "later", "time"),
    ("refuses EHLO for now", {"EHLO": no(450)}, "later", ""),
    ("refuses EHLO", {"EHLO": no(550)}, "later", ""),
    ("refuses the sender for now", {"MAIL": no(451, "4.3.0 later")}, "later", "451"),
    ("refuses the sender", {"MAIL": no(550, "5.7.1 not yours")}, "disabled", "not yours"),
    ("wants a login", {"MAIL": no(530, "5.7.0 authentication required")}, "disabled", "authentication"),
    ("hangs behind MAIL", {"MAIL": [HANG]}, "later", "time"),
    ("closes behind MAIL", {"MAIL": [RESET]}, "later", ""),
    ("refuses the recipient for now", {"RCPT": no(450, "4.2.0 greylisted")}, "later", "greylisted"),
    ("is full for the recipient", {"RCPT": no(452, "4.2.2 mailbox full")}, "later", "mailbox full"),
    ("knows no recipient", {"RCPT": no(550, "5.1.1 no such user")}, "disabled", "no such user"),
    ("closes with 421 at the recipient", {"RCPT": no(421, "closing")}, "later", "421"),
    ("hangs behind RCPT", {"RCPT": [HANG]}, "later", "time"),
    ("refuses DATA for now", {"DATA": no(451)}, "later", "451"),
    ("refuses DATA", {"DATA": no(554, "5.6.0 no")}, "dead", "554"),
    ("closes behind DATA", {"DATA": [RESET]}, "later", ""),
    ("refuses the text for now", {".": no(452, "4.3.1 disk full")}, "later", "disk full"),
    ("refuses the text", {".": no(554, "5.7.1 looks like spam")}, "dead", "looks like spam"),
    ("hangs behind the text", {".": [HANG]}, "later", "time"),
    ("closes behind the text", {".": [RESET]}, "later", ""),
    ("says 999", {"RCPT": no(999, "what")}, "later", ""),
    ("says other than UTF-8", {"RCPT": [b"550 caf\xe9 \x1b[31m\xe2\x80\xae\r\n"]}, "disabled", "caf"),
    ("says a very long line", {"RCPT": [b"550 " + b"x" * 900 + b"\r\n"]}, "disabled", "xxx"),
    ("accepts all but QUIT", {"QUIT": [HANG]}, "sent", ""),
    ("closes instead of an answer to QUIT", {"QUIT": [RESET]}, "sent", ""),
    ("refuses QUIT", {"QUIT": no(421, "busy")}, "sent", ""),
    ("answers in many lines", {"MAIL": lines(250, "a", "b", "c"), "RCPT": lines(250, "a", "b"),
                               ".": lines(250, "a", "b", "c")}, "sent", ""),
    ("answers byte by byte", {"": [b"2", Wait(0.1), b"20 hello\r", Wait(0.1), b"\n"]}, "sent",
     ""),
    ("ends its lines with LF alone", {"": [b"220 hi\n"], "MAIL": [b"250 ok\n"], ".": [b"250 ok\n"]}, "sent",
     ""),
    ("greets byte by byte for ever", {"": slowly(b"2")}, "later", "time"),
    ("says its recipient's answer for ever", {"RCPT": slowly(b"250-x\r\n")}, "later", "time"),
    ("refuses in many lines", {"RCPT": lines(550, "5.1.1 no such user", "ask Ann", "bye")}, "disabled",
     "550 5.1.1 no such user ask Ann bye"),
    ("answers with two codes", {"RCPT": [b"250-fine\r\n550 no such user\r\n"]}, "disabled", "no such user"),
    ("has a reply that is too long", {"RCPT": [b"550 " + b"x" * (1 << 20) + b"\r\n", HANG]}, "later", ""),
    ("closes in its refusal", {"RCPT": [b"550-5.1.1 no such\r\n", RESET]}, "later", ""),
    ("has too many lines of a reply", {"RCPT": [b"550-x\r\n" * 200000, HANG]}, "later", ""),
    ("has answered before it is asked", {"": [b"220 a\r\n250 b\r\n250 c\r\n354 d\r\n", HANG]}, "later", ""),
    *((f"closes with 421 at {name}", {command: no(421, "4.3.2 going down")}, "later", "")
      for command, name in STAGES.items()),
    *((f"is short of memory at {name}", {command: no(451, "4.3.0 no memory")}, "later", "")
      for command, name in STAGES.items()),
    *((f"does not know {name}", {command: no(500, "5.5.1 what?")}, "later", "")
      for command, name in STAGES.items() if command != "EHLO"),
    *((f"ends behind {name}", {command: []}, "later", "") for command, name in STAGES.items()),
    ("finds the mail too large at once", {"MAIL": no(552, "5.3.4 message too big")}, "dead", "too big"),
    ("finds the mail too large", {".": no(552, "5.3.4 message too big")}, "dead", "too big"),
    ("is full, as of old", {"RCPT": no(552, "5.2.2 mailbox full")}, "later", "mailbox full"),
    ("relays for nobody", {"RCPT": no(554, "5.7.1 relay access denied")}, "disabled", "relay access"),
    ("wants TLS first", {"MAIL": no(530, "5.7.0 STARTTLS first")}, "disabled", "STARTTLS"),
    ("takes no parameters", {"MAIL": no(555, "5.5.4 unsupported option")}, "disabled", "unsupported"),
    ("greylists the text", {".": no(450, "4.7.1 greylisted, try again")}, "later", "greylisted"),
    ("says 250 instead of 354", {"DATA": no(250, "fine")}, "later", ""),
]
TLS = [
    # name, certificate, scheme, what the server says instead, further settings, becomes, error
    ("STARTTLS", "good", "smtp", {}, {}, "sent", ""),
    ("smtps", "good", "smtps", {}, {}, "sent", ""),
    ("STARTTLS was stripped", None, "smtp", {}, {}, "later", ""),
    ("STARTTLS is refused", "good", "smtp", {"STARTTLS": no(454, "4.7.0 not now")}, {}, "later", ""),
    ("STARTTLS begins no TLS", "good", "smtp", {"STARTTLS": [b"220 a\r\n", b"220 b\r\n", HANG]}, {}, "later",
     ""),
    ("a certificate of another host", "other", "smtp", {}, {}, "later", ""),
    ("a certificate of an unknown authority", "nobodys", "smtp", {}, {}, "later", ""),
    ("an old certificate over smtps", "old", "smtps", {}, {}, "later", ""),
    ("a login", "good", "smtp", {}, {"user": "me"}, "sent", ""),
    ("a wrong password", "good", "smtp", {"AUTH": no(535, "5.7.8 wrong")}, {"user": "me"}, "disabled",
     "wrong"),
    ("a login of a kind that nobody knows", "good", "smtp", {"EHLO": [b"250-a\r\n250 AUTH GSSAPI\r\n"]},
     {"user": "me", "tls": "none"}, "later", ""),
    ("no login is asked for", "good", "smtp", {"EHLO": [b"250 a\r\n"]}, {"user": "me", "tls": "none"}, "sent",
     ""),
    ("a login that is too weak", "good", "smtp", {"AUTH": no(534, "5.7.9 too weak")}, {"user": "me"},
     "disabled", "too weak"),
    ("a login that closes", "good", "smtp", {"AUTH": no(421, "4.7.0 too many")}, {"user": "me"}, "later",
     "421"),
    ("a certificate that its server signed itself", "own", "smtps", {}, {}, "later", ""),
    ("TLS that hangs", "good", "smtp", {"STARTTLS": [b"220 go on\r\n", HANG]}, {}, "later", ""),
    ("a login that fails for now", "good", "smtp", {"AUTH": no(454, "4.7.0 late")}, {"user": "me"}, "later",
     ""),
]


@pytest.fixture(scope="module")
def world(cluster, tmp_path_factory):
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
        add_channel(database, "news", "webhook", {"url": news.url})
        yield database, folder
        watcher.kill()
        database.drop()


def add_mail(database, name, url, to="ann@example.com", password=None, **settings):
    add_channel(database, name, "mail", {"url": url, "from": "observ@example.com", "to": to, **settings},
                {"password": password} if password else {})


def becomes(row, database):
    disabled = database.one("SELECT disabled_reason FROM channels WHERE channel_id = %s", row["channel_id"])
    return ("disabled" if disabled else "dead" if row["dead_at"] else "sent" if row["sent_at"] else "later",
            disabled or row["last_error"] or "")


def context(folder, certificate):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / f"{certificate}.crt", folder / f"{certificate}.key")
    return made


@pytest.fixture(scope="module")
def outcomes(world):
    """All rows at once, each with its own server."""
    database, folder = world
    peers, ids, found = {}, {}, {}
    for name, says, *_ in ROWS:
        peers[name] = SmtpPeer(says)
        add_mail(database, name, peers[name].url(), tls="none")
    for name, certificate, scheme, says, settings, *_ in TLS:
        peers[name] = SmtpPeer(says, context(folder, certificate) if certificate else None, scheme == "smtps",
                               password="pass-word-1" if settings else None)
        url = f"{scheme}://localhost:{peers[name].port}"
        add_mail(database, name, url, password="pass-word-1", **settings)
    for name in peers:
        ids[name] = say(database, name)
    for name, peer in peers.items():
        wait_tried(database, ids[name])
        mails, accepted = len(peer.mails), peer.accepted
        row = message(database, ids[name])
        found[name] = peer, mails, accepted, row, *becomes(row, database)
        peer.stop()
        database.query("UPDATE channels SET disabled_at = now() WHERE name = %s", name)
    return found


CASES = [pytest.param(row[0], row[-2], row[-1], id=row[0]) for row in ROWS + TLS]


@pytest.mark.parametrize("name, what, said", CASES)
def test_watch_fault_mail(outcomes, name, what, said):
    peer, mails, connections, row, became, error = outcomes[name]
    assert became == what and said in error, f"{became}: {error}"
    assert connections <= row["attempts"]
    assert what != "sent" or (mails, connections) == (1, 1)
    assert "pass-word-1" not in error and not any(c < " " for c in error)
    if name in ("STARTTLS was stripped", "STARTTLS is refused"):
        assert not any(c.startswith(("MAIL", "AUTH")) for c in peer.commands)   # nothing in clear text


def test_a_mail_whose_answer_was_lost_is_sent_again_as_the_same(world):
    """The server may have taken it: it knows the second one by its Message-ID."""
    database, _ = world
    with SmtpPeer({".": lambda n, honest: [honest, RESET] if n else [b"2", RESET]}) as peer:
        add_mail(database, "lost", peer.url(), tls="none")
        sent = say(database, "lost")
        row = wait_tried(database, sent)
        assert row["sent_at"] is None and row["progress"] == {}
        retry_now(database)
        wait_sent(database, sent)
        first, second = peer.parsed()
    assert first["Message-ID"] == second["Message-ID"] == f"<{sent}.0@example.com>"
    assert first.get_content() == second.get_content()


@pytest.mark.parametrize("address", ["jörg@example.com", "ann@bücher.example"])
def test_an_address_beyond_ascii_is_refused_before_anything_is_sent(world, address):
    """No mail server is asked for SMTPUTF8."""
    database, _ = world
    with SmtpPeer() as peer:
        add_mail(database, address, peer.url(), address, tls="none")
        row = wait_tried(database, say(database, address))
        assert becomes(row, database)[0] == "disabled" and peer.accepted == 0
    assert address in row["last_error"] and "xn--" in row["last_error"]


def test_one_recipient_that_is_refused_is_not_all_others(world):
    database, _ = world
    says = {"RCPT b@example.com": no(550, "5.1.1 gone"), "RCPT c@example.com": no(450, "4.2.0 greylisted")}
    with SmtpPeer(says) as peer:
        to = "a@example.com, b@example.com,c@example.com;d@example.com"
        add_mail(database, "many", peer.url(), to, tls="none")
        sent = say(database, "many")
        row = wait_tried(database, sent)
        assert row["sent_at"] is None and row["progress"] == {"accepted": ["a@example.com", "d@example.com"],
                                                              "refused": ["b@example.com"]}
        del says["RCPT c@example.com"]
        database.query("UPDATE channel_state SET retry_at = NULL")
        database.query("UPDATE notifications SET not_before = now() WHERE notification_id = %s", sent)
        row = wait_tried(database, sent, attempts=2)
        assert row["sent_at"] and row["progress"]["refused"] == ["b@example.com"]
        assert [to for _, to, _ in peer.mails] == ["a@example.com", "d@example.com", "c@example.com"]


def test_a_mail_is_as_the_standards_want_it(world):
    """RFC 5322, 2047, 2045, 3834: parsed by Python, and line by line."""
    database, _ = world
    nasty = "Überlast\r\nBcc: evil@example.com\n.\n..\r\n=?UTF-8?Q?x?= \u202e\x07 ende " + "日本" * 60
    alert = {"alert_id": "1", "rule": nasty, "summary": nasty, "status": "firing", "severity": "critical",
             "labels": {"a\r\nX-Evil: 1": "b"}, "value": 1, "threshold": 2, "op": ">",
             "lines": [".", "From here", "x" * 2000 + "\x1b[0m"]}
    with SmtpPeer() as peer:
        add_mail(database, "nice", peer.url(), tls="none")
        group = "6b3e0b62-0000-4000-8000-000000000001"
        first = say(database, "nice", alerts=[alert], group=group)
        second = say(database, "nice", "resolved", alerts=[{**alert, "status": "resolved"}], group=group)
        wait_tried(database, first)
        wait_tried(database, second)
        mails, (_, _, raw) = peer.parsed(), peer.mails[0]
    lines = raw.split(b"\r\n")
    assert b"\n" not in raw.replace(b"\r\n", b"") and b"\r" not in raw.replace(b"\r\n", b"")
    assert max(map(len, lines)) <= 78 and all(c < 0x7f for line in lines for c in line)
    mail = mails[0]
    assert mail["Bcc"] is None and mail["X-Evil"] is None and not mail.defects
    assert mail["Subject"].startswith("CRITICAL: Überlast  Bcc: evil@example.com . ..")
    assert "日本日本" in mail["Subject"]
    assert mail["Auto-Submitted"] == "auto-generated" and mail["From"] == "Observ <observ@example.com>"
    assert mail["Message-ID"] == f"<{first}.0@example.com>"
    assert mail["References"] == mails[1]["References"] == f"<group.{group}@example.com>"
    assert mail["Message-ID"] != mails[1]["Message-ID"] and mail["Date"].datetime
    body = mail.get_content()
    assert "\n> .\n> From here\n> xxx" in body.replace("\r", "") and "value 1, threshold > 2" in body
    assert "\x1b" not in body and mails[1]["Subject"].startswith("RESOLVED: ")


@pytest.mark.parametrize("settings, said", [
    ({"url": "http://x/"}, "smtp://HOST"), ({"url": "smtp://a@b"}, "smtp://HOST"),
    ({"from": "nobody"}, "from"),
    ({"to": "x"}, "not an address"), ({"to": "a@b\r\nDATA"}, "control character"),
    ({"to": "<a@b>"}, "not an address"), ({"to": "ü@example.com"}, "not an address"),
    ({"tls": "maybe"}, "required"), ({"to": " , "}, "nobody"),
    ({"from": "a@b>\r\nRCPT TO:<c@d"}, "control character")])
def test_a_wrong_setting_of_a_mail_channel_is_named(world, settings, said, request):
    database, folder = world
    name = request.node.callspec.id
    good = {"url": "smtp://localhost:1", "from": "a@example.com", "to": "b@example.com"}
    add_channel(database, name, "mail", {**good, **settings})
    done = Watcher(folder / "test", database).run("test", name)
    assert done.returncode == 1 and said in done.stdout, done.stdout + done.stderr
