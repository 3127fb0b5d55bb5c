"""The watcher from the outbox to its peer: leading, delivery, commands."""
import base64
import hashlib
import hmac
import json
import subprocess
import time

import pytest
from harness import wait_for
from peers import HANG, READ, HttpPeer, answer
from watching import (WATCH, Watcher, add_channel, an_alert, evaluation, message, say, wait_sent, wait_tried,
                      watch_role)


def add_hook(database, peer, name="hook", **more):
    return add_channel(database, name, "webhook", {"url": peer.url}, **more)


def test_a_message_reaches_its_webhook_signed(watched, make_watcher):
    key = b"0123456789abcdef01234567"
    with HttpPeer() as peer:
        add_hook(watched, peer, secrets={"secret": "whsec_" + base64.b64encode(key).decode()})
        sent = say(watched, "hook", labels={"app": "shop"})
        make_watcher(public_url="https://hub.test/").start()
        wait_sent(watched, sent)
        (request,) = peer.requests
    body, headers = request.json, request.headers
    assert request.method == "POST" and headers["webhook-id"] == sent == headers["idempotency-key"]
    signed = f"{sent}.{headers['webhook-timestamp']}.".encode() + request.body
    assert headers["webhook-signature"] == "v1," + base64.b64encode(
        hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 120
    assert body["type"] == "alerts.firing" and body["data"]["notification_id"] == sent
    assert body["data"]["title"] == "CRITICAL: cpu high, web-1"
    (alert,) = body["data"]["alerts"]
    assert alert["value"] == 97.25 and alert["threshold"] == 95
    assert alert["url"] == f"https://hub.test/alerts/{an_alert()['alert_id']}"
    assert alert["lines"] == ["ERROR first", "ERROR second", "ERROR third"]


def test_only_one_watcher_leads_and_the_other_takes_over_within_10_s(watched, make_watcher):
    with HttpPeer() as peer:
        add_hook(watched, peer)
        first = make_watcher().start().leads()
        second = make_watcher().start()
        second.wait_said("started")
        wait_sent(watched, say(watched, "hook"))
        assert "leads from now on" not in second.said()
        first.kill()
        killed = time.monotonic()
        second.leads()
        assert time.monotonic() - killed < 10
        wait_sent(watched, say(watched, "hook"))
        assert len(peer.requests) == 2


def test_once_delivers_what_is_due_and_ends(watched, make_watcher):
    with HttpPeer() as peer:
        add_hook(watched, peer)
        ids = [say(watched, "hook", alerts=[an_alert(n)]) for n in range(5)]
        done = make_watcher().run("--once")
        assert {r.headers["webhook-id"] for r in peer.requests} == set(ids)
    assert done.returncode == 0, done.stderr


def test_a_database_that_goes_away_loses_no_outcome(own_cluster, tmp_path):
    """The peer accepts while the database is away: after its return the message is not sent again."""
    database = own_cluster.new_database()
    watch_role(database)
    with HttpPeer(lambda n: [READ, lambda: own_cluster.stop("immediate"), answer()]) as peer:
        add_hook(database, peer)
        sent = say(database, "hook")
        watcher = Watcher(tmp_path / "w", database).start()
        try:
            watcher.wait_said("the database does not answer")
            database.close()
            own_cluster.start()
            wait_sent(database, sent)
            assert len(peer.requests) == 1
        finally:
            watcher.kill()


def test_test_says_what_the_peer_answers(watched, make_watcher):
    with HttpPeer() as good, HttpPeer([[READ, answer(503, "down for repair")]]) as bad:
        add_hook(watched, good, "good")
        add_hook(watched, bad, "bad")
        watcher = make_watcher()
        done = watcher.run("test", "good")
        assert (done.returncode, done.stdout) == (0, "good: the peer has accepted the test\n"), done.stderr
        assert good.requests[0].json["type"] == "test"
        done = watcher.run("test", "bad")
        assert done.returncode == 1 and "status 503: down for repair" in done.stdout
        done = watcher.run("test", "nobody")
        assert done.returncode == 1 and 'there is no channel "nobody"' in done.stderr


def test_a_ping_follows_each_evaluation(watched, make_watcher):
    with HttpPeer() as switch:
        watcher = make_watcher(ping_url=switch.url).start()
        wait_for(lambda: len(switch.requests) > 1, "two pings")
        assert switch.requests[0].method == "GET"
        evaluation(watched, "SELECT jsonb_build_object('x', 1 / 0)")
        watcher.wait_said("alerts are not evaluated")
        count = len(switch.requests)
        with HttpPeer() as peer:
            add_hook(watched, peer)
            wait_sent(watched, say(watched, "hook"))        # a failed evaluation stops no delivery
        assert len(switch.requests) <= count + 1


def test_sigterm_lets_what_is_under_way_end(watched, make_watcher):
    released = []
    with HttpPeer(lambda n: [READ, lambda: wait_for(lambda: released, "release"), answer()]) as peer:
        add_hook(watched, peer)
        sent = say(watched, "hook")
        watcher = make_watcher().start()
        wait_for(lambda: peer.requests, "the request")
        watcher.process.terminate()
        released.append(True)
        assert watcher.process.wait(15) == 0
        assert message(watched, sent)["sent_at"]


@pytest.mark.parametrize("text, said", [
    ("", "has no database_url"), ("database_url = x y\n", "database_url"),
    ("evaluate_evry_s = 1\n", "did you mean evaluate_every_s"), ("parallel = 0\n", "from 1 to 64"),
    ("public_url = ftp://x\n", "public_url"),
    ("local_peers = some\n", "refuse|mail|allow"), ("x\n", "no '='")])
def test_a_wrong_setting_is_named(tmp_path, text, said):
    config = tmp_path / "watch.conf"
    config.write_text(text)
    done = subprocess.run([WATCH, "--config", config, "--check-config"], text=True, capture_output=True)
    assert done.returncode == 78 and said in done.stderr, done.stderr


STARTS = [   # settings, "{url}" is a good database_url; arguments; exit code; what is said in one sentence
    ("database_url = {url}\nca_file = /nosuch.pem", [], 78, "ca_file: /nosuch.pem: No such file"),
    (None, [], 78, "is not there; fleet_hub_admin setup writes it, or use --config FILE"),
    ("folder", [], 78, "is a folder; give the file of settings by --config FILE"),
    ("database_url = {url}", ["--onse"], 2, "unknown option --onse (did you mean --once?)"),
    ("database_url = {url}", ["docter"], 2, "unknown command docter (did you mean doctor?)"),
    ("database_url = {url}", ["test"], 2, "test needs the name of a channel"),
    ("database_url = host=127.0.0.1 port=1 dbname=x", ["--once"], 69, "Connection refused"),
    ("database_url = host=/nosuch dbname=x", ["--once"], 69, "No such file or directory"),
    ("database_url = host=no.such.invalid dbname=x", ["--once"], 69, "no address for no.such.invalid"),
    ("database_url = postgresql://h:123456/x", ["--once"], 78, "has a port that is not 1 to 65535"),
    ("database_url = {url}x", ["--once"], 69, 'x\\" does not exist'),
    ("database_url = {socket} user=nobody_there dbname=postgres", ["--once"], 69, "does not exist"),
    ("database_url = {socket} user=postgres dbname=postgres", ["--once"], 69, "run schema.sql of this"),
    ("database_url = {stranger}", ["--once"], 69, "GRANT observ_watch TO the login of database_url"),
]


@pytest.mark.parametrize("text, arguments, code, said", STARTS)
def test_a_mistake_at_the_start_is_one_sentence(watched, tmp_path, text, arguments, code, said):
    url = watched.url("watch")
    config = tmp_path / "watch.conf"
    if text == "folder":
        config.mkdir()
    elif text:
        config.write_text(text.format(url=url, socket=url.split()[0], stranger=watched.url("agents")))
    done = subprocess.run([WATCH, "--config", config, *arguments], text=True, capture_output=True, timeout=30)
    lines = [line for line in done.stderr.splitlines() if '"level":"INFO"' not in line]
    assert done.returncode == code and len(lines) == 1 and said in lines[0], (done.returncode, done.stderr)


def test_the_kinds_in_the_database_are_those_of_the_program(watched):
    printed = json.loads(subprocess.run([WATCH, "--print-kinds"], capture_output=True, check=True).stdout)
    rows = watched.query("SELECT to_jsonb(k) FROM channel_kinds k ORDER BY kind")
    assert sorted(printed, key=lambda k: k["kind"]) == [row for row, in rows]


@pytest.mark.parametrize("local, url, said", [
    ("mail", "http://127.0.0.1:{port}/", "this machine's own"),
    ("mail", "http://localhost:{port}/", "this machine's own"),
    ("mail", "http://[::1]:{port}/", "this machine's own"),
    ("mail", "http://[::ffff:127.0.0.1]:{port}/", "this machine's own"),
    ("mail", "http://0.0.0.0:{port}/", "this machine's own"),
    ("mail", "http://2130706433:{port}/", "this machine's own"),
    ("allow", "http://169.254.169.254/latest/meta-data/", "cloud metadata"),
    ("allow", "http://2852039166/", "cloud metadata"), ("allow", "http://0xa9fea9fe/", "cloud metadata"),
    ("allow", "http://169.254.170.2/", "cloud metadata"),
    ("allow", "http://100.100.100.200/", "cloud metadata"),
    ("allow", "http://[fd00:ec2::254]/", "cloud metadata"), ("allow", "http://[fe80::1]/", "cloud metadata"),
    ("allow", "http://[64:ff9b::169.254.169.254]/", "cloud metadata"),
    ("allow", "http://[::ffff:169.254.169.254]/", "cloud metadata"),
    ("allow", "file:///etc/passwd", "url"), ("allow", "gopher://127.0.0.1:{port}/", "url"),
    ("allow", "http://127.0.0.1:{port}/\r\nX: y", "control character")])
def test_a_channel_leads_to_no_address_of_this_machine_or_its_cloud(watched, make_watcher, local, url, said):
    with HttpPeer() as peer:
        add_channel(watched, "hook", "webhook", {"url": url.format(port=peer.port)})
        done = make_watcher(local_peers=local).run("test", "hook")
        assert done.returncode == 1 and said in done.stdout, done.stdout + done.stderr
        assert not peer.requests


def test_a_summary_that_repeats_itself_for_ever_stays_as_it_is(watched, make_watcher):
    """An operator writes summaries, and the watcher has one thread."""
    bomb = "{{#lines}}" * 22 + "{{/lines}}" * 22
    with HttpPeer() as peer:
        add_hook(watched, peer, "hook")
        make_watcher().start()
        wait_sent(watched, say(watched, "hook", alerts=[
            an_alert(summary=bomb, lines=["a"] * 10),
            an_alert(summary="{{severity}} {{labels.note}}", labels={"note": "{{channel}}{{severity}}"})]))
        summaries = [a["summary"] for a in json.loads(peer.requests[0].body)["data"]["alerts"]]
    assert summaries == [bomb, "critical {{channel}}{{severity}}"], "and a value is no template"


def test_a_secret_is_in_no_error_and_no_log(watched, make_watcher):
    secret = "tok-9f8e7d6c5b4a"
    with HttpPeer([[READ, answer(401, {"ok": False, "description": f"bad token {secret}"})]]) as peer:
        add_channel(watched, "chat", "telegram", {"chat_id": "1", "api_url": peer.url.removesuffix("/hook")},
                    {"token": secret})
        watcher = make_watcher().start()
        row = wait_tried(watched, say(watched, "chat"))
        watcher.wait_said("message not delivered")
        assert secret in peer.requests[0].path
    assert "bad token ***" in row["last_error"] and secret not in row["last_error"] + watcher.said()


def test_a_peer_that_hangs_holds_up_no_other_channel(watched, make_watcher):
    with HttpPeer([[READ, HANG]]) as hung, HttpPeer() as good:
        add_hook(watched, hung, "hung")
        add_hook(watched, good, "good")
        make_watcher(delivery_timeout_s=30, parallel=2).start()
        stuck = say(watched, "hung")
        wait_for(lambda: hung.requests, "the request that hangs")
        for _ in range(20):
            wait_sent(watched, say(watched, "good"))
        assert message(watched, stuck)["sent_at"] is None
