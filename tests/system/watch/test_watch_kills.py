"""kill -9 of the leader at random instants under load: every firing is delivered, none twice but for a lost
answer, every resolved follows its firing."""
import collections
import random
import threading
import time
import uuid

import pytest
from harness import wait_for
from peers import READ, HttpPeer, Wait, answer
from watching import add_channel, an_alert, message, say

CHANNELS = 4


def database_is_behind(database):
    """A kill holds up the channels that the dead watcher was serving, until its leases have run out."""
    return database.count("notifications", "sent_at IS NULL") > 100


class Load:
    """Puts firing and resolved messages of many groups into the outbox, as routes do, until it is stopped."""

    def __init__(self, database):
        self.database, self.done, self.groups = database, threading.Event(), []
        self.thread = threading.Thread(target=self.work)

    def work(self):
        n = 0
        while not self.done.is_set():
            n += 1
            group = str(uuid.uuid4())
            channel = f"hook{n % CHANNELS}"
            firing = say(self.database, channel, alerts=[an_alert(n)], group=group)
            over = [an_alert(n, status="resolved")]
            resolved = say(self.database, channel, "resolved", alerts=over, group=group)
            self.groups.append((firing, resolved))
            while not self.done.wait(0.02) and database_is_behind(self.database):
                pass

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


def led(watcher):
    """How often it has begun to lead."""
    return watcher.said().count("leads from now on")


def kill_leaders(make_watcher, database, kills, seed=1):
    """Two watchers; the one that leads is killed, and started again, at each instant."""
    chance = random.Random(seed)
    watchers = [make_watcher(delivery_timeout_s=1).start() for _ in range(2)]
    before = dict.fromkeys(watchers, 0)
    for _ in range(kills):
        time.sleep(chance.uniform(0, 0.4))
        leaders = wait_for(lambda: database.query(
            "SELECT a.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE granted AND locktype = "
            "'advisory' AND application_name = 'fleet_watch' AND datname = current_database()"), "a leader")
        assert len(leaders) == 1                                # never two
        victim = wait_for(lambda: next((w for w in watchers if led(w) > before[w]), None), "who leads")
        victim.kill()
        before[victim] = led(victim)
        victim.start()


def check_kills(database, make_watcher, kills):
    with_delay = [[READ, Wait(0.01), answer()]]
    peers = [HttpPeer(with_delay) for _ in range(CHANNELS)]
    try:
        for i, peer in enumerate(peers):
            add_channel(database, f"hook{i}", "webhook", {"url": peer.url})
        with Load(database) as load:
            kill_leaders(make_watcher, database, kills)
        wait_for(lambda: database.count("notifications", "sent_at IS NULL") == 0, "all are delivered", 120)
        order = [r.headers["webhook-id"] for peer in peers for r in peer.requests]
    finally:
        for peer in peers:
            peer.stop()
    times = collections.Counter(order)
    first = {key: i for i, key in reversed(list(enumerate(order)))}
    assert len(load.groups) >= kills // 4 and database.count("notifications", "dead_at IS NOT NULL") == 0
    for firing, resolved in load.groups:
        assert times[firing] and times[resolved] and first[firing] < first[resolved]
    twice = [key for key, n in times.items() if n > 1]
    # A second time only what was under way at a kill: at most one a channel and kill, taken more than once.
    assert len(twice) <= kills * CHANNELS
    for key in twice:
        assert message(database, key)["attempts"] >= times[key]
    print(f"{kills} kills: {len(load.groups)} groups, {len(twice)} messages twice")


def test_kill_9_of_the_leader_loses_no_message(watched, make_watcher):
    check_kills(watched, make_watcher, 20)


@pytest.mark.soak
def test_kill_9_of_the_leader_200_times(watched, make_watcher):
    check_kills(watched, make_watcher, 200)
