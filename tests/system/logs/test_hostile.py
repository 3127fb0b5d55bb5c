"""Unusual log files, and people who move them: in the end each line is one row, or in a gap."""
import gzip
import json
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest
from harness import LINE_SQL, PATIENCE_S, Agent, wait_for
from writer import append

SILENCE_S = 62                                  # longer than the agent waits for lines in a rotated file


def wait_messages(db, *wanted, timeout=PATIENCE_S):
    """Wait for that many rows; then they must be these lines, each once."""
    db.wait("SELECT count(*) >= %s FROM log_entries", len(wanted), timeout=timeout)
    assert sorted(m for (m,) in db.query(f"SELECT {LINE_SQL} FROM log_entries")) == sorted(wanted)


def behind(agent):
    """The uncommitted bytes of each followed file."""
    return [s["lag_bytes"] for s in agent.status()["tail"]["streams"]]


def settings(db, *log_files):
    return {"enabled": True, "vps_name": "test", "collection_interval": 10, "postgres_url": db.url(),
            "log_files": [str(f) for f in log_files]}


class Silence:
    """An agent whose files nobody changes while the other tests run; test_after_a_long_silence ends it."""

    def __init__(self, db, folder, runtime):
        self.db = db
        self.log, self.dropped, self.chain = (folder / name
                                              for name in ("app.log", "dropped.log", "chain.log"))
        self.agent = Agent(folder / "agent", runtime, "shop",
                           settings(db, self.log, self.dropped, self.chain)).start()
        self.lines = ["log 1", "dropped 1", "chain 1", "chain 2", "chain 3"]
        self.held_log, self.held_chain = self.put(self.log, "log 1"), self.put(self.chain, "chain 1")
        self.put(self.dropped, "dropped 1")
        wait_messages(db, *self.lines[:3])
        os.rename(self.chain, f"{self.chain}.2")
        self.put(self.chain, "chain 2")
        os.rename(self.chain, f"{self.chain}.1")
        self.put(self.chain, "chain 3")
        wait_messages(db, *self.lines)
        self.agent.configure(settings(db, self.log, self.chain))
        self.agent.reload()
        self.agent.wait_said("configuration reloaded")
        self.began = time.monotonic()

    def put(self, path, line):
        append(path, line)
        return open(path, "a")

    def write(self, held, line):
        held.write(line + "\n")
        held.flush()
        self.lines.append(line)
        wait_messages(self.db, *self.lines)


@pytest.fixture(scope="module", autouse=True)
def silence(cluster, tmp_path_factory):
    runtime = tempfile.mkdtemp(prefix="obs-")
    silence = Silence(cluster.new_database(), tmp_path_factory.mktemp("silence"), Path(runtime))
    yield silence
    if silence.agent.running():
        silence.agent.kill()
    silence.db.close()
    shutil.rmtree(runtime)


class Stopped:
    """The agent is stopped during the block."""

    def __init__(self, agent):
        self.process = agent.process

    def __enter__(self):
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("partial", [10, 1_000_000])
def test_an_unfinished_line_is_cut_off(db, make_agent, log, partial):
    agent = make_agent(db, log_files=[str(log)]).start()
    append(log, "first")
    wait_messages(db, "first")
    with open(log, "a") as f:
        f.write("x" * partial)
    wait_for(lambda: behind(agent) == [partial], "the unfinished line is seen")
    os.truncate(log, len("first\n"))
    append(log, "second")
    wait_messages(db, "first", "second")
    assert db.query("SELECT kind, bytes::int FROM gaps") == [("truncated", partial)]


def test_a_file_with_only_an_unfinished_line_is_truncated(db, make_agent, log):
    agent = make_agent(db, log_files=[str(log)]).start()
    log.write_text("x" * 1_000_000)
    wait_for(lambda: behind(agent) == [1_000_000], "the unfinished line is seen")
    log.write_text("second\n")
    wait_messages(db, "second")
    with Stopped(agent):
        log.write_text("x" * 1_000_000)
    wait_for(lambda: behind(agent) == [1_000_000], "the unfinished line is seen")
    with Stopped(agent):
        log.write_text("".join(f"line {i}\n" for i in range(200_000)))
    db.wait("SELECT count(*) >= 200001 FROM log_entries", timeout=30)
    assert (db.query("SELECT count(*)::int, count(DISTINCT message)::int FROM log_entries")
            == [(200001, 200001)])


def test_truncated_and_filled_with_lines_of_the_same_length(db, make_agent, log):
    """Each line ends with the same long text, so that the last bytes before the position stay the same."""
    agent = make_agent(db, log_files=[str(log)]).start()
    pad = "x" * 100
    append(log, *(f"old {i:04} {pad}" for i in range(50)))
    db.wait("SELECT count(*) = 50 FROM log_entries")
    with Stopped(agent):
        log.write_text("".join(f"new {i:04} {pad}\n" for i in range(50)))
    append(log, f"end 0000 {pad}")
    db.wait("SELECT count(*) >= 101 FROM log_entries")
    assert db.query("SELECT left(message, 3), count(*)::int FROM log_entries GROUP BY 1 ORDER BY 1") == \
        [("end", 1), ("new", 50), ("old", 50)]
    assert db.query("SELECT kind FROM gaps") == [("truncated",)]


def test_log_files_are_added_by_a_reload(db, make_agent, log):
    agent = make_agent(db).start()
    agent.wait_said("connected to the database")
    append(log, "one")
    agent.configure(settings(db, log))
    agent.reload()
    wait_messages(db, "one")


@pytest.mark.parametrize("how", ["folder", "rights"])
def test_a_file_that_was_missing_at_the_start_continues_at_its_position(db, make_agent, log, how):
    agent = make_agent(db, log_files=[str(log)]).start()
    append(log, "one")
    wait_messages(db, "one")
    agent.kill()
    append(log, "two")
    away = log.parent.with_name("away")
    os.rename(log.parent, away)
    agent.start()
    db.wait("SELECT count(*) = 1 FROM gaps")
    os.rename(away, log.parent)
    append(log, "three")
    wait_messages(db, "one", "two", "three")


def test_bursts_of_rotations(db, make_agent, log):
    """A hundred rotations within a few milliseconds: the folder's mtime may not change."""
    agent = make_agent(db, log_files=[str(log)]).start()
    append(log, "first")
    db.wait("SELECT count(*) = 1 FROM log_entries")
    n = 1
    for burst in range(3):
        for i in range(100):
            os.rename(log, log.with_name(f"app.log.{burst}.{i}"))
            append(log, f"line {n}")
            n += 1
        db.wait("SELECT count(*) >= %s FROM log_entries", n)
    assert db.query("SELECT count(*)::int, count(DISTINCT message)::int FROM log_entries") == [(n, n)]
    assert db.count("gaps") == 0
    assert agent.running()



def test_other_file_types_match_the_pattern(db, make_agent, log, tmp_path):
    """Each is named at most once, and a folder never; the regular file is read once, although three patterns
    and five names match it."""
    log.write_text("one\n")
    folder = log.parent
    (folder / "hard.log").hardlink_to(log)
    (folder / "soft.log").symlink_to(log)
    (folder / "loop.log").symlink_to("loop.log")
    (folder / "loop2.log").symlink_to("loop.log")
    (folder / "device.log").symlink_to("/dev/zero")
    (folder / "folder.log").mkdir()
    os.mkfifo(folder / "fifo.log")
    (tmp_path / "link").symlink_to(folder)
    for i in range(100):
        (folder / f"loop{i:03}.log").symlink_to(f"loop{i:03}.log")
    agent = make_agent(db, log_files=[str(folder / "*.log"), str(tmp_path / "link/*.log"), str(log)]).start()
    wait_messages(db, "one")
    looks = agent.said().count("cannot follow")
    time.sleep(2.5)                             # two more checks of the folder
    append(log, "two")
    wait_messages(db, "one", "two")
    assert agent.said().count("cannot follow") == looks == 208


def test_packed_files_are_no_text(db, make_agent, log):
    make_agent(db, log_files=[f"{log}*"]).start()
    lines = [random.Random(4).randbytes(40).hex() for _ in range(100)]
    append(log, *lines)
    db.wait("SELECT count(*) = 100 FROM log_entries")
    os.rename(log, f"{log}.1")
    log.with_name("app.log.1.gz").write_bytes(gzip.compress(log.with_name("app.log.1").read_bytes()))
    os.unlink(f"{log}.1")
    append(log, "two")
    wait_messages(db, *lines, "two")


def test_long_lines_that_end_at_the_borders_of_blocks(db, make_agent, log):
    lengths = [n * block + more for n in (1, 2) for block in (262144, 262145)
               for more in (-1, 0, 1, 2, 62, 63, 64)]
    make_agent(db, log_files=[str(log)]).start()
    with open(log, "w") as f:
        for length in lengths:
            f.write("x" * length + f"\n{length}\n")
    db.wait("SELECT count(*) >= %s FROM log_entries", 2 * len(lengths), timeout=20)
    append(log, "end")
    db.wait("SELECT count(*) > 0 FROM log_entries WHERE message = 'end'")
    assert db.count("log_entries") == 2 * len(lengths) + 1
    assert db.query("SELECT kind, count(*)::int, sum(bytes)::int FROM gaps GROUP BY 1") == \
        [("line_cut", sum(n > 262144 for n in lengths), sum(max(0, n - 262144) for n in lengths))]


def test_rotated_twice_unseen_with_lines_that_are_all_the_same(db, make_agent, log):
    """A file that was made and rotated unseen may have the very text of another: it is taken for a copy, but
    counted."""
    agent = make_agent(db, log_files=[str(log)]).start()
    append(log, *["tick"] * 500)
    db.wait("SELECT count(*) = 500 FROM log_entries")
    with Stopped(agent):
        for i in range(3):
            os.rename(log, f"{log}.{i}")
            append(log, *["tick"] * 700)
    db.wait("SELECT count(*) = 1900 FROM log_entries")
    db.wait("SELECT count(*) >= 1 FROM gaps")
    assert db.query("SELECT kind, bytes::int FROM gaps") == [("copy_passed_over", 3500)]


def numbered(path, first, last, ago=0.0):
    append(path, *(json.dumps({"ts": time.time() - ago, "message": f"line {n}", "context": {"n": n}})
                   for n in range(first, last)))


def wait_lines(db, n, timeout=10.0):
    """Wait until the lines 0 to n - 1 are rows; then each is there once, and nothing else."""
    db.wait("SELECT count(DISTINCT context->>'n') >= %s FROM log_entries", n, timeout=timeout)
    assert db.query("SELECT count(*), count(DISTINCT context->>'n') FROM log_entries") == [(n, n)]


def test_a_log_that_is_replaced_by_a_longer_copy(db, make_agent, log):
    """rsync, sed -i, an editor: the name gets another file, which begins with all lines that were read."""
    numbered(log, 0, 100)
    make_agent(db, log_files=[str(log)]).start()
    wait_lines(db, 100)
    for first in (100, 110, 120):
        copy = log.with_name(".app.log.Xy")
        shutil.copyfile(log, copy)
        numbered(copy, first, first + 10)
        os.rename(copy, log)
        wait_lines(db, first + 10)
    assert db.count("gaps") == 0


def test_a_copy_beside_a_log_that_is_rotated_later(db, make_agent, log):
    numbered(log, 0, 100)
    agent = make_agent(db, log_files=[f"{log}*"]).start()
    wait_lines(db, 100)
    shutil.copyfile(log, f"{log}.bak")
    looks = len(behind(agent))
    os.rename(log, f"{log}.1")
    numbered(log, 100, 110)
    wait_lines(db, 110)
    numbered(log, 110, 120)
    wait_lines(db, 120)
    assert looks == 1


def test_another_log_that_begins_the_same(db, make_agent, log):
    """Two programs with the same first lines: the second log is no copy of the first, and is read."""
    append(log, "service starting")
    make_agent(db, log_files=[f"{log}*"]).start()
    wait_messages(db, "service starting")
    append(f"{log}.err", "service starting")
    numbered(f"{log}.err", 0, 100)
    db.wait("SELECT count(DISTINCT context->>'n') = 100 FROM log_entries")


def test_a_name_that_only_begins_like_a_rotated_one(db, make_agent, log):
    """A file that is not configured is not part of the log, although its name begins the same."""
    numbered(log, 0, 10)
    make_agent(db, log_files=[str(log)]).start()
    wait_lines(db, 10)
    os.rename(log, f"{log}.1")
    numbered(f"{log}-audit-secret", 1000, 1005)
    numbered(log, 10, 20)
    wait_lines(db, 20)
    numbered(log, 20, 30)
    wait_lines(db, 30)


def test_a_writer_that_leaves_a_hole_after_a_truncation(db, make_agent, log):
    """copytruncate under a program without O_APPEND: it keeps writing at its old offset, behind NUL bytes."""
    numbered(log, 0, 100)
    make_agent(db, log_files=[str(log)]).start()
    wait_lines(db, 100)
    with open(log, "r+b", buffering=0) as f:
        f.seek(0, os.SEEK_END)
        at = f.tell()
        os.truncate(log, 0)
        f.seek(at)
        f.write(b'{"message":"line 100","context":{"n":100}}\n')
    wait_lines(db, 101)


def test_lines_that_end_in_a_bracket_are_no_stack_trace(db, make_agent, log):
    make_agent(db, log_files=[str(log)]).start()
    lines = ["panic: recovered in handler",
             *(f"2026-11-24T04:00:{i:02d}Z ERROR request {i} failed (500)" for i in range(40))]
    append(log, *lines)
    wait_messages(db, *lines)
    assert db.query("SELECT level, count(*)::int FROM log_entries GROUP BY 1 ORDER BY 1") == [("CRITICAL", 1),
                                                                                              ("ERROR", 40)]


def test_a_group_that_never_ends_is_seen(db, make_agent, log):
    """Indented lines that arrive slowly are one row every few seconds, not one row at the end."""
    agent = make_agent(db, log_files=[str(log)]).start()
    agent.wait_said("connected to the database")
    append(log, "start of job")
    began = time.monotonic()

    def trickle():
        append(log, "  step")
        return db.count("log_entries") >= 1

    wait_for(trickle, "a row", timeout=10, every=0.3)
    assert time.monotonic() - began < 5


def test_one_line_from_the_future_is_no_flood(db, make_agent, log):
    agent = make_agent(db, log_files=[str(log)], log_lines_per_second=50)
    numbered(log, 0, 1, ago=-7200)
    agent.start()
    wait_lines(db, 1)
    for first in range(1, 121, 20):
        numbered(log, first, first + 20, ago=first)     # twenty a second, for six seconds
    wait_lines(db, 121)
    assert db.count("gaps") == 0


def test_after_a_long_silence(silence):
    """Lines written to a file long after its rename are read, once: also when
    others are rotated, when it is configured again, and after a restart."""
    db, agent = silence.db, silence.agent
    time.sleep(max(0, silence.began + SILENCE_S - time.monotonic()))
    silence.write(silence.held_chain, "chain 1, later")
    # Each still has a name, and one is no longer configured.
    assert db.query("SELECT path FROM log_streams WHERE finished") == [(str(silence.dropped),)]
    os.rename(silence.log, f"{silence.log}.1")
    append(silence.log, "log 2")
    os.rename(silence.chain, f"{silence.chain}.0")
    append(silence.chain, "chain 4")
    silence.lines += ["log 2", "chain 4"]
    wait_messages(db, *silence.lines)
    silence.write(silence.held_log, "log 1, later")
    agent.configure(settings(db, silence.log, f"{silence.chain}*", silence.dropped))
    agent.reload()
    silence.write(open(silence.dropped, "a"), "dropped 2")
    agent.kill()
    agent.start()
    silence.write(open(silence.dropped, "a"), "dropped 3")
    silence.write(silence.held_chain, "chain 1, after all")
    assert db.count("gaps") == 0


def test_a_huge_file_without_a_newline_delays_no_other(db, make_agent, tmp_path):
    """A sparse file of 100 GB is one unfinished line; another log and the status are not delayed."""
    huge, log = tmp_path / "huge.log", tmp_path / "app.log"
    with open(huge, "w") as f:
        f.truncate(100 << 30)
    log.write_text("one\n")
    agent = make_agent(db, log_files=[str(huge), str(log)]).start()
    db.wait("SELECT count(*) = 1 FROM log_entries")
    with open(log, "a") as f:
        f.write("two\n")
    db.wait("SELECT count(*) = 2 FROM log_entries")
    agent.status()
    assert agent.stop(timeout=5) == 0
