"""The watcher is killed, stopped and cut off under load: every firing is delivered, none twice but for a lost
answer, every resolved follows its firing.

The peers note when each message came and when their answer was over. A message may come again only if the
answer before was cut by a kill: its connection broke, or the watcher had no time to tell the database.
"""
import collections
import random
import signal
import socket
import threading
import time
import uuid
from pathlib import Path

import psycopg2
import pytest
from fault_proxy import Proxy
from harness import wait_for
from peers import HANG, READ, HttpPeer, Wait, answer
from watching import Watcher, add_channel, an_alert, message, say, wait_sent

CHANNELS = 48                   # a kill holds up those that were served, until their leases run out
PARALLEL = 4
LEAD_S = 10.0                   # promised: another watcher leads by then
HOLDER = """SELECT pid FROM watch_lead l JOIN pg_stat_activity a USING (pid)
    WHERE until > clock_timestamp() AND application_name = 'fleet_watch' AND datname = current_database()"""


def database_is_behind(database):
    """A kill holds up the channels that the dead watcher was serving, until its leases have run out."""
    return database.count("notifications", "sent_at IS NULL") > 100


class Load:
    """Puts firing and resolved messages of many groups into the outbox, as routes do, until it is stopped;
    and a peer that takes them."""

    def __init__(self, database, steps=(READ, Wait(0.01), answer())):
        self.database, self.done, self.groups = database, threading.Event(), []
        self.peer = HttpPeer([list(steps)])
        for i in range(CHANNELS):
            add_channel(database, f"hook{i}", "webhook", {"url": self.peer.url})
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
        self.peer.stop()

    def finish(self):
        """Wait until all is delivered. Returns the times at which each message came, by its id."""
        self.done.set()
        self.thread.join()
        wait_for(lambda: self.database.count("notifications", "sent_at IS NULL") == 0, "all of them", 120)
        assert self.database.count("notifications", "dead_at IS NOT NULL") == 0
        times = collections.defaultdict(list)
        for request in self.peer.requests:
            times[request.headers["webhook-id"]].append(request.at)
            assert request.headers["idempotency-key"] == request.headers["webhook-id"]
        for firing, resolved in self.groups:
            assert times[firing] and times[resolved] and times[firing][0] < times[resolved][0]
        return times

    def count(self):
        return len(self.peer.requests)


def through(proxy, database):
    """The URL of the database by way of a proxy."""
    _, name = database.url("watch").split("dbname=")
    return f"host=127.0.0.1 port={proxy.port} user=watch dbname={name} sslmode=disable"


def socket_of(database):
    return str(Path(database.url("watch").split()[0].removeprefix("host=")) / ".s.PGSQL.5432")


def led(watcher):
    """How often it has begun to lead."""
    return watcher.said().count("leads from now on")


def one_leader(database):
    leaders = wait_for(lambda: database.query(HOLDER), "a leader")
    assert len(leaders) == 1                                    # never two
    return leaders[0][0]


def leader_of(watchers, before):
    return wait_for(lambda: next((w for w in watchers if led(w) > before[w]), None), "who leads")


# ---- kill -9 ----------------------------------------------------------------------------------------

def kill_leaders(make_watcher, load, kills, seed=1):
    """Two watchers; the one that leads is killed, and started again, at each instant under load. Returns
    these instants."""
    chance = random.Random(seed)
    watchers = [make_watcher(delivery_timeout_s=1, parallel=PARALLEL).start() for _ in range(2)]
    before, instants = dict.fromkeys(watchers, 0), []
    for _ in range(kills):
        seen = load.count()
        wait_for(lambda: load.count() > seen, "messages under way")
        time.sleep(chance.uniform(0, 0.1))
        one_leader(load.database)
        victim = leader_of(watchers, before)
        begun = time.monotonic()
        victim.kill()
        instants.append((begun, time.monotonic()))
        before[victim] = led(victim)
        victim.start()
    return instants


def match_repeats(times, instants, taken_s):
    """Each repeat of a message has a kill of its own, right behind the request before it: its answer was lost
    there. Returns their number."""
    repeats = 0
    for key, came in times.items():
        used = set()
        for first, second in zip(came, came[1:]):
            lost = [i for i, (begun, over) in enumerate(instants)
                    if begun - taken_s <= first <= over and over <= second and i not in used]
            assert lost, f"{key} came at {came}, kills at {instants}"
            used.add(lost[0])
            repeats += 1
    return repeats


def check_kills(database, make_watcher, kills):
    with Load(database) as load:
        instants = kill_leaders(make_watcher, load, kills)
        times = load.finish()
    assert len(instants) == kills <= len(times)
    # From the request until the database knew its outcome: the peer's 10 ms, and what the machine needs.
    repeats = match_repeats(times, instants, taken_s=1.0)
    for key, came in times.items():
        assert message(database, key)["attempts"] >= len(came)
    assert repeats <= kills * PARALLEL              # so many are under way
    print(f"{kills} kills: {len(load.groups)} groups, {repeats} messages again")


def test_kill_9_of_the_leader_loses_no_message(watched, make_watcher):
    check_kills(watched, make_watcher, 20)


@pytest.mark.soak
def test_kill_9_of_the_leader_200_times(watched, make_watcher):
    check_kills(watched, make_watcher, 200)


# ---- stopped and woken ---------------------------------------------------------------------------------

def test_a_part_that_was_accepted_before_a_kill_is_not_sent_again(watched, make_watcher):
    """PagerDuty gets an event for each alert. The first was accepted, the second is under way: that one comes
    again."""
    accepts = answer(202, {"status": "success"})
    with HttpPeer(lambda n: [READ, HANG if n == 1 else accepts]) as peer:
        add_channel(watched, "it", "pagerduty", {"url": peer.url}, {"routing_key": "R1"})
        victim = make_watcher(delivery_timeout_s=60).start()
        sent = say(watched, "it", alerts=[an_alert(1), an_alert(2)])
        wait_for(lambda: len(peer.requests) == 2, "the second part is under way")
        victim.kill()
        watched.query("UPDATE notifications SET taken_until = now()")   # as if its lease had run out
        make_watcher().start()
        wait_sent(watched, sent)
        keys = [r.json["dedup_key"] for r in peer.requests]
    assert keys == [an_alert(n)["key"] for n in (1, 2, 2)]


def test_a_leader_that_hangs_loses_the_lead_within_10_s_and_sends_nothing_twice(watched, make_watcher):
    """Stopped with messages at all of its stages, and woken when another one has sent them."""
    with Load(watched, (READ, Wait(0.005), answer())) as load:
        watchers = [make_watcher(delivery_timeout_s=1, parallel=PARALLEL).start() for _ in range(2)]
        before, stops = dict.fromkeys(watchers, 0), []
        for _ in range(2):
            victim = leader_of(watchers, before)
            seen = load.count()
            wait_for(lambda: load.count() > seen + 20, "messages under way")
            victim.process.send_signal(signal.SIGSTOP)
            stopped = time.monotonic()
            before[victim] = led(victim)
            other = next(w for w in watchers if w is not victim)
            wait_for(lambda: led(other) > before[other], "the other one leads", 2 * LEAD_S)
            assert time.monotonic() - stopped < LEAD_S
            # Its leases (11 s) run out, and the other one sends what they held.
            wait_for(lambda: watched.count("notifications", "taken_until < now() AND sent_at IS NULL") == 0
                     and time.monotonic() > stopped + 12, "the leases are over")
            stops.append((stopped, time.monotonic()))
            victim.process.send_signal(signal.SIGCONT)
            victim.wait_said("the database answers again")
            one_leader(watched)
        times = load.finish()
    for key, came in times.items():
        if len(came) > 1:       # its answer came while the watcher was stopped
            assert len(came) == 2 and any(begin - 1 < came[0] < begin + 0.5 and came[1] < end
                                          for begin, end in stops), (key, came, stops)


def test_a_watcher_that_wakes_up_with_messages_in_its_socket_sends_none_of_them(watched, make_watcher):
    """The database has given it messages, and it was stopped before it read them."""
    with HttpPeer() as peer, Proxy(socket_of(watched)) as proxy:
        add_channel(watched, "hook", "webhook", {"url": peer.url})
        first = make_watcher(database_url=through(proxy, watched),
                             delivery_timeout_s=1)
        first.start().leads()
        second = make_watcher(delivery_timeout_s=1).start()
        second.wait_said("started")
        proxy.delay = 1.0
        sent = say(watched, "hook")
        wait_for(lambda: message(watched, sent)["taken_by"], "it is taken")
        first.process.send_signal(signal.SIGSTOP)
        second.leads()
        wait_sent(watched, sent)
        first.process.send_signal(signal.SIGCONT)
        first.wait_said("left to another watcher")
        assert len(peer.requests) == 1


def test_a_leader_that_is_stopped_in_a_long_answer_loses_the_lead_too(watched, make_watcher):
    """Its session writes, which no timeout of the server ends on a unix socket, and lives on."""
    stopped = psycopg2.connect(watched.url("watch"), async_=True)
    wait_for(lambda: stopped.poll() == psycopg2.extensions.POLL_OK, "a connection")
    cursor = stopped.cursor()
    cursor.execute("SELECT observ.lead_watch('stopped', clock_timestamp())")
    wait_for(lambda: stopped.poll() == psycopg2.extensions.POLL_OK, "an answer")
    watched.wait("SELECT watcher = 'stopped' FROM watch_lead")
    cursor.execute("SELECT repeat('x', 1000000) FROM generate_series(1, 100)")
    began = time.monotonic()
    make_watcher().start().leads()
    assert time.monotonic() - began < LEAD_S
    stopped.close()


def test_a_plain_login_keeps_no_watcher_from_leading(watched, make_watcher):
    """It may take every advisory lock, and those of the rows and tables that it can reach."""
    with psycopg2.connect(watched.url("agents")) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(1868721011, 2002874996), pg_advisory_lock(1868721011)")
        other.commit()
        for statement in ("SELECT * FROM observ.watch_lead FOR UPDATE", "LOCK observ.watch_lead",
                          "LOCK observ.watch_lead IN ACCESS SHARE MODE",
                          "SELECT observ.lead_watch('thief', now())"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
            other.rollback()
        make_watcher().start().leads()
    other.close()


# ---- the database goes away ------------------------------------------------------------------------------

def check_cuts(database, make_watcher, cuts, seed=2):
    """Nothing is lost and nothing comes twice: the watcher lives, and knows what was accepted."""
    chance = random.Random(seed)
    with Load(database) as load:
        watcher = make_watcher(delivery_timeout_s=30).start().leads()
        for _ in range(cuts):
            seen = load.count()
            wait_for(lambda: load.count() > seen, "messages under way", 20)     # no lease of 40 s holds up
            time.sleep(chance.uniform(0, 0.1))
            database.query("""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = 'fleet_watch' AND datname = current_database()""")
        times = load.finish()
    assert all(len(came) == 1 for came in times.values())
    assert watcher.running() and watcher.said().count("leads from now on") >= cuts // 2


def test_a_connection_that_is_cut_at_50_instants_sends_nothing_twice(watched, make_watcher):
    check_cuts(watched, make_watcher, 50)


@pytest.mark.soak
def test_a_connection_that_is_cut_at_500_instants_sends_nothing_twice(watched, make_watcher):
    check_cuts(watched, make_watcher, 500)


def test_a_black_hole_before_the_database_gives_the_lead_to_another(watched, make_watcher):
    """What the first one was sending arrives once, and so does all that the second one sends."""
    released = threading.Event()
    with HttpPeer(lambda n: [READ, released.wait, answer()] if n == 0 else [READ, answer()]) as peer, \
            Proxy(socket_of(watched)) as proxy:
        add_channel(watched, "hook", "webhook", {"url": peer.url})
        first = make_watcher(database_url=through(proxy, watched),
                             delivery_timeout_s=30).start().leads()
        second = make_watcher().start()
        second.wait_said("started")
        sent = say(watched, "hook")
        wait_for(lambda: peer.requests, "the request")
        proxy.hole = True
        began = time.monotonic()
        released.set()
        second.leads()
        assert time.monotonic() - began < LEAD_S
        add_channel(watched, "other", "webhook", {"url": peer.url})
        wait_sent(watched, say(watched, "other"))
        proxy.hole = False
        proxy.reset()
        wait_sent(watched, sent)
        first.wait_said("the database answers again")
        assert len(peer.requests) == 2


def test_a_black_hole_before_a_peer_is_given_up_and_holds_up_nobody(watched, make_watcher):
    """A listener whose queue is full: packets of new connections get no answer."""
    with socket.socket() as hole, HttpPeer() as good, HttpPeer([[READ, HANG]]) as silent:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        filled = [socket.socket() for _ in range(3)]
        for s in filled:
            s.setblocking(False)
            s.connect_ex(hole.getsockname())
        add_channel(watched, "hole", "webhook", {"url": f"http://127.0.0.1:{hole.getsockname()[1]}/"})
        add_channel(watched, "silent", "webhook", {"url": silent.url})
        add_channel(watched, "good", "webhook", {"url": good.url})
        make_watcher(delivery_timeout_s=2, parallel=3).start()
        lost, hung = say(watched, "hole"), say(watched, "silent")
        for _ in range(10):
            wait_sent(watched, say(watched, "good"), 5)
        for gone in (lost, hung):
            wait_for(lambda: message(watched, gone)["last_error"], "the error")
            assert "timed out" in message(watched, gone)["last_error"].lower()
        for s in filled:
            s.close()


def test_a_leader_whose_slots_are_all_taken_stays_the_leader(watched, make_watcher):
    """It has nothing to ask of the database but the lead."""
    with HttpPeer([[READ, Wait(9), answer()]]) as peer:
        add_channel(watched, "hook", "webhook", {"url": peer.url})
        watcher = make_watcher(delivery_timeout_s=20, parallel=1, evaluate_every_s=60).start().leads()
        wait_sent(watched, say(watched, "hook"))
        assert "does not answer" not in watcher.said() and led(watcher) == 1
