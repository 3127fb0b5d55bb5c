"""Faults between the agent and PostgreSQL: lost answers, servers that stop, hang, move, refuse or are full,
slow, blocked or cut lines, name servers that hang. Test names contain the rows of FAULTS; judge() counts."""
import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg2
import pytest
from certificates import make_authority, make_certificate, psql, use_certificate
from fault_proxy import Proxy
from fleet import Fleet
from harness import TOP, Cluster, Database, Watch, run, wait_for
from oracle import judge, rows_again
from writer import Writer


def socket_of(cluster):
    part = dict(word.split("=", 1) for word in cluster.url().split())
    return f"{part['host']}/.s.PGSQL.{part['port']}"


def peak_kb(agent):
    return int(next(line.split()[1] for line in open(f"/proc/{agent.process.pid}/status")
                    if line.startswith("VmHWM")))


def through(proxy, db, host="127.0.0.1", more=""):
    return f"postgresql://agents@{host}:{proxy.port}/{db.name}?sslmode=disable{more}"


@pytest.fixture
def proxy(cluster):
    with Proxy(socket_of(cluster), follow=True) as p:
        yield p


def wait_rows(db, more=1, timeout=20):
    before = db.count("log_entries")
    db.wait("SELECT count(*) >= %s FROM log_entries", before + more, timeout=timeout)


def server_processes(cluster):
    """The postmaster and all its children."""
    pid = int((cluster.folder / "data" / "postmaster.pid").read_text().split()[0])
    return [pid] + [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pids):
    return not any(Path(f"/proc/{p}").exists() for p in pids)


def check_gaps(db):
    """The longest time between two runs of a check, without the first runs, which align it to the
    interval."""
    return db.one("""SELECT max(gap)::float
                     FROM (SELECT extract(epoch FROM timestamp - lag(timestamp) OVER w) AS gap,
                     row_number() OVER w AS n FROM health_checks WINDOW w AS (ORDER BY timestamp)) g
                         WHERE n > 3""")


def waiting(agent):
    """How many undelivered samples the agent has."""
    return agent.status()["pending"]


def accepting(cluster):
    """Wait until the server accepts connections; returns that time."""
    def look():
        with contextlib.suppress(psycopg2.OperationalError):
            psycopg2.connect(cluster.url()).close()
            return True
    wait_for(look, "the server takes connections", timeout=60, every=0.02)
    return time.monotonic()


# ---- lost answers, cut lines ------------------------------------------------------------------------

def test_fault_02_the_answer_to_a_commit_is_lost(db, make_agent, log, proxy):
    """Five commits succeed, but the agent gets no answer: it asks for the position, and sends nothing
    twice."""
    agent = make_agent(db, log_files=[str(log)], postgres_url=through(proxy, db)).start()
    writer = Writer(log, 5000).start()
    wait_rows(db)
    for _ in range(5):
        proxy.lose_answers = 1
        wait_for(lambda: proxy.lose_answers == 0, "a commit", every=0.01)
    recovery = rows_again(db)
    judge(2, db, writer.stop(), recovery=recovery, note="5 answers lost")
    assert agent.running()


@pytest.mark.parametrize("side", ["client", "server"])
def test_fault_02_cut_after_any_number_of_bytes(db, make_agent, log, proxy, side):
    chance = random.Random(2)
    make_agent(db, log_files=[str(log)], postgres_url=through(proxy, db)).start()
    writer = Writer(log, 5000, seed=2).start()
    for _ in range(4):
        accepted = proxy.accepted
        proxy.cut_after[side] = chance.randrange(1, 300_000 if side == "client" else 3000)
        wait_for(lambda: proxy.accepted > accepted, "another connection", timeout=20, every=0.01)
    proxy.cut_after.clear()
    proxy.reset()
    recovery = rows_again(db)
    judge(2, db, writer.stop(), seed=2, recovery=recovery)


# ---- the server stops ----------------------------------------------------------------------------------

@pytest.mark.alone
@pytest.mark.parametrize("mode, seconds", [
    ("fast", 4), ("immediate", 4), pytest.param("fast", 600, marks=pytest.mark.soak)])
def test_fault_05_the_server_is_stopped(own_cluster, make_agent, log, mode, seconds):
    """Rows arrive at most 2 s after the server accepts connections again, and the metrics of the outage are
    there."""
    db = own_cluster.new_database()
    agent = make_agent(db, log_files=[str(log)]).start()
    writer = Writer(log, 2000 if seconds < 60 else 100).start()
    wait_rows(db)
    before = db.count("log_entries")
    db.close()
    began = time.time()
    own_cluster.stop(mode)
    agent.wait_said("database away")
    held = waiting(agent)               # the batch in flight has failed
    wait_for(lambda: time.time() - began > seconds and waiting(agent) > held, "an outage with a metric in it",
             timeout=seconds + 30)
    ended = time.time()
    starting = threading.Thread(target=own_cluster.start)
    starting.start()
    with Watch(agent) as watch:
        back = accepting(own_cluster)
        rows_again(db, before)
        recovery = time.monotonic() - back
    starting.join()
    metrics = wait_for(lambda: db.count("vps_metrics",
                                        "timestamp BETWEEN to_timestamp(%s) AND to_timestamp(%s)",
                                        began, ended),
                       "the metrics of the outage")
    assert metrics >= (ended - began) // 10 - 1
    judge(5, db, writer.stop(), recovery=recovery, note=f"out for {ended - began:.0f} s")
    assert recovery < 2.0 + 0.3 + watch.stall   # including the time of the query
    assert agent.running()
    assert peak_kb(agent) < 24 * 1024


def test_fault_06_the_server_is_frozen(own_cluster, make_agent, log):
    """SIGSTOP stops every process of the server: the agent notices by its own deadline."""
    db = own_cluster.new_database()
    agent = make_agent(db, log_files=[str(log)],
                       health_checks=[{"url": "http://127.0.0.1:1/", "interval": 1, "timeout": 1}])
    agent.start()
    writer = Writer(log, 2000).start()
    wait_rows(db)
    before = db.count("log_entries")
    frozen, began = server_processes(own_cluster), time.monotonic()
    with Watch(agent) as watch:
        try:
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            agent.wait_said("no answer from the database within 15 s", timeout=25)
            noticed = time.monotonic() - began
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
    recovery = rows_again(db, before)
    judge(6, db, writer.stop(), recovery=recovery, note=f"noticed after {noticed:.0f} s")
    db.wait("SELECT count(*) >= 15 FROM health_checks")
    assert check_gaps(db) < 2.0 + watch.stall, "a check was late"


@pytest.mark.alone
@pytest.mark.parametrize("who", ["backend", "postmaster"])
def test_fault_07_killed(own_cluster, make_agent, log, who):
    db = own_cluster.new_database()
    agent = make_agent(db, log_files=[str(log)]).start()
    writer = Writer(log, 5000).start()
    for _ in range(3):
        wait_rows(db)
        before = db.count("log_entries")
        pids = server_processes(own_cluster)
        db_pids = [r[0] for r in db.query("SELECT pid FROM pg_stat_activity WHERE usename = 'agents'")]
        db.close()
        if who == "backend":
            for pid in db_pids:
                os.kill(pid, signal.SIGKILL)
            wait_for(lambda: gone(db_pids), "the server has seen it", timeout=20)
        else:
            os.kill(pids[0], signal.SIGKILL)
            wait_for(lambda: gone(pids), "the server is gone", timeout=20)
            own_cluster.start()
        with Watch(agent) as watch:
            back = accepting(own_cluster)
            rows_again(db, before)
            recovery = time.monotonic() - back
        assert recovery < 2.0 + 0.3 + watch.stall
    judge(7, db, writer.stop(), recovery=recovery)


def terminated(db, seconds):
    """Lines delivered in that many seconds, while the agent's session is terminated once a second."""
    for _ in range(seconds):
        db.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'agents'")
        time.sleep(1)           # the rhythm of the fault
    return db.count("log_entries")


def sessions_ended(db, make_agent, log, seconds):
    rate = 10_000
    make_agent(db, log_files=[str(log)]).start()
    writer = Writer(log, rate).start()
    wait_rows(db)
    delivered = terminated(db, seconds)
    written = writer.written
    judge(8, db, writer.stop(), note=f"{100 * delivered / written:.0f} % delivered on the way")
    assert delivered > written / 2


@pytest.mark.alone
def test_fault_08_a_session_ended_each_second(db, make_agent, log):
    sessions_ended(db, make_agent, log, 8)


@pytest.mark.soak
def test_fault_08_a_session_ended_each_second_for_a_minute(db, make_agent, log):
    sessions_ended(db, make_agent, log, 60)


# ---- blocked, cut and slow lines -------------------------------------------------------------------------

@pytest.mark.soak
def test_fault_09_half_open(db, make_agent, log, proxy):
    """In the middle of batches, the line passes nothing and closes nothing."""
    agent = make_agent(db, log_files=[str(log)], postgres_url=through(proxy, db)).start()
    writer = Writer(log, 5000).start()
    wait_rows(db)
    proxy.hole, began = True, time.monotonic()
    agent.wait_said("no answer from the database", timeout=30)
    noticed = time.monotonic() - began
    before = db.count("log_entries")
    proxy.hole = False
    recovery = rows_again(db, before)
    judge(9, db, writer.stop(), recovery=recovery, note=f"noticed after {noticed:.0f} s")


class Namespace:
    """A private network namespace, with a proxy to the server on its loopback; nft rules make the faults."""

    def __init__(self, target):
        command = 'ip link set lo up && exec "$@"'
        self.process = subprocess.Popen(["unshare", "-n", "sh", "-c", command, "sh", sys.executable,
                                         TOP / "tests" / "fault_proxy.py",
                                         target, "5432"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        self.port = self.process.stdout.readline().strip()
        if not self.port:
            pytest.skip(f"no network namespace here: {self.process.stderr.read().strip()}")

    def enter(self):
        return ["nsenter", f"--net=/proc/{self.process.pid}/ns/net"]

    def rules(self, text):
        subprocess.run([*self.enter(), "nft", "-f", "-"], input="flush ruleset\n" + text, text=True,
                       check=True)

    def drop(self, condition):
        self.rules("table inet fault {\nchain input {\ntype filter hook input priority 0\n"
                   f"tcp dport 5432 {condition} drop\ntcp sport 5432 {condition} drop\n}}\n}}\n")

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def network(cluster):
    net = Namespace(socket_of(cluster))
    yield net
    net.close()


def drop_packets(db, make_agent, log, network, seconds):
    agent = make_agent(db, log_files=[str(log)],
                       postgres_url=f"postgresql://agents@127.0.0.1:5432/{db.name}?sslmode=disable")
    agent.start(under=network.enter())
    writer = Writer(log, 2000).start()
    wait_rows(db)
    network.drop("")
    began = time.monotonic()
    agent.wait_said("database away", timeout=30)
    noticed = time.monotonic() - began
    wait_for(lambda: time.monotonic() - began > seconds, "the fault's time", timeout=seconds + 5)
    before = db.count("log_entries")
    network.rules("")
    recovery = rows_again(db, before, timeout=60)
    judge(9, db, writer.stop(), recovery=recovery, note=f"noticed after {noticed:.0f} s")
    assert agent.running()


def test_fault_09_packets_dropped(db, make_agent, log, network):
    drop_packets(db, make_agent, log, network, 5)


@pytest.mark.soak
def test_fault_09_packets_dropped_for_half_a_minute(db, make_agent, log, network):
    drop_packets(db, make_agent, log, network, 30)


def test_fault_09_a_session_that_stays_open_behind_a_proxy(db, make_agent, log):
    """The agent's line ends in the middle of a batch, but a proxy keeps the session open, which holds the
    agent's row lock."""
    agent = make_agent(db, log_files=[str(log)]).start()
    writer = Writer(log, 2000).start()
    wait_rows(db)
    agent.kill()
    dead = db.connect("agents")
    dead.autocommit = False
    with dead.cursor() as cursor:
        cursor.execute("SELECT observ.agent_hello('test', 'shop', 1, NULL, '1', 60, now())")
    agent.start()
    recovery = rows_again(db, timeout=10)
    judge(9, db, writer.stop(), recovery=recovery, note="a dead session has the agent's row")
    with pytest.raises(psycopg2.OperationalError), dead.cursor() as cursor:
        cursor.execute("SELECT 1")


def test_fault_10_a_third_of_the_packets_lost(db, make_agent, log, network):
    agent = make_agent(db, log_files=[str(log)],
                       postgres_url=f"postgresql://agents@127.0.0.1:5432/{db.name}?sslmode=disable")
    network.drop("numgen random mod 100 < 30")
    agent.start(under=network.enter())
    writer = Writer(log, 1000).start()
    began = time.monotonic()
    # Each lost packet doubles TCP's timeout, up to the agent's deadline: three seconds as a rule, half a
    # minute in one of five, more in one of twenty. A connection that really stalls has still delivered
    # nothing after five.
    db.wait("SELECT count(*) >= 1000 FROM log_entries", timeout=300)
    network.rules("")
    judge(10, db, writer.stop(), recovery=None,
          note=f"1,000 lines through 30 % loss in {time.monotonic() - began:.0f} s")


def test_fault_10_connections_reset(db, make_agent, log, proxy):
    chance = random.Random(10)
    make_agent(db, log_files=[str(log)], postgres_url=through(proxy, db)).start()
    writer = Writer(log, 5000).start()
    for _ in range(25):
        time.sleep(chance.uniform(0.01, 0.5))   # the instant of the reset: any will do
        proxy.reset()
    recovery = rows_again(db)
    judge(10, db, writer.stop(), recovery=recovery, note="25 resets")


def test_fault_11_a_slow_and_distant_server(db, make_agent, log, proxy):
    """200 ms each way and 64 kbit/s: a batch carries many lines."""
    agent = make_agent(db, log_files=[str(log)], postgres_url=through(proxy, db))
    proxy.delay, proxy.rate = 0.2, 8000
    agent.start()
    writer = Writer(log, 20).start()
    db.wait("SELECT count(*) >= 100 FROM log_entries", timeout=60)
    batches = db.one("SELECT last_seq FROM agents")
    rows = db.count("log_entries")
    proxy.delay, proxy.rate = 0.0, None
    judge(11, db, writer.stop(), note=f"{rows / batches:.0f} lines a batch")
    assert rows / batches > 15, "batches grow"
    assert "no answer" not in agent.said()


# ---- names ---------------------------------------------------------------------------------------------

class NameServer:
    """Answers each query for an A record with 127.0.0.1 after `wait` seconds (None: never), other queries
    with "none"."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.wait, self.asked, self.refuse = None, 0, False

    def start(self, port=53):
        self.socket.bind(("127.0.0.1", port))
        threading.Thread(target=self.loop, daemon=True).start()
        return self

    def loop(self):
        with contextlib.suppress(OSError):
            while True:
                question, who = self.socket.recvfrom(4096)
                self.asked += 1
                if self.wait is not None or self.refuse:
                    threading.Timer(self.wait or 0, self.answer, (question, who)).start()

    def answer(self, q, who):
        end = q.index(b"\0", 12) + 5
        good = q[end - 4:end - 2] == b"\0\1" and not self.refuse
        flags = b"\x81\x83" if self.refuse else b"\x81\x80"
        record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\x7f\0\0\1" if good else b""
        self.socket.sendto(q[:2] + flags + b"\0\1\0" + (b"\1" if good else b"\0") + b"\0\0\0\0" + q[12:end]
                           + record, who)

    def close(self):
        self.socket.close()


def in_namespace(process, make):
    """Call make() with this thread in the network namespace of `process`, where its sockets stay."""
    made = []

    def work():
        import ctypes
        with open(f"/proc/{process}/ns/net") as ns:
            assert ctypes.CDLL(None, use_errno=True).setns(ns.fileno(), 0) == 0
        made.append(make())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return made[0]


@pytest.fixture
def names(network):
    server = in_namespace(network.process.pid, NameServer).start()
    yield server
    server.close()


def with_names(network, tmp_path, options):
    """The command that lets a program use only this name server."""
    conf = tmp_path / "resolv.conf"
    conf.write_text(f"nameserver 127.0.0.1\noptions {options}\n")
    script = f'mount --bind {conf} /etc/resolv.conf && exec "$@"'
    return [*network.enter(), "unshare", "-m", "sh", "-c", script, "sh"]


CHECKS = [{"url": "http://127.0.0.1:1/", "interval": 1, "timeout": 1}]


@pytest.mark.alone
def test_fault_12_the_name_servers_never_answer(db, make_agent, log, network, names, tmp_path):
    """The agent reports it, its checks keep their interval, and it stops within 5 s while a lookup hangs."""
    agent = make_agent(db, log_files=[str(log)], health_checks=CHECKS,
                       postgres_url=f"postgresql://agents@db.observ.test:5432/{db.name}?sslmode=disable")
    agent.start(under=with_names(network, tmp_path, "timeout:5 attempts:1"))
    with Watch(agent) as watch:
        writer = Writer(log, 500).start()
        agent.wait_said("connect: no address for db.observ.test", timeout=20)
        names.wait = 0
        recovery = rows_again(db)
        db.wait("SELECT count(*) >= 5 FROM health_checks")
    assert check_gaps(db) < 2.0 + watch.stall, "a check was late"
    judge(12, db, writer.stop(), recovery=recovery, note="name server that never answers")
    names.wait = None
    db.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'agents'")
    asked = names.asked
    wait_for(lambda: names.asked > asked, "another lookup")
    before = db.count("log_entries")
    with open(log, "a") as f:
        f.write('{"message":"known"}\n')
    # by the address of the last lookup
    db.wait("SELECT count(*) > %s FROM log_entries", before, timeout=8)
    agent.stop(5.0)


@pytest.mark.alone
def test_fault_12_stops_while_a_lookup_hangs(db, make_agent, network, names, tmp_path):
    agent = make_agent(db, postgres_url=f"host=db.observ.test port=5432 user=agents dbname={db.name} "
                                        "sslmode=disable")
    agent.start(under=with_names(network, tmp_path, "timeout:30 attempts:2"))
    wait_for(lambda: names.asked, "a lookup")
    with Watch(agent) as watch:
        began = time.monotonic()
        agent.stop(30)
        took = time.monotonic() - began
    assert took < 5.0 + watch.stall


@pytest.mark.soak
def test_fault_12_a_name_server_answers_after_twenty_seconds(db, make_agent, log, network, names, tmp_path):
    agent = make_agent(db, log_files=[str(log)], health_checks=CHECKS,
                       postgres_url=f"postgresql://agents@db.observ.test:5432/{db.name}?sslmode=disable")
    names.wait = 20
    agent.start(under=with_names(network, tmp_path, "timeout:30 attempts:1"))
    writer = Writer(log, 500).start()
    recovery = rows_again(db, timeout=60)
    judge(12, db, writer.stop(), recovery=recovery, note="answer after 20 s")
    assert check_gaps(db) < 2.0, "a check was late"


def test_fault_12_a_name_that_does_not_exist(db, make_agent, log, network, names, tmp_path):
    """Refused at first; the agent looks the name up again and again, and connects when it exists."""
    names.refuse = True
    agent = make_agent(db, log_files=[str(log)],
                       postgres_url=f"postgresql://agents@db.observ.test:5432/{db.name}?sslmode=disable")
    agent.start(under=with_names(network, tmp_path, "timeout:1 attempts:1"))
    writer = Writer(log, 500).start()
    agent.wait_said("no address for db.observ.test: Name or service not known")
    names.refuse, names.wait = False, 0
    recovery = rows_again(db)
    judge(12, db, writer.stop(), recovery=recovery, note="name that does not exist")
    assert recovery < 5.0


# ---- certificates ----------------------------------------------------------------------------------------

def make_certificates(folder):
    """Two CAs, and certificates of the first: good, expired, for another name."""
    for ca in ("ca", "other"):
        make_authority(folder, ca)
    for name, dns, days in (("good", "localhost", "5"), ("expired", "localhost", "-1"),
                            ("wrong", "elsewhere.test", "5")):
        make_certificate(folder, name, dns, days)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def tcp_cluster(cluster_dir):
    """A server that also listens on loopback TCP (tcp_cluster.port), without a password."""
    server = Cluster(cluster_dir / "tcp")
    server.start()
    server.stop()
    server.port = free_port()           # choose it late: another process may take it
    server.start("listen_addresses=127.0.0.1", f"port={server.port}")
    hba = server.folder / "data" / "pg_hba.conf"
    hba.write_text("local all all trust\nhost all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 "
                   "trust\n"
                   "local replication all trust\n")
    psql(server, "SELECT pg_reload_conf()")
    yield server
    server.stop("immediate")


REFUSALS = {"expired": "certificate verify failed", "wrong": "does not match host name",
            "unknown": "certificate verify failed"}


def test_fault_13_untrusted_certificates(tcp_cluster, make_agent, log, tmp_path):
    """The agent refuses with a reason, sends nothing and keeps the lines; with a good certificate it delivers
    them."""
    make_certificates(tmp_path)
    db = tcp_cluster.new_database()
    writer = Writer(log, 200).start()
    for problem, words in REFUSALS.items():
        ca = "other" if problem == "unknown" else "ca"
        use_certificate(tcp_cluster, tmp_path, problem if problem != "unknown" else "good")
        url = (f"postgresql://agents@localhost:{tcp_cluster.port}/{db.name}?sslmode=verify-full"
               f"&sslrootcert={tmp_path}/{ca}.crt")
        agent = make_agent(db, name=problem, log_files=[str(log)], postgres_url=url).start()
        agent.wait_said(words)
        assert "database away" in agent.said()
        assert db.count("agents") == 0, "nothing may have been said to that server"
        if problem != "unknown":
            agent.kill()
    use_certificate(tcp_cluster, tmp_path, "good")
    agent.kill()
    make_agent(db, name="good", log_files=[str(log)],
               postgres_url=url.replace("other.crt", "ca.crt")).start()
    recovery = rows_again(db)
    judge(13, db, writer.stop(), recovery=recovery)
    assert db.one("SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                  "WHERE usename = 'agents'")


@pytest.fixture
def distant(cluster_dir):
    """A server at 192.0.2.1, which exists only in a private network namespace (distant.within runs commands
    there)."""
    server = Cluster(cluster_dir / "distant")
    room = subprocess.Popen(["unshare", "--net", "sh",
                             "-c", "ip link set lo up && ip address add 192.0.2.1/32 dev lo && echo up && "
                             "exec sleep 600"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if room.stdout.readline() != "up\n":
        pytest.skip("no network namespace can be made here")
    server.within = ["nsenter", "-t", str(room.pid), "--net"]
    server.make()
    run(*server.within, TOP / "scripts" / "pg", "start", server.folder,
        "-c", "listen_addresses=192.0.2.1,127.0.0.1")
    hba = server.folder / "data" / "pg_hba.conf"
    hba.write_text("local all all trust\nhost all all all trust\n")
    psql(server, "SELECT pg_reload_conf()")
    yield server
    server.stop("immediate")
    room.kill()


def test_a_distant_database_must_show_a_certificate_unless_the_url_says_otherwise(distant, make_agent,
                                                                                  tmp_path):
    """No sslmode: verify-full. Each refusal is a sentence with its remedy, in the log and by doctor; nothing
    was said to that server."""
    make_certificates(tmp_path)
    db = distant.new_database()
    url = f"postgresql://agents@192.0.2.1/{db.name}"

    def refused(name, url, *words):
        agent = make_agent(db, name=name, postgres_url=url).start(under=distant.within)
        agent.wait_said(words[0])
        agent.kill()
        doctor = subprocess.run([*distant.within, *agent.command("doctor")], env=agent.environment,
                                capture_output=True, text=True)
        assert doctor.returncode == 1
        for text in (agent.said(), doctor.stdout):
            assert all(w in text for w in words), text
        assert db.count("agents") == 0

    refused("plain", url, "server does not support SSL", "switch TLS on in the database server (ssl = on)")
    use_certificate(distant, tmp_path, "good")
    refused("unknown", url, "certificate verify failed",
            "name the authority's file by sslrootcert=FILE in the URL")
    refused("name", f"{url}?sslrootcert={tmp_path}/ca.crt", "does not match host name",
            "write the name that is in the certificate")

    trusted = f"host=localhost hostaddr=192.0.2.1 user=agents dbname={db.name} sslrootcert={tmp_path}/ca.crt"
    agent = make_agent(db, name="good", postgres_url=trusted).start(under=distant.within)
    db.wait("SELECT count(*) = 1 FROM agents")
    assert db.one("SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                  "WHERE usename = 'agents'")
    assert "less protected" not in agent.said()
    agent.kill()

    weak = make_agent(db, name="weak", postgres_url=f"{url}?sslmode=require")
    words = "sslmode=require for 192.0.2.1: password and rows are encrypted, but"
    checked = weak.run("--check-config")
    assert checked.returncode == 0 and words in checked.stderr
    weak.start(under=distant.within)
    weak.wait_said("connected to the database")
    assert words in weak.said()
    doctor = subprocess.run([*distant.within, *weak.command("doctor")], env=weak.environment,
                            capture_output=True, text=True)
    assert f"warn {words}" in doctor.stdout


def test_doctor_reports_the_certificate_and_other_users_of_the_role(distant, make_agent, tmp_path):
    make_certificates(tmp_path)
    use_certificate(distant, tmp_path, "good")
    db = distant.new_database()
    role = db.query("SELECT role_name FROM observ.enroll('test')")[0][0]

    def doctor(user, address="192.0.2.1", **monitoring):
        agent = make_agent(db,
                           **monitoring, postgres_url=f"host=localhost hostaddr={address} user={user} "
                                                      f"dbname={db.name} sslmode=verify-full "
                                            f"sslrootcert={tmp_path}/ca.crt")
        return agent, subprocess.run([*distant.within, *agent.command("doctor")], env=agent.environment,
                                     capture_output=True, text=True).stdout

    said = doctor("postgres")[1]
    assert "warn the role is a superuser" in said
    agent, said = doctor(role)
    assert "ok   the connection uses TLS, TLSv1.3\n" in said and "the role may write" in said
    assert re.search("^warn the database's certificate expires in [45] days: renew it$", said, re.M), said
    assert "from several addresses" not in said and "superuser" not in said
    assert "ok   the database has nothing of shop on test yet\n" in said
    assert (f'FAIL role {role} may write as server "test" only, not as "another"; set vps_name to the server '
            "that was enrolled") in doctor(role, vps_name="another")[1]
    agent.start(under=distant.within)
    agent.wait_said("connected to the database")
    assert "from several addresses" not in doctor(role)[1], "an agent and its doctor are one"
    assert ("warn agents write as this role from several addresses: 127.0.0.1, 192.0.2.1; if these are not "
            "one machine's") in doctor(role, "127.0.0.1")[1]
    assert re.search("^ok   the database heard from shop on test [0-9] s ago$", doctor(role)[1], re.M)
    agent.kill()
    db.query("UPDATE agents SET last_seen_at = last_seen_at - interval '1 hour'")
    assert re.search("^FAIL the database heard from shop on test 36[0-9][0-9] s ago; start it, systemctl "
                     "enable", doctor(role)[1], re.M)
    db.query("DROP FUNCTION observ.agent_last_seen")
    assert re.search("^FAIL function observ.agent_last_seen.* does not exist; run schema.sql in this "
                     "database: it is of an older", doctor(role)[1], re.M)


# ---- roles -------------------------------------------------------------------------------------------------

ROLE = {
    "rights revoked": ("REVOKE observ_agent_any FROM agents", "GRANT observ_agent_any TO agents", "42501"),
    "login taken away": ("ALTER ROLE agents NOLOGIN", "ALTER ROLE agents LOGIN", "28000"),
    "dropped": ("DROP ROLE agents", "CREATE ROLE agents LOGIN IN ROLE observ_agent_any", "28P01"),
    "password changed": ("ALTER ROLE agents PASSWORD 'new'", "ALTER ROLE agents PASSWORD 'old'", "28P01"),
    "connection limit": ("ALTER ROLE agents CONNECTION LIMIT 0", "ALTER ROLE agents CONNECTION LIMIT -1",
                         "53300"),
}


@pytest.mark.parametrize("what", ROLE)
def test_fault_35_the_role(own_cluster, make_agent, log, what):
    """The agent reports the SQLSTATE and keeps everything; after the fix it continues."""
    db = own_cluster.new_database()
    breaks, fixes, sqlstate = ROLE[what]
    hba = own_cluster.folder / "data" / "pg_hba.conf"
    hba.write_text("local all agents scram-sha-256\n" + hba.read_text())
    db.query("ALTER ROLE agents PASSWORD 'old'")
    db.query("SELECT pg_reload_conf()")
    agent = make_agent(db, log_files=[str(log)], postgres_url=db.url() + " password=old").start()
    writer = Writer(log, 1000).start()
    wait_rows(db)
    db.query(breaks)
    db.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'agents'")
    agent.wait_said(sqlstate if sqlstate in ("42501", ) else f"FATAL: {sqlstate}", timeout=20)
    before = db.count("log_entries")
    db.query(fixes)
    if what == "dropped":
        db.query("ALTER ROLE agents PASSWORD 'old'")
    recovery = rows_again(db, before, timeout=65)
    judge(35, db, writer.stop(), recovery=recovery, note=what)
    assert agent.running()


# ---- primary and standby
# --------------------------------------------------------------------------------------

@pytest.fixture
def standby(tcp_cluster, cluster_dir):
    """A streaming standby of tcp_cluster."""
    server = Cluster(cluster_dir / "standby")
    data = server.folder / "data"
    owner = (tcp_cluster.folder / "data").stat()
    data.mkdir(mode=0o700, parents=True)
    run("pg_basebackup", "-D", data, "-h", "127.0.0.1", "-p", tcp_cluster.port, "-U", "postgres",
        "-R", "-c", "fast", "-X", "stream")
    run("chown", "-R", f"{owner.st_uid}:{owner.st_gid}", data)
    server.port = free_port()
    server.start("listen_addresses=127.0.0.1", f"port={server.port}")
    yield server
    server.stop("immediate")


def test_fault_36_a_standby_is_promoted(tcp_cluster, standby, make_agent, log):
    """The primary dies, its standby is promoted; the agent has both in its URL. It sends again what was not
    replicated."""
    primary_db = tcp_cluster.new_database()
    url = f"postgresql://agents@127.0.0.1:{tcp_cluster.port},127.0.0.1:{standby.port}/{primary_db.name}"
    agent = make_agent(primary_db, log_files=[str(log)], postgres_url=url).start()
    writer = Writer(log, 5000).start()
    wait_rows(primary_db)
    primary_db.close()
    tcp_cluster.stop("immediate")
    db = Database(standby, primary_db.name)
    before = db.count("log_entries")
    promoted = time.monotonic()
    psql(standby, "SELECT pg_promote()")
    rows_again(db, before)
    recovery = time.monotonic() - promoted
    judge(36, db, writer.stop(), recovery=recovery, note="standby promoted")
    assert recovery < 10.0
    assert agent.running()
    db.close()


def test_fault_36_the_primary_turns_read_only(tcp_cluster, standby, make_agent, log):
    """The agent's session becomes read-only; it looks for a writable server until there is one."""
    db = tcp_cluster.new_database()
    url = f"postgresql://agents@127.0.0.1:{standby.port},127.0.0.1:{tcp_cluster.port}/{db.name}"
    agent = make_agent(db, log_files=[str(log)], postgres_url=url).start()
    writer = Writer(log, 5000).start()
    wait_rows(db)
    psql(tcp_cluster, "ALTER SYSTEM SET default_transaction_read_only = on")
    psql(tcp_cluster, "SELECT pg_reload_conf()")
    agent.wait_said("25006")
    agent.wait_said("session is read-only")
    before = db.count("log_entries")
    psql(tcp_cluster, "ALTER SYSTEM RESET default_transaction_read_only")
    psql(tcp_cluster, "SELECT pg_reload_conf()")
    recovery = rows_again(db, before)
    judge(36, db, writer.stop(), recovery=recovery, note="primary read-only for a while")
    assert recovery < 10.0


# ---- two agents, PgBouncer, a fleet
# ------------------------------------------------------------------------------

def test_fault_37_two_agents_with_one_identity(db, make_agent, log):
    """The newer agent takes over; the older one ends with a clear message, and each line is there once."""
    older = make_agent(db, name="older", log_files=[str(log)]).start()
    writer = Writer(log, 5000).start()
    wait_rows(db)
    younger = make_agent(db, name="younger", log_files=[str(log)]).start()
    older.wait(15)
    assert "another agent with the same server and application name has taken over" in older.said()
    recovery = rows_again(db)
    judge(37, db, writer.stop(), recovery=recovery)
    assert younger.running()


class PgBouncer:
    """PgBouncer in transaction mode on a unix socket, before a server on a port of loopback."""

    def __init__(self, folder, port):
        self.folder = folder
        folder.chmod(0o755)
        (folder / "users").write_text('"agents" ""\n')
        (folder / "conf").write_text(f"""[databases]
* = host=127.0.0.1 port={port} user=agents
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = {folder}
auth_type = any
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 3
user = postgres
ignore_startup_parameters = extra_float_digits
""")
        self.process = None

    def start(self):
        run("chown", "-R", "postgres", self.folder)
        self.process = subprocess.Popen(["pgbouncer", "-q", self.folder / "conf"], stdout=subprocess.DEVNULL,
                                        stderr=open(self.folder / "log", "a"), cwd="/")
        wait_for((self.folder / ".s.PGSQL.6432").exists, "PgBouncer")

    def end(self, signal_number):
        self.process.send_signal(signal_number)
        self.process.wait(60)


def test_fault_38_pgbouncer_restarted_under_load(db, proxy, make_agent, log, short_dir):
    folder = short_dir / "bouncer"
    folder.mkdir()
    short_dir.chmod(0o755)
    bouncer = PgBouncer(folder, proxy.port)
    bouncer.start()
    try:
        for app in ("a", "b", "c", "d"):
            (log.parent / app).mkdir()
        agents = [make_agent(db, app=app, name=app, log_files=[str(log.parent / app / "app.log")],
                             postgres_url=f"host={folder} port=6432 user=agents dbname={db.name}").start()
                  for app in ("b", "c", "d")]
        first = make_agent(db, app="a", name="a", log_files=[str(log)],
                           postgres_url=f"host={folder} port=6432 user=agents dbname={db.name}").start()
        writer = Writer(log, 5000).start()
        wait_rows(db)
        for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            bouncer.end(how)
            (folder / ".s.PGSQL.6432").unlink(missing_ok=True)
            bouncer.start()
            recovery = rows_again(db)
        judge(38, db, writer.stop(), recovery=recovery)
        assert first.running() and all(a.running() for a in agents)
    finally:
        bouncer.end(signal.SIGTERM)


FLEET = 1000


class Probe:
    """A superuser signs in again and again, and retries at once when refused: the longest time until
    success."""

    def __init__(self, cluster):
        self.url, self.done = cluster.url(), threading.Event()
        self.worst, self.tries, self.refused = 0.0, 0, 0
        self.thread = threading.Thread(target=self.loop, daemon=True)

    def loop(self):
        while not self.done.wait(0.2):
            began = time.monotonic()
            while not self.signs_in() and not self.done.wait(0.02):
                self.refused += 1
            self.worst = max(self.worst, time.monotonic() - began)
            self.tries += 1

    def signs_in(self):
        try:
            psycopg2.connect(self.url).close()
            return True
        except psycopg2.OperationalError:
            return False

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


@pytest.mark.alone
def test_fault_39_a_thousand_agents_come_back_at_once(tcp_cluster, make_agent, log):
    """max_connections 200; 1,000 simulated agents (tests/fleet.py) and a real one whose connections all
    broke. As many as there is room for are served, the others ask rarely, a superuser gets in even in the
    first rush, and when there is room the real agent delivers."""
    settings = ("listen_addresses=127.0.0.1", f"port={tcp_cluster.port}", "max_connections=200",
                "superuser_reserved_connections=10")
    tcp_cluster.stop()
    tcp_cluster.start(*settings)
    db = tcp_cluster.new_database()
    agent = make_agent(db, log_files=[str(log)]).start()
    writer = Writer(log, 200).start()
    wait_rows(db)
    fleet = Fleet(tcp_cluster.port, db.name, FLEET)
    db.close()
    with Probe(tcp_cluster) as idle:
        wait_for(lambda: idle.tries >= 10, "what a sign-in takes without them")
    tcp_cluster.stop("immediate")
    fleet.start()                               # the server does not answer yet
    wait_for(lambda: fleet.attempts >= FLEET, "all ask")
    tcp_cluster.start(*settings)
    try:
        with Probe(tcp_cluster) as probe:
            wait_for(lambda: len(fleet.delivered) >= 185,
                     "the server is full, and all that it has room for are served", timeout=30)
            wait_for(lambda: fleet.codes["53300"] >= FLEET - 200, "the others are refused", timeout=30)
            stampede, probe.worst = probe.worst, 0.0
            attempts, began = fleet.attempts, time.monotonic()
            wait_for(lambda: time.monotonic() - began > 5, "some seconds")
            rate = (fleet.attempts - attempts) / 5
    finally:
        fleet.stop()
    served = len(fleet.delivered)
    before = db.count("log_entries")
    recovery = 0.0 if before == 0 else rows_again(db, before)
    judge(39, db, writer.stop(), recovery=recovery,
          note=f"1,000 simulated: {served} served, the others ask {rate:.0f} times/s, "
               f"sign-in within {stampede:.1f} s, then {probe.worst:.1f} s (idle {idle.worst:.2f} s)")
    assert probe.tries > 5 and max(stampede, probe.worst) < 20, "the server is not to be reached"
    assert rate < 250 and served >= 185
    # Whoever was told that his rows are in has them; one whom the end caught before the answer may, too.
    stored = db.query("SELECT DISTINCT vps_name FROM vps_metrics WHERE vps_name LIKE 'sim-%%'")
    assert {f"sim-{i}" for i in fleet.delivered} <= {name for (name,) in stored}
    assert db.one("SELECT bool_and(n = last_seq) "
                  "FROM (SELECT a.last_seq, (SELECT count(*) FROM vps_metrics m "
                  "WHERE m.vps_name = a.vps_name) AS n FROM agents a WHERE a.vps_name LIKE 'sim-%%') x")
    assert agent.running()
