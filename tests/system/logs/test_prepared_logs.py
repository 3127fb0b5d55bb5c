"""Logs that are made in their full length, and written in place: what is still zero is not written yet. Holes
that stay."""
import mmap
import os
import shutil

import pytest
from oracle import judge

SIZE = 4 << 20


def text(*numbers):
    return "".join(f'{{"message":"line {n}","context":{{"n":{n}}}}}\n' for n in numbers).encode()


def prepare(path, how, size=SIZE):
    with open(path, "wb") as f:
        if how == "fallocated":
            os.posix_fallocate(f.fileno(), 0, size)
        elif how == "sparse":
            f.truncate(size)
        else:
            f.write(bytes(size))


class InPlace:
    """Writes where its text ends, and changes no size."""

    def __init__(self, path):
        self.fd, self.at = os.open(path, os.O_WRONLY), 0

    def write(self, data):
        os.pwrite(self.fd, data, self.at)
        self.at += len(data)


def wait_rows(db, count):
    db.wait("SELECT count(*) >= %s FROM log_entries", count)


def clean(db):
    assert db.count("gaps") == 0, db.query("SELECT kind, detail FROM gaps")
    assert db.count("log_entries", "message NOT LIKE 'line %%'") == 0
    assert db.count("log_entries", "strpos(message, chr(65533)) > 0") == 0


@pytest.mark.parametrize("how", ["fallocated", "zeros", "sparse"])
def test_lines_come_as_they_are_written(db, make_agent, log, how):
    """Also half a line first; through a restart; then the file is cut to its real length, appended to and
    rotated."""
    prepare(log, how)
    agent = make_agent(db, log_files=[f"{log}*"]).start()
    writer = InPlace(log)
    writer.write(text(0, 1))
    wait_rows(db, 2)
    writer.write(text(2) + text(3)[:10])
    wait_rows(db, 3)
    writer.write(text(3)[10:])
    wait_rows(db, 4)
    agent.kill()
    writer.write(text(4, 5))
    agent.start()
    wait_rows(db, 6)
    writer.write(text(*range(6, 100)))
    wait_rows(db, 100)
    assert agent.status()["tail"]["lag_bytes"] == 0, "what is not written does not wait"
    os.ftruncate(writer.fd, writer.at)          # as at close
    writer.write(text(100))
    wait_rows(db, 101)
    os.rename(log, f"{log}.1")
    prepare(log, how)
    InPlace(log).write(text(101))
    wait_rows(db, 102)
    agent.kill()
    agent.start()
    InPlace(f"{log}").write(text(101, 102))
    judge("prepared", db, 103)
    clean(db)


def test_lines_that_are_written_through_a_mapping(db, make_agent, log):
    """The kernel tells nobody of them."""
    prepare(log, "zeros", 1 << 16)
    make_agent(db, log_files=[str(log)]).start()
    at = 0
    with open(log, "r+b") as f, mmap.mmap(f.fileno(), 0) as mapped:
        for n in range(5):
            line = text(n)
            mapped[at:at + len(line)] = line
            at += len(line)
            wait_rows(db, n + 1)
    judge("mapped", db, 5)
    clean(db)


@pytest.mark.parametrize("how", ["zeros", "sparse"])
@pytest.mark.parametrize("size", [63, 64, 262143, 262144, 262145, 600000])
def test_lines_behind_a_hole_are_whole(db, make_agent, log, how, size):
    make_agent(db, log_files=[str(log)]).start()
    prepare(log, how, size)
    with open(log, "ab") as f:
        f.write(text(0, 1))
    wait_rows(db, 2)
    with open(log, "ab") as f:
        f.write(text(2))
        f.truncate(f.tell() + size)
        f.seek(0, os.SEEK_END)
        f.write(text(3, 4))
    judge("hole", db, 5)
    if size >= 64:
        clean(db)


def test_a_line_that_was_never_ended_before_a_hole(db, make_agent, log):
    """As after a power cut: it is one row, and so is the line behind the zeros."""
    log.write_bytes(text(0) + b"torn" + bytes(5000) + text(1) + b"torn too" + bytes(300000) + text(2))
    make_agent(db, log_files=[str(log)]).start()
    judge("torn before a hole", db, 5)
    assert [m for (m,) in db.query("SELECT message FROM log_entries ORDER BY stream_offset")] == \
        ["line 0", "torn", "line 1", "torn too", "line 2"]


def test_copytruncate_while_its_writer_keeps_its_place(db, make_agent, log):
    """It does not append: a hole as long as the old text stands before its next line."""
    make_agent(db, log_files=[str(log)]).start()
    log.touch()
    writer = InPlace(log)
    writer.write(text(*range(10000)))
    wait_rows(db, 10000)
    shutil.copyfile(log, f"{log}.1")
    os.truncate(log, 0)
    writer.write(text(10000, 10001))
    wait_rows(db, 10002)
    writer.write(text(10002))
    judge("keeps its place", db, 10003)
    assert db.count("log_entries", "message NOT LIKE 'line %%'") == 0


def test_a_prepared_log_that_is_rotated_is_read_to_its_end(db, make_agent, log):
    agent = make_agent(db, log_files=[str(log)]).start()
    prepare(log, "fallocated")
    writer = InPlace(log)
    writer.write(text(0) + b"line without an end")
    wait_rows(db, 1)
    os.rename(log, f"{log}.1")
    writer.write(b" that has one\n")
    wait_rows(db, 2)
    log.write_bytes(text(1))
    wait_rows(db, 3)
    os.unlink(f"{log}.1")
    agent.kill()
    agent.start()
    with open(log, "ab") as f:
        f.write(text(2))
    wait_rows(db, 4)
    assert db.count("log_entries", "message = 'line without an end that has one'") == 1
