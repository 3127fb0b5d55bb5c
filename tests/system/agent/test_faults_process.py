"""Faults of the agent's process and of the machine: killed, stopped, a clock that jumps, system calls
that fail, no memory or descriptors left, a full disk. Test names contain the rows of FAULTS; judge()
counts."""
import os
import random
import struct
import subprocess
import time

import pytest
from harness import Watch, run, wait_for
from oracle import judge, rows_again
from writer import Writer


def end_of(agent, seconds):
    """Its exit status, or None if it still runs after that time."""
    try:
        return agent.process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def then_runs(row, db, agent, writer, seed=1, note=""):
    """Without the fault, the agent delivers everything."""
    if agent.running():
        agent.kill()
    agent.start()
    recovery = rows_again(db)
    judge(row, db, writer.stop(), seed=seed, recovery=recovery, note=note)


def kill_at_random(db, agent, log, rate, kills, seed):
    chance = random.Random(seed)
    writer = Writer(log, rate, seed).start()
    for _ in range(kills):
        agent.start()
        time.sleep(chance.uniform(0.05, 2.0))   # the instant of the kill: any will do
        agent.kill()
    agent.start()
    recovery = rows_again(db)
    judge(1, db, writer.stop(), seed=seed, recovery=recovery, note=f"{kills} kills at {rate:,} lines/s")


def test_fault_01_killed_at_random_instants(db, make_agent, log):
    kill_at_random(db, make_agent(db, log_files=[str(log)]), log, rate=20_000, kills=10, seed=1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [11, 12, 13, 14])
def test_fault_01_killed_two_hundred_times(db, make_agent, log, seed):
    kill_at_random(db, make_agent(db, log_files=[str(log)]), log, rate=20_000, kills=50, seed=seed)


def test_fault_04_stopped_under_load(db, make_agent, log):
    """After SIGTERM the agent delivers its samples and ends within 5 seconds."""
    agent = make_agent(db, log_files=[str(log)])
    writer, recovery = Writer(log, 20_000).start(), 0.0
    for _ in range(4):
        agent.start()
        recovery = max(recovery, rows_again(db))
        assert agent.stop(timeout=5.0) == 0
    agent.start()
    judge(4, db, writer.stop(), recovery=recovery)


@pytest.mark.alone
def test_fault_14_clock_that_jumps(db, make_agent, log, shim, tmp_path):
    """The wall clock jumps by an hour, back by two, by ten years. Rows keep coming at the pace of real time,
    and the difference from the database's clock is shown."""
    clock = tmp_path / "clock"
    clock.write_bytes(bytes(8))
    agent = make_agent(db, log_files=[str(log)], environment={"LD_PRELOAD": shim, "SHIM_CLOCK": str(clock)})
    writer, worst, began = Writer(log, 1000).start(), 0.0, time.monotonic()
    agent.start()
    rows_again(db)
    for jump in (3600, -3600, 315_360_000, 0):
        with open(clock, "r+b") as ahead:
            ahead.write(struct.pack("q", jump))
        with Watch(agent) as watch:
            recovery = rows_again(db)
        assert recovery < 3.0 + watch.stall
        worst = max(worst, recovery)
        db.wait("SELECT abs(skew_ms - %s) < 5000 FROM agents", jump * 1000, timeout=15)
    judge(14, db, writer.stop(), recovery=worst)
    most = (time.monotonic() - began) / 10 + 2
    assert db.count("vps_metrics") <= most, "a storm of metrics"
    assert db.one("SELECT max(timestamp) > now() + interval '9 years' FROM log_entries"), \
        "the clock did not jump"


# ---- system calls that fail ------------------------------------------------------------------------

CALLS = ["pread64:error=EIO:when=30+20", "recvfrom:error=ECONNRESET:when=9+9", "sendto:error=EPIPE:when=6+6",
         "openat:error=EMFILE:when=70+3", "getdents64:error=EIO:when=2+2", "inotify_add_watch:error=ENOSPC",
         "write:error=ENOSPC"]
RARE = ["pread64:error=EINTR:when=10+3", "recvfrom:error=EINTR:when=5+2", "sendto:error=EINTR:when=5+2",
        "connect:error=EINTR:when=1+2", "epoll_wait:error=EINTR:when=20+5", "newfstatat:error=EIO:when=60+9",
        "timerfd_settime:error=EINTR:when=40+9"]
NO_HANDLES = "name_to_handle_at:error=EOPNOTSUPP"


def injecting(call, trace):
    return ["strace", "-D", "-f", "-qq", "-o", trace, "-e", f"trace={call.split(':')[0]}",
            "-e", f"inject={call}"]


def rotate_some(writer, first):
    for i in range(first, first + 4):
        time.sleep(0.4)                         # one rotation per interval
        writer.rotate(f"{writer.path}.{i}")


@pytest.mark.parametrize("call", CALLS + [pytest.param(call, marks=pytest.mark.soak) for call in RARE])
def test_fault_16_a_call_that_fails(db, make_agent, log, tmp_path, call):
    """Beginning with the N-th, each M-th call fails, while lines come and the file is rotated. The agent may
    end (systemd starts it again), it may not lie: what it did not write is there when the fault is gone."""
    agent = make_agent(db, log_files=[str(log)]).start()
    writer, trace = Writer(log, 2000).start(), tmp_path / "trace"
    rows_again(db)
    agent.kill()
    agent.start(under=injecting(call, trace))
    rotate_some(writer, 0)
    wait_for(lambda: trace.exists() and "(INJECTED)" in trace.read_text(errors="replace")
             or not agent.running(), f"the fault: {call}")
    assert agent.process.poll() in (None, 1), agent.said()[-2000:]
    then_runs(16, db, agent, writer, note="failing calls injected by strace")


def test_fault_16_a_file_system_without_handles(db, make_agent, log, tmp_path):
    """A file is then known by its inode and its head; before a restart as after it."""
    agent = make_agent(db, log_files=[str(log)]).start(under=injecting(NO_HANDLES, tmp_path / "trace1"))
    writer = Writer(log, 2000).start()
    rows_again(db)
    rotate_some(writer, 0)
    agent.kill()
    rotate_some(writer, 4)
    agent.start(under=injecting(NO_HANDLES, tmp_path / "trace2"))
    recovery = rows_again(db)
    judge(16, db, writer.stop(), recovery=recovery)
    assert db.count("log_streams", "file_id LIKE '%%:%%/%%:%%'") == 0, "a handle was had after all"


@pytest.mark.parametrize("every", [2, 3, 17])
def test_fault_16_half_of_the_bytes(db, make_agent, log, shim, every):
    """Each so-many-th read of a log, and each send and receive, handles half of what was asked for."""
    agent = make_agent(db, log_files=[str(log)], environment={"LD_PRELOAD": shim, "SHIM_SHORT": str(every)})
    writer = Writer(log, 5000, seed=every).start()
    agent.start()
    recovery = rows_again(db)
    wait_for(lambda: writer.written > 10_000, "the writer continues")
    judge(16, db, writer.stop(), seed=every, recovery=recovery)
    assert agent.running()


# ---- a full disk under the database ------------------------------------------------------------------

def test_fault_17_database_disk_full(own_cluster, make_agent, log, small_disk):
    """The tablespace of the database fills up; the agent waits, and continues by itself when there is
    space."""
    db = own_cluster.new_database()
    disk = small_disk(30)
    space = disk / "space"
    space.mkdir()
    owner = own_cluster.folder / "data"
    os.chown(space, owner.stat().st_uid, owner.stat().st_gid)
    db.close()
    admin = own_cluster.url()
    run("psql", "-Xq", admin, "-c", f"CREATE TABLESPACE small LOCATION '{space}'")
    run("psql", "-Xq", admin, "-c", f"ALTER DATABASE {db.name} SET TABLESPACE small")
    agent = make_agent(db, log_files=[str(log)]).start()
    writer = Writer(log, 5000).start()
    agent.wait_said("53100", timeout=30)
    assert agent.running()
    small_disk.resize(2000)
    recovery = rows_again(db, timeout=70)
    judge(17, db, writer.stop(), recovery=recovery)
    assert agent.running()
    agent.kill()
    db.close()
    own_cluster.stop("immediate")


# ---- memory and descriptors --------------------------------------------------------------------------

def test_fault_40_allocations_that_fail(db, make_agent, log, shim):
    """From the N-th allocation on some fail, N at random: the agent continues, or ends with a message about
    memory."""
    chance = random.Random(40)
    agent = make_agent(db, log_files=[str(log)],
                       health_checks=[{"url": "http://127.0.0.1:1/", "interval": 1, "timeout": 1}])
    writer, ends = Writer(log, 5000).start(), []
    agent.environment["LD_PRELOAD"] = shim
    for _ in range(15):
        first = chance.choice([chance.randrange(1, 4000), chance.randrange(4000, 6000),
                               chance.randrange(6000, 40_000)])
        agent.environment["SHIM_MALLOC"] = f"{first}:{chance.choice([1, 10, 1000])}"
        agent.start()
        ends.append((agent.environment["SHIM_MALLOC"], end_of(agent, 1.5)))
        if agent.running():
            agent.kill()
    del agent.environment["LD_PRELOAD"]
    assert all(status in (None, 1, 127) for _, status in ends), (ends, agent.said()[-3000:])
    then_runs(40, db, agent, writer, 40)


@pytest.mark.parametrize("megabytes", [40, 60, 80, 100])
def test_fault_40_little_address_space(db, make_agent, log, megabytes):
    agent = make_agent(db, log_files=[str(log)])
    writer = Writer(log, 5000).start()
    agent.start(under=["prlimit", f"--as={megabytes * 1_000_000}"])
    status = end_of(agent, 3)
    assert status in (None, 1, 127), agent.said()
    assert status is None or "memory" in agent.said()
    then_runs(40, db, agent, writer, megabytes)


def test_fault_40_thirty_two_descriptors(db, make_agent, log):
    """More files and checks than descriptors: files are read in turn, or those that fit and the others are
    named."""
    folder = log.parent
    files = [folder / f"{i}.log" for i in range(60)]
    for path in files:
        path.write_text(f"in {path.name}\n")
    agent = make_agent(db, log_files=[str(folder / "*.log")], health_checks=[
        {"url": f"http://127.0.0.1:1/{i}", "interval": 1, "timeout": 1} for i in range(10)])
    agent.start(under=["prlimit", "--nofile=32"])
    db.wait("SELECT count(*) > 0 FROM log_entries")
    wait_for(lambda: "cannot follow" in agent.said() or db.count("log_entries") == len(files),
             "all are read or named")
    assert agent.running()
    assert agent.status()["connected"]
    agent.kill()
    agent.start()
    judge(40, db, len(files), seed=32)
