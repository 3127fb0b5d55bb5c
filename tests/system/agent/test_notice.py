"""The agent tells people by itself that its database is away: a real server that is stopped or hangs, a real
peer, and the same text as the watcher's."""
import base64
import hashlib
import hmac
import os
import signal
import sys
from pathlib import Path

import pytest
from harness import Cluster, Database, wait_for

sys.path.insert(0, str(Path(__file__).parents[1] / "watch"))
from peers import HANG, READ, RESET, HttpPeer, answer  # noqa: E402

SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()
OK = [READ, answer(204, b"")]


@pytest.fixture(scope="module")
def cluster_to_stop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("away")
    folder.chmod(0o755)
    cluster = Cluster(folder / "pg")
    cluster.start()
    yield cluster
    cluster.stop("immediate")


@pytest.fixture
def away(cluster_to_stop):
    """A cluster that is running when the test begins, and may be stopped."""
    yield cluster_to_stop
    if not (cluster_to_stop.folder / "data" / "postmaster.pid").exists():
        cluster_to_stop.launch()


@pytest.fixture
def db(away):
    return away.new_database()


def notify(peer, away_s=1, **settings):
    return {"channel": "webhook", "database_away": away_s,
            "settings": {"url": f"http://127.0.0.1:{peer.port}/hook", "secret": SECRET, **settings}}


def processes(cluster):
    pid = int((cluster.folder / "data" / "postmaster.pid").read_text().split()[0])
    return [pid] + [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def connected(agent):
    wait_for(lambda: agent.status()["connected"], "a connection")


def signed(request):
    """As https://www.standardwebhooks.com checks it."""
    head = request.headers
    text = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + request.body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    return head["webhook-signature"] == "v1," + base64.b64encode(
        hmac.new(key, text, hashlib.sha256).digest()).decode()


def watched(make_agent, db, peer):
    """An agent that is connected, and from then on waits for a second only: a start may take as long."""
    agent = make_agent(db, notify=notify(peer, away_s=600)).start()
    connected(agent)
    reconfigure(agent, db, peer)
    return agent


def reconfigure(agent, db, peer):
    agent.configure({"enabled": True, "vps_name": "test", "collection_interval": 10, "postgres_url": db.url(),
                     "notify": notify(peer)})
    assert agent.run("reload").returncode == 0


def messages(peer, count):
    """The first `count` requests, once they have come."""
    wait_for(lambda: len(peer.requests) >= count, f"{count} messages of the agent")
    return peer.requests[:count]


def kind(request):
    return request.json["type"]


def identity(request):
    return request.headers["webhook-id"]


def test_a_server_that_is_stopped_is_told_once_and_its_end_too(away, db, make_agent):
    with HttpPeer([OK]) as peer:
        agent = watched(make_agent, db, peer)
        rule = db.query("SELECT name, summary, labels, severity FROM alert_rules,"
                        " (SELECT 'critical' AS severity) s WHERE builtin = 'agent'")[0]
        away.stop()
        firing, = messages(peer, 1)
        assert kind(firing) == "alerts.firing" and signed(firing)
        alert = firing.json["data"]["alerts"][0]
        assert (alert["rule"], alert["summary"], alert["severity"]) == (rule[0], rule[1], rule[3])
        assert alert["subject"] == {"app": agent.app, "server": "test"}
        assert rule[2].items() <= alert["labels"].items()
        assert firing.json["data"]["title"] == f"CRITICAL: Agent silent, test {agent.app}"
        assert agent.status()["notify"]["told"] == "yes"
        away.launch()
        resolved = messages(peer, 2)[1]
        assert kind(resolved) == "alerts.resolved" and signed(resolved)
        assert resolved.json["data"]["alerts"][0]["alert_id"] == alert["alert_id"]
        assert identity(resolved) != identity(firing)
        connected(agent)
        assert agent.status()["notify"]["told"] == "no"
        assert len(peer.requests) == 2


def test_a_server_that_hangs_is_away_and_nothing_waits_for_it(away, db, make_agent):
    """Neither for the database nor for a peer that hangs, too."""
    with HttpPeer(lambda n: [READ, HANG] if n == 0 else OK) as peer:
        agent = watched(make_agent, db, peer)
        stopped = processes(away)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            firing, = messages(peer, 1)
            samples = agent.status()["pending"]
            wait_for(lambda: agent.status()["pending"] > samples, "samples while both hang")
        finally:
            for pid in reversed(stopped):
                os.kill(pid, signal.SIGCONT)
        connected(agent)
        wait_for(lambda: kind(peer.requests[-1]) == "alerts.resolved", "the end, since the peer may know")
        assert {kind(r): identity(r) for r in peer.requests}["alerts.firing"] == identity(firing)
        db.wait("SELECT count(*) > %s FROM vps_metrics", samples)


def test_a_peer_that_refuses_is_asked_again_and_takes_one_message(away, db, make_agent):
    script = [[READ, RESET], [READ, answer(503, b"later", "Retry-After: 1")], OK]
    with HttpPeer(script) as peer:
        agent = watched(make_agent, db, peer)
        away.stop()
        tries = messages(peer, 3)
        assert {kind(r) for r in tries} == {"alerts.firing"} and len({identity(r) for r in tries}) == 1
        assert len({r.body for r in tries}) == 1, "the same message"
        wait_for(lambda: agent.status()["notify"]["told"] == "yes", "its acceptance")
        away.launch()
        assert kind(messages(peer, 4)[3]) == "alerts.resolved"


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_restart_tells_nothing_twice(away, db, make_agent, end):
    with HttpPeer([OK]) as peer:
        agent = watched(make_agent, db, peer)
        away.stop()
        firing, = messages(peer, 1)
        wait_for(lambda: agent.status()["notify"]["told"] == "yes", "its acceptance")
        getattr(agent, end)()
        agent.start()
        assert agent.status()["notify"]["told"] == "yes"
        away.launch()
        resolved = messages(peer, 2)[1]
        assert kind(resolved) == "alerts.resolved"
        assert resolved.json["data"]["alerts"][0]["alert_id"] == firing.json["data"]["alerts"][0]["alert_id"]
        connected(agent)
        assert len(peer.requests) == 2


def test_a_message_whose_answer_a_restart_lost_comes_again_with_its_id(away, db, make_agent):
    with HttpPeer([[READ, HANG], OK]) as peer:
        agent = watched(make_agent, db, peer)
        away.stop()
        first, = messages(peer, 1)
        agent.kill()
        agent.start()
        second = messages(peer, 2)[1]
        assert kind(second) == "alerts.firing" and identity(second) == identity(first)
        assert second.json["data"]["alerts"][0]["since"] == first.json["data"]["alerts"][0]["since"]


def test_an_absence_that_nobody_was_told_of_has_no_end(away, db, make_agent):
    with HttpPeer([[READ, answer(503)]]) as peer:
        agent = watched(make_agent, db, peer)
        away.stop()
        messages(peer, 1)
        wait_for(lambda: "503" in agent.status()["notify"]["last_error"], "the refusal")
        away.launch()
        connected(agent)
        assert agent.status()["notify"]["told"] == "no"
        assert not (agent.folder / "state" / "notice").exists()
        assert {kind(r) for r in peer.requests} == {"alerts.firing"}


def test_a_channel_that_is_gone_is_left_alone_until_a_reload(away, db, make_agent):
    with HttpPeer([[READ, answer(410)]]) as gone, HttpPeer([OK]) as other:
        agent = watched(make_agent, db, gone)
        away.stop()
        wait_for(lambda: agent.status()["notify"]["refused"], "the refusal for good")
        assert "correct it, then reload" in agent.said() and len(gone.requests) == 1
        reconfigure(agent, db, other)
        assert identity(messages(other, 1)[0]) == identity(gone.requests[0])
        assert len(gone.requests) == 1


def test_a_short_absence_is_not_told(away, db, make_agent):
    with HttpPeer([OK]) as peer:
        agent = make_agent(db, notify=notify(peer, away_s=600)).start()
        connected(agent)
        away.stop()
        wait_for(lambda: not agent.status()["connected"], "the absence")
        assert (agent.folder / "state" / "notice").exists()
        away.launch()
        connected(agent)
        assert not (agent.folder / "state" / "notice").exists() and not peer.requests


MISTAKES = {
    "notify must be keys with values": "webhook",
    "channel is missing": {"settings": {"url": "http://x/"}},
    "channel \"pigeon\" is not known": {"channel": "pigeon", "settings": {}},
    "settings is missing": {"channel": "webhook"},
    "has no url": {"channel": "webhook", "settings": {}},
    "it has url, secret, authorization": {"channel": "webhook",
                                          "settings": {"url": "http://x/", "urll": "x"}},
    "url: ": {"channel": "webhook", "settings": {"url": "ftp://x/"}},
    "secret is not whsec_": {"channel": "webhook", "settings": {"url": "http://x/", "secret": "hunter2"}},
    "to has \"nobody\"": {"channel": "mail",
                          "settings": {"url": "smtp://x", "from": "a@b.c", "to": "nobody"}},
    "database_away \"0\" is out of range": {"channel": "ntfy", "database_away": "0",
                                          "settings": {"url": "http://x/", "topic": "t"}},
}


@pytest.mark.parametrize("sentence", MISTAKES)
def test_a_mistake_is_a_sentence_of_check_config(make_agent, sentence):
    agent = make_agent(None, postgres_url="postgresql://a@/x", notify=MISTAKES[sentence])
    checked = agent.run("--check-config")
    assert checked.returncode == 78 and sentence in checked.stderr, checked.stderr
    assert "hunter2" not in checked.stderr
