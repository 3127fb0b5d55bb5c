"""Faults of log files: rotated in every way, torn, huge, invalid, too many. Test names contain the rows of
FAULTS; judge() counts."""
import contextlib
import gzip
import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from harness import wait_for
from oracle import judge
from writer import Writer, append


def numbered(path, *numbers):
    append(path, *(json.dumps({"message": f"line {n}", "context": {"n": n}}) for n in numbers))


def figures(agent):
    """The part of `status` about the files."""
    return agent.status()["tail"]


def wait_followed(agent, path):
    """Wait until the agent has opened this file, under any name."""
    def look():
        found = False
        for fd in Path(f"/proc/{agent.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found = found or fd.samefile(path)
        return found
    wait_for(look, f"{path} is followed", every=0.01)


def peak_kb(agent):
    return int(next(line.split()[1] for line in open(f"/proc/{agent.process.pid}/status")
                    if line.startswith("VmHWM")))


def descriptors(agent):
    return len(os.listdir(f"/proc/{agent.process.pid}/fd"))


def new_lines(writer, count):
    target = writer.written + count
    wait_for(lambda: writer.written >= target, "the writer continues")


def turns(writer, seconds, count):
    """Yields `count` times, at equal intervals."""
    for i in range(count):
        time.sleep(seconds)
        yield i


# ---- rotation ------------------------------------------------------------------------------------

def test_fault_18_rename_rotation_under_load(db, make_agent, log):
    """Rename and create each second, at 50,000 lines/s."""
    make_agent(db, log_files=[str(log)]).start()
    writer = Writer(log, rate=50000).start()
    for i in turns(writer, 1.0, 5):
        writer.rotate(f"{log}.{i}")
    judge(18, db, writer.stop())


def test_fault_19_the_writer_keeps_the_old_file(db, make_agent, log):
    """The log is renamed; the writer keeps writing to the old file for seconds, then creates the new one."""
    make_agent(db, log_files=[str(log)]).start()
    writer = Writer(log, rate=5000).start()
    for i in turns(writer, 1.0, 2):
        os.rename(log, f"{log}.{i}")
        new_lines(writer, 12000)
        with writer.lock:
            writer.reopen()
    judge(19, db, writer.stop())


def test_fault_20_rotated_packed_and_deleted_while_the_database_is_down(own_cluster, make_agent, log):
    """The agent delivers a file without a name by its open descriptor."""
    db = own_cluster.new_database()
    make_agent(db, log_files=[str(log)]).start()
    writer = Writer(log, rate=5000).start()
    db.wait("SELECT count(*) > 1000 FROM log_entries")
    db.close()
    own_cluster.stop("fast")
    new_lines(writer, 5000)
    writer.rotate(f"{log}.1")
    new_lines(writer, 5000)
    with open(f"{log}.1", "rb") as old, gzip.open(f"{log}.1.gz", "wb") as packed:
        shutil.copyfileobj(old, packed)
    os.unlink(f"{log}.1")
    own_cluster.start()
    judge(20, db, writer.stop())


def test_fault_20_packed_while_the_agent_is_down(db, make_agent, log):
    """Lines that are only in a packed file become a gap that names it."""
    agent = make_agent(db, log_files=[str(log)]).start()
    numbered(log, *range(100))
    db.wait("SELECT count(*) = 100 FROM log_entries")
    agent.kill()
    numbered(log, *range(100, 150))
    log.with_name("app.log.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    numbered(log, *range(150, 200))
    agent.start()
    judge(20, db, 200, gap_lines=50, note="packed while the agent was down")
    assert "app.log.1.gz" in db.one("SELECT detail FROM gaps")


def readable(folder):
    """The numbers of all whole lines in the files of the folder."""
    found = []
    for path in folder.iterdir():
        for line in path.read_bytes().split(b"\n")[:-1]:
            try:
                found.append(json.loads(line)["context"]["n"])
            except ValueError:
                pass                            # torn between copy and truncation
    return found


@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
@pytest.mark.parametrize("rate", [50000, 2000])
def test_fault_21_copytruncate_under_load(db, make_agent, log, rate, pattern):
    """The copies are renamed while the agent reads them. Each line in a copy or in the log is a row, once.

    No step splits a line: its halves, one at the end of the copy and one at the start of the log, would
    become two rows.
    """
    make_agent(db, log_files=[str(log.parent / pattern)]).start()
    writer = Writer(log, rate=rate).start()
    for i in turns(writer, 1.3, 3):
        for old in range(i, 0, -1):
            os.rename(f"{log}.{old}", f"{log}.{old + 1}")
        with writer.lock:
            shutil.copyfile(log, f"{log}.1")
        with writer.lock:
            os.truncate(log, 0)
    written = writer.stop()
    wanted = set(readable(log.parent))
    db.wait("SELECT count(DISTINCT context->>'n') >= %s FROM log_entries", len(wanted), timeout=60)
    rows = {n for (n,) in db.query("SELECT (context->>'n')::int FROM log_entries WHERE context ? 'n'")}
    assert wanted - rows == set()
    judge(21, db, written, gap_lines=written - len(wanted) or 1)
    assert 1 <= db.count("gaps", "kind = 'truncated'") <= 3 or written == len(rows)


@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
def test_fault_21_copytruncate_within_a_line(db, make_agent, log, pattern):
    """The halves become two rows: nothing is lost, nothing is there twice."""
    make_agent(db, log_files=[str(log.parent / pattern)]).start()
    numbered(log, *range(100))
    db.wait("SELECT count(*) = 100 FROM log_entries")
    with open(log, "a", encoding="utf-8") as writer:
        writer.write("the first half, ")
        writer.flush()
        shutil.copyfile(log, f"{log}.1")
        os.truncate(log, 0)
        writer.write("the second half\n")
    numbered(log, 100)
    db.wait("SELECT count(*) >= 103 FROM log_entries")
    rows = db.query("SELECT message FROM log_entries WHERE NOT coalesce(context ? 'n', false) ORDER BY 1")
    assert rows == [("the first half, ",), ("the second half",)]
    judge(21, db, 103)


@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
def test_fault_21_copytruncate_while_the_agent_is_stopped(db, make_agent, log, pattern):
    """The agent finds the copy by its first bytes and by the bytes before the position; it reads the rest
    once."""
    agent = make_agent(db, log_files=[str(log.parent / pattern)]).start()
    numbered(log, *range(1000))
    db.wait("SELECT count(*) = 1000 FROM log_entries")
    for turn in range(2):
        agent.kill()
        numbered(log, *range(1000 + 100 * turn, 1050 + 100 * turn))
        if turn:
            os.rename(f"{log}.1", f"{log}.2")
        shutil.copyfile(log, f"{log}.1")
        os.truncate(log, 0)
        numbered(log, *range(1050 + 100 * turn, 1100 + 100 * turn))
        agent.start()
        db.wait("SELECT count(*) >= %s FROM log_entries", 1100 + 100 * turn)
    agent.kill()
    agent.start()
    numbered(log, 1200)
    judge(21, db, 1201)


@pytest.mark.parametrize("refill", [0, 50, 100, 150])
def test_fault_22_truncated_while_the_agent_is_stopped(db, make_agent, log, refill):
    """Refilled to less, as much or more: the agent reads from the start, once; the lost lines are a gap."""
    agent = make_agent(db, log_files=[str(log)]).start()
    numbered(log, *range(1000, 1100))
    db.wait("SELECT count(*) = 100 FROM log_entries")
    agent.kill()
    numbered(log, *range(1100, 1110))           # the agent never sees them
    os.truncate(log, 0)
    numbered(log, *range(1110, 1110 + refill))
    agent.start()
    db.wait("SELECT count(*) = 1 FROM gaps WHERE kind = 'truncated'")
    numbered(log, 2000)
    judge(22, db, 111 + refill, gap_lines=10)


def test_fault_23_rotated_twice_while_the_agent_is_stopped(db, make_agent, log):
    agent = make_agent(db, log_files=[str(log)]).start()
    writer = Writer(log, rate=5000).start()
    db.wait("SELECT count(*) > 1000 FROM log_entries")
    agent.kill()
    new_lines(writer, 3000)
    writer.rotate(f"{log}.1")
    new_lines(writer, 3000)
    os.rename(f"{log}.1", f"{log}.2")
    writer.rotate(f"{log}.1")
    new_lines(writer, 3000)
    agent.start()
    judge(23, db, writer.stop())


def test_fault_24_symlink_switched_to_a_new_release_under_load(db, make_agent, tmp_path):
    for i in range(4):
        (tmp_path / f"releases/{i}/log").mkdir(parents=True)
    current = tmp_path / "current"
    current.symlink_to("releases/0")
    agent = make_agent(db, log_files=[str(current / "log/app.log")]).start()
    writer = Writer(current / "log/app.log", rate=10000).start()
    db.wait("SELECT count(*) > 0 FROM log_entries")
    for i in turns(writer, 1.2, 3):
        new = tmp_path / "new"
        new.symlink_to(f"releases/{i + 1}")
        new.replace(current)
        new_lines(writer, 3000)                 # the old release keeps writing for a while
        with writer.lock:
            writer.reopen()
        wait_followed(agent, current / "log/app.log")
    judge(24, db, writer.stop())


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "killed before"])
@pytest.mark.parametrize("lines", [0, 10, 500])
def test_torn_in_a_power_cut(db, make_agent, log, lines, ended):
    """The file lost its end, and got lines before the agent looked: what is left of it is not read again,
    what may be missing is a gap, and one, also when the agent is killed before it ended the stream that was
    torn."""
    agent = make_agent(db, log_files=[str(log)]).start()
    numbered(log, *range(1000))
    db.wait("SELECT count(*) = 1000 FROM log_entries")
    agent.kill()
    os.truncate(log, log.stat().st_size - 5010)
    numbered(log, *range(1000, 1000 + lines))
    db.query("UPDATE log_streams SET updated_at = now() - interval '10 years'")     # before this boot
    agent.start()
    db.wait("SELECT count(*) = 1 FROM gaps WHERE kind = 'truncated' AND lines IS NULL")
    numbered(log, *range(2000, 2010))
    db.wait("SELECT count(*) = 10 FROM log_entries WHERE (context->>'n')::int >= 2000")
    one_ended = ("SELECT count(*) = 2 AND count(*) FILTER (WHERE finished) = 1 FROM log_streams "
                 "WHERE path <> 'outbox'")
    db.wait(one_ended)
    agent.kill()
    if not ended:
        db.query("UPDATE log_streams SET finished = false, updated_at = now() - interval '10 years' "
                 "WHERE finished AND path <> 'outbox'")
    agent.start()
    numbered(log, 2010)
    db.wait("SELECT count(*) = 1 FROM log_entries WHERE context->>'n' = '2010'")
    db.wait(one_ended)
    judge("torn", db, 1000 + lines + 11, gap_lines=lines)
    assert db.count("gaps") == 1


def test_removed_from_the_configuration_and_configured_again(db, make_agent, log):
    """After a reload the agent stops reading a removed path and the files rotated from it; when the path is
    configured again, it continues at its position."""
    other = log.with_name("other.log")
    agent = make_agent(db, log_files=[str(log), str(other)]).start()
    settings = json.loads(agent.config.read_text())["monitoring"]
    numbered(log, 0)
    numbered(other, 1)
    db.wait("SELECT count(*) = 2 FROM log_entries")
    held = open(other, "a")
    os.rename(other, f"{other}.1")
    numbered(other, 2)
    db.wait("SELECT count(*) = 3 FROM log_entries")
    agent.configure({**settings, "log_files": [str(log)]})
    agent.reload()
    db.wait("SELECT count(*) = 2 FROM log_streams WHERE finished AND path LIKE %s", "%other.log%")
    numbered(other, 3)
    held.write('{"message":"late","context":{"n":4}}\n')
    held.close()
    numbered(log, 5)
    db.wait("SELECT count(*) = 1 FROM log_entries WHERE context->>'n' = '5'")
    assert db.count("log_entries") == 4
    agent.configure(settings)
    agent.reload()
    db.wait("SELECT count(*) = 1 FROM log_entries WHERE context->>'n' = '3'")
    numbered(other, 6)
    db.wait("SELECT count(*) = 1 FROM log_entries WHERE context->>'n' = '6'")
    assert db.one("SELECT count(*) - count(DISTINCT context->>'n') FROM log_entries") == 0
    assert db.count("gaps") == 0


def test_a_copy_by_hand_is_not_read(db, make_agent, log):
    """cp app.log app.log.bak with a pattern that matches both: the copy is not read, also not after a
    restart."""
    agent = make_agent(db, log_files=[f"{log}*"]).start()
    numbered(log, *range(200))
    db.wait("SELECT count(*) = 200 FROM log_entries")
    shutil.copyfile(log, f"{log}.bak")
    numbered(log, 200)
    db.wait("SELECT count(*) = 201 FROM log_entries")
    agent.kill()
    shutil.copyfile(log, f"{log}.old")
    agent.start()
    numbered(log, 201)
    judge("copy by hand", db, 202)
    assert db.count("gaps") == 0


def test_rotated_twice_while_stopped_with_one_banner(db, make_agent, log):
    """All files begin with the same short lines, and each is still read."""
    banner = json.dumps({"message": "the service starts"})
    agent = make_agent(db, log_files=[str(log)]).start()
    append(log, banner)
    db.wait("SELECT count(*) = 1 FROM log_entries")
    agent.kill()
    numbered(log, 0)
    os.rename(log, f"{log}.2")
    append(log, banner)
    numbered(log, 1)
    os.rename(log, f"{log}.1")
    append(log, banner)
    numbered(log, 2)
    agent.start()
    judge("banner", db, 6)
    assert db.count("gaps") == 0


@pytest.mark.soak
def test_removed_while_its_writer_goes_on_slowly(db, make_agent, log):
    """Deleted by hand, without a line for more than a minute, and no new file in its place."""
    make_agent(db, log_files=[str(log)]).start()
    numbered(log, 0)
    db.wait("SELECT count(*) = 1 FROM log_entries")
    with open(log, "a") as held:
        log.unlink()
        time.sleep(70)                          # a slow writer
        held.write('{"message":"late","context":{"n":1}}\n')
    judge("removed", db, 2)


def test_rotated_into_another_folder(db, make_agent, log):
    """olddir: the running agent still has the descriptor."""
    (log.parent / "old").mkdir()
    agent = make_agent(db, log_files=[str(log)]).start()
    writer = Writer(log, rate=20000).start()
    for i in turns(writer, 0.7, 3):
        wait_followed(agent, log)
        writer.rotate(str(log.parent / f"old/app.log.{i}"))
    judge("olddir", db, writer.stop())


# ---- lines ---------------------------------------------------------------------------------------

def test_fault_25_growth_byte_by_byte(db, make_agent, log):
    """Empty, one byte, a byte at a time; an unfinished line that ends later, or never."""
    empty, never = log.with_name("empty.log"), log.with_name("never.log")
    empty.touch()
    never.write_text('{"message":"nev')
    agent = make_agent(db, log_files=[str(log), str(empty), str(never)]).start()
    log.write_text("{")
    wait_for(lambda: figures(agent)["files"] == 3, "the files are followed")
    with open(log, "a", buffering=1) as f:
        for byte in '"message":"one","context":{"n":0}}\n{"message":"two","context":{"n":1}}':
            f.write(byte)
            f.flush()
            time.sleep(0.02)                    # a slow writer
        db.wait("SELECT count(*) = 1 FROM log_entries")
        agent.kill()
        agent.start()
        began = time.monotonic()
        f.write("\n")
    db.wait("SELECT count(*) = 2 FROM log_entries")
    judge(25, db, 2, recovery=time.monotonic() - began)
    assert db.query("SELECT message FROM log_entries ORDER BY stream_offset") == [("one",), ("two",)]
    never.unlink()                              # file over: the unfinished line is a marked row
    agent.kill()


def test_fault_26_crashed_in_the_middle_of_a_line(db, make_agent, log):
    make_agent(db, log_files=[str(log)]).start()
    log.write_text('{"message":"zero","context":{"n":0}}\n{"message":"bro{"message":"one"}\n'
                   '{"message":"two","context":{"n":2}}\n')
    judge(26, db, 3)
    assert [m for (m,) in db.query("SELECT message FROM log_entries ORDER BY stream_offset")] == \
        ["zero", '{"message":"bro{"message":"one"}', "two"]


def test_fault_27_huge_lines(db, make_agent, log):
    """Lines of 1 MB, and of 100 MB until the newline: cut, marked, counted; memory stays flat."""
    agent = make_agent(db, log_files=[str(log)]).start()
    numbered(log, 0)
    append(log, "x" * 1_000_000)
    numbered(log, 1)
    with open(log, "a") as f:
        for _ in range(100):
            f.write("y" * 1_000_000)
        f.write("\n")
    numbered(log, 2)
    judge(27, db, 5)
    assert db.query("SELECT length(message), (context->>'_cut_bytes')::int FROM log_entries "
                    "WHERE context ? '_cut_bytes' "
                    "ORDER BY stream_offset") == [(262144, 1_000_000), (262144, 100_000_000)]
    assert db.query("SELECT kind, sum(lines)::int, sum(bytes)::int FROM gaps GROUP BY 1") == \
        [("line_cut", 2, 101_000_000 - 2 * 262144)]
    assert peak_kb(agent) < 24 * 1024


def test_fault_28_invalid_bytes(db, make_agent, log):
    """Each invalid line is a repaired row, random bytes do no harm, and the line behind them is whole."""
    chance = random.Random(28)
    make_agent(db, log_files=[str(log)]).start()
    lines = [b"\xff\xfe bad", b"nul \0 in it", b'{"message":"\\ud800 lone"}', b"\xef\xbb\xbfbom", b"crlf\r",
             b'{"message":"nul \\u0000"}', "utf-16".encode("utf-16"), b'{"message":"\xc3"}']
    log.write_bytes(b"".join(line + b"\n" for line in lines) + b"\r\n\n")
    db.wait("SELECT count(*) = %s FROM log_entries", len(lines))
    messages = [m for (m,) in db.query("SELECT message FROM log_entries ORDER BY stream_offset")]
    assert (messages[0] == "\ufffd\ufffd bad" and messages[1] == "nul \ufffd in it"
            and messages[2] == "\ufffd lone")
    assert messages[3:5] == ["bom", "crlf"] and "\0" not in "".join(messages)
    judge(28, db, len(lines))
    with open(log, "ab") as f:
        f.write(chance.randbytes(5_000_000) + b"\n")
    numbered(log, 1)
    db.wait("SELECT count(*) = 1 FROM log_entries WHERE context->>'n' = '1'")


def test_fault_29_json_of_every_kind(db, make_agent, log):
    """Each is a row, and so is the next line."""
    make_agent(db, log_files=[str(log)]).start()
    words = [" ".join(f"w{i}" for i in range(n, n + 20000)) for n in range(0, 1_000_000, 20000)]
    lines = ["[" * 10000, '{"a":' * 10000 + "1" + "}" * 10000, json.dumps({f"k{i}": i for i in range(10000)}),
             json.dumps({f"k{i}": i for i in range(100000)}),
             '{"message":"twice","message":"again"}', '{"message":1e100000}', '{"n":' + "9" * 1000 + "}",
             '{"message":NaN}',
             "{}", "[]", "[1,2]", "null", '"text"', '{"message":"t","timestamp":"yesterday"}',
             '{"message":"t","timestamp":"9999-12-31T23:59:60Z"}', '{"message":"t","ts":-1}',
             '{"message":"t","ts":1e308}',
             *(json.dumps({"message": w}) for w in words), '{"\\u006dessage":"escaped key"}']
    for i, line in enumerate(lines):
        append(log, line)
        append(log, json.dumps({"message": "next", "context": {"next": i}}))
    judge(29, db, 2 * len(lines))
    assert db.count("log_entries", "message = 'next'") == len(lines)
    # 100,000 keys exceed the limit of a line
    assert db.query("SELECT kind, lines FROM gaps") == [("line_cut", 1)]
    assert db.query("SELECT context FROM log_entries WHERE message = 'escaped key'") == [(None,)]


# ---- many files ----------------------------------------------------------------------------------

def test_fault_30_more_files_than_descriptors(db, make_agent, tmp_path):
    """10,000 files by glob, and other file types among them; new files appear, others are rotated, written to
    and deleted while the agent has them closed. Descriptors and the status stay bounded; a file that cannot
    be followed is named once."""
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(10000):
        numbered(folder / f"{i:05}.log", i)
    (folder / "loop.log").symlink_to("loop.log")
    os.mkfifo(folder / "fifo.log")
    (folder / "device.log").symlink_to("/dev/zero")
    (folder / "folder.log").mkdir()
    agent = make_agent(db, log_files=[str(folder / "*.log")])
    agent.start(under=["prlimit", "--nofile=256:256"])
    db.wait("SELECT count(*) >= 10000 FROM log_entries", timeout=60)
    assert db.one("SELECT last_seq FROM agents") <= 40         # hundreds of new files in one batch
    n = 10000
    for i in range(900):
        numbered(folder / f"more{i}.log", n)
        n += 1
    for i in range(100):
        numbered(folder / f"new{i}.log", n)
        numbered(folder / f"{i:05}.log", n + 1)
        os.rename(folder / f"{i + 100:05}.log", folder / f"{i + 100:05}.log.1")
        numbered(folder / f"{i + 100:05}.log", n + 2)
        os.unlink(folder / f"{i + 200:05}.log")
        n += 3
    judge(30, db, n)
    assert descriptors(agent) < 256
    assert len(agent.run("status").stdout) < 16384
    wait_for(lambda: figures(agent)["missing"] == 0, "what was deleted is over")
    state = figures(agent)
    assert state["files"] >= 10000 and state["open"] <= 192 and state["parked"] >= 9800, state
    overflow_inotify(agent, db, folder, n)
    assert agent.said().count("cannot follow") == 3
    assert db.count("gaps") == 0, db.query("SELECT kind, detail FROM gaps LIMIT 5")


def overflow_inotify(agent, db, folder, n):
    """While SIGSTOP holds the agent, the kernel drops inotify events: the agent still reads all files."""
    names = sorted(folder.glob("0[1-9]*.log"))
    agent.process.send_signal(signal.SIGSTOP)
    rounds = 2 + int(open("/proc/sys/fs/inotify/max_queued_events").read()) // len(names)
    for _ in range(rounds):
        for name in names:
            numbered(name, n)
            n += 1
    agent.process.send_signal(signal.SIGCONT)
    judge(30, db, n, note="inotify's queue overflowed")


def cpu_s(agent):
    fields = open(f"/proc/{agent.process.pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_thousand_files_take_little_memory_and_time(db, make_agent, tmp_path):
    """50 of 1,000 are busy: at most 24 MB; idle, the check once a second costs little."""
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(1000):
        numbered(folder / f"{i:04}.log", i)
    agent = make_agent(db, log_files=[str(folder / "*.log")]).start()
    db.wait("SELECT count(*) >= 1000 FROM log_entries")
    n = 1000
    for _ in range(10):
        for i in range(50):
            numbered(folder / f"{i:04}.log", *range(n, n + 20))
            n += 20
    judge("1,000 files", db, n)
    before, began = cpu_s(agent), time.monotonic()
    time.sleep(3)                               # idle
    assert (cpu_s(agent) - before) / (time.monotonic() - began) < 0.1
    assert peak_kb(agent) < 24 * 1024


# ---- records, floods -----------------------------------------------------------------------------

TRACE = """ERROR it failed
Traceback (most recent call last):
  File "a.py", line 1, in <module>
    run()
ValueError: bad
INFO next
WARN java
java.lang.IllegalStateException: boom
\tat a.B.c(B.java:1)
Caused by: java.io.IOException
\tat d.E.f(E.java:2)
\t... 12 more
"""


def test_a_stack_trace_is_one_row(db, make_agent, log):
    make_agent(db, log_files=[str(log)]).start()
    for part in TRACE.splitlines(keepends=True):
        with open(log, "a") as f:
            f.write(part)
    append(log, '{"message":"json"}', "\tindented")
    db.wait("SELECT count(*) = 5 FROM log_entries")
    rows = db.query("SELECT level, message FROM log_entries ORDER BY stream_offset")
    records = [(level, m.count("\n")) for level, m in rows]
    assert records == [("ERROR", 4), ("INFO", 0), ("WARNING", 5), ("INFO", 0), ("INFO", 0)]


def test_traces_are_rows_once_after_kills(db, make_agent, log):
    """The agent is killed while a trace arrives in pieces: no byte is lost or there twice."""
    chance = random.Random(9)
    agent = make_agent(db, log_files=[str(log)]).start()
    total = 0
    for i in range(40):
        piece = "".join(chance.choice(["text\n", "  indented\n", "Caused by: x\n", '{"message":"json"}\n'])
                        for _ in range(50))
        total += len(piece)
        with open(log, "a") as f:
            f.write(piece)
        if i % 4 == 0:
            time.sleep(chance.uniform(0, 0.8))  # the instant of the kill: any will do
            agent.kill()
            agent.start()
    size = ("SELECT coalesce(sum(CASE WHEN message = 'json' THEN 18 ELSE length(message) END + 1), 0) "
            "FROM log_entries")
    db.wait(size.replace("SELECT", "SELECT %s <=", 1), total)
    assert db.one(size) == total == log.stat().st_size
    assert db.one("SELECT count(*) - count(DISTINCT (stream_id, stream_offset)) FROM log_entries") == 0


def test_a_flood_is_counted_to_the_line(db, make_agent, log):
    """Lines over the limit are dropped and counted in gap rows by level, also if the agent is killed."""
    chance = random.Random(11)
    agent = make_agent(db, log_files=[str(log)], log_lines_per_second=100).start()
    n, warnings = 0, 0
    for i in range(12):
        now = time.time()
        with open(log, "a") as f:
            for _ in range(2000):
                level = chance.choice(["INFO", "DEBUG", "INFO", "WARNING" if n % 50 == 0 else "INFO"])
                warnings += level == "WARNING"
                f.write(json.dumps({"ts": now, "level": level, "message": "x", "context": {"n": n}}) + "\n")
                n += 1
        time.sleep(chance.uniform(0, 0.5))      # the instant of the kill: any will do
        if i % 3 == 0:
            agent.kill()
            agent.start()
    found = judge("flood", db, n, gap_lines=n)
    assert 100 <= found["delivered"] < n / 2
    assert db.count("log_entries", "level = 'WARNING'") == warnings
    assert db.count("gaps", "kind <> 'flood'") == 0
    assert "INFO" in db.query("SELECT detail FROM gaps LIMIT 1")[0][0]


def test_lines_of_an_hour_read_at_once_are_no_flood(db, make_agent, log):
    """The lines of an hour, read at once."""
    agent = make_agent(db, log_files=[str(log)], log_lines_per_second=20)
    began = time.time() - 3600
    append(log,
           *(json.dumps({"ts": began + i / 10, "message": "x", "context": {"n": i}}) for i in range(20000)))
    append(log.with_name("text.log"), *(f"line {i}" for i in range(5000)))
    agent.start()
    judge("calm", db, 20000)
    assert db.count("gaps") == 0


def test_rotated_files_stay_open_while_they_have_a_name(db, make_agent, log):
    """More files than the agent keeps open: it gives up those without lines for the longest time, and reports
    that."""
    agent = make_agent(db, log_files=[str(log)])
    agent.start(under=["prlimit", "--nofile=80:80"])
    held = []
    for i in range(10):
        numbered(log, i)
        db.wait("SELECT count(*) > %s FROM log_entries", i)
        held.append(open(log, "a"))
        os.rename(log, f"{log}.{i}")
    numbered(log, 10)
    wait_for(lambda: figures(agent)["held"] <= 4, "no more than a quarter of the descriptors is held")
    held[-1].write('{"message":"late","context":{"n":11}}\n')
    held[-1].flush()
    judge("held", db, 12)
    for f in held:
        f.close()
