"""Small logs that are copied and truncated: exactly once, whatever their size. One agent follows a log of
each size."""
import os
import shutil
import subprocess
from collections import Counter

import pytest
from harness import run, wait_for

WIDTHS = (2, 3, 13, 64, 100, 205, 256, 820)             # bytes of a line: files from 2 bytes to 8 KiB
MARKS = "abcdefghijklmnopqrstuvwxyz"
HOW = ("copytruncate", "copytruncate\n olddir old", "copytruncate\n dateext\n dateformat -%Y%m%d-%s",
       "create", "create\n olddir old", "copytruncate\n extension .log")


class Logs:
    """A folder with app.log for each width. Line n of each is a letter, and the letter again as often as it
    takes."""

    def __init__(self, folder):
        self.logs = {width: folder / f"{width}" / "app.log" for width in WIDTHS}
        for log in self.logs.values():
            (log.parent / "old").mkdir(parents=True)
            log.parent.chmod(0o755)
            log.touch(0o644)
        self.written = 0

    def write(self, count):
        for width, log in self.logs.items():
            with open(log, "a", encoding="ascii") as f:
                f.write("".join(MARKS[n] * (width - 1) + "\n"
                                for n in range(self.written, self.written + count)))
        self.written += count

    def each(self, what):
        for log in self.logs.values():
            what(log)

    def wait_rows(self, db):
        """Until each line of each log is a row; none is two."""
        wanted = Counter({(str(log.parent), MARKS[n]): 1 for log in self.logs.values()
                          for n in range(self.written)})

        def rows():
            return Counter({(os.path.dirname(path), mark): count for path, mark, count in db.query(
                """SELECT s.path, left(l.message, 1), count(*) FROM log_entries l
                   JOIN log_streams s USING (vps_name, app_name, stream_id) GROUP BY 1, 2""")})

        def merged():
            found = Counter()
            for (folder, mark), count in rows().items():
                found[folder.removesuffix("/old"), mark] += count
            return found

        wait_for(lambda: not wanted - merged(), f"rows of {wanted - merged()}")
        assert merged() == wanted


@pytest.fixture(params=["app.log", "app*"])
def logs(request, tmp_path):
    made = Logs(tmp_path / "log")
    made.pattern = str(tmp_path / "log" / "*" / request.param)
    return made


def truncate(log):
    os.truncate(log, 0)


def test_copied_by_hand_and_emptied_then_renamed(db, make_agent, logs):
    """cp app.log app.log.bak; : >app.log, and later mv app.log app.log.1."""
    agent = make_agent(db, log_files=[logs.pattern]).start()
    logs.write(5)
    logs.wait_rows(db)
    logs.each(lambda log: shutil.copyfile(log, f"{log}.bak"))
    logs.each(truncate)
    logs.write(2)
    logs.wait_rows(db)
    logs.each(lambda log: os.rename(log, f"{log}.1"))
    logs.write(2)
    logs.wait_rows(db)
    agent.kill()
    agent.start()
    logs.write(1)
    logs.wait_rows(db)


def test_what_was_not_read_is_read_in_the_copy(db, make_agent, logs):
    """Lines that come just before the copy is made and the log truncated stand in the copy only."""
    make_agent(db, log_files=[logs.pattern]).start()
    logs.write(5)
    logs.wait_rows(db)
    logs.write(4)
    logs.each(lambda log: (shutil.copyfile(log, f"{log}.1"), truncate(log)))
    logs.write(1)
    logs.wait_rows(db)


def test_an_older_copy_is_not_read_when_the_log_is_truncated(db, make_agent, logs):
    """What the copy lacks was read before; nobody keeps a longer one."""
    agent = make_agent(db, log_files=[logs.pattern]).start()
    logs.write(3)
    logs.wait_rows(db)
    logs.each(lambda log: shutil.copyfile(log, f"{log}.backup"))
    logs.write(3)
    logs.wait_rows(db)
    logs.each(truncate)
    logs.write(1)
    logs.wait_rows(db)
    agent.kill()
    agent.start()
    logs.write(1)
    logs.wait_rows(db)


def test_logrotate_in_each_of_its_ways(db, make_agent, logs, tmp_path):
    """logrotate -f, one way after the other, each with lines that were not read yet; once while the agent is
    stopped."""
    agent = make_agent(db, log_files=[logs.pattern]).start()
    logs.write(2)
    logs.wait_rows(db)
    for turn, how in enumerate(HOW):
        if turn == 3:
            agent.kill()
        logs.write(2)
        rules = tmp_path / "rules"
        rules.write_text(f"{tmp_path}/log/*/app.log {{\n {how}\n rotate 9\n missingok\n}}\n")
        rules.chmod(0o644)
        run("/usr/sbin/logrotate", "-f", "-s", tmp_path / "state", rules, env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL)
        logs.write(1)
        if turn == 3:
            agent.start()
        logs.wait_rows(db)


def test_a_log_of_one_byte(db, make_agent, tmp_path):
    """No line is whole when the copy is made: the halves are rows, of each log both."""
    logs = Logs(tmp_path / "log")
    make_agent(db, log_files=[f"{tmp_path}/log/*/app.log"]).start()
    db.wait("SELECT count(*) = %s FROM log_streams WHERE path <> 'outbox'", len(WIDTHS))
    for log in logs.logs.values():
        log.write_text("a")
        shutil.copyfile(log, f"{log}.1")
        log.write_text("b\n")                   # truncates it
    db.wait("SELECT count(*) = %s FROM log_entries", 2 * len(WIDTHS))
    rows = db.query("SELECT message, count(*) FROM log_entries GROUP BY 1 ORDER BY 1")
    assert rows == [("a", len(WIDTHS)), ("b", len(WIDTHS))]


@pytest.mark.parametrize("pattern", ["app.log", "*.log", "{app,other}.log", "**/app.log"])
def test_made_and_rotated_at_once_where_nothing_is_known(db, make_agent, tmp_path, pattern):
    """The folder is empty when the log is made, written and renamed; and so is one that is made then."""
    folder = tmp_path / "log"
    (folder / "new").mkdir(parents=True)
    make_agent(db, log_files=[f"{folder}/{pattern}"]).start()
    db.wait("SELECT count(*) = 1 FROM agents")
    (folder / "app.log").write_text("one\ntwo\n")
    os.rename(folder / "app.log", folder / "app.log.1")
    if pattern == "**/app.log":
        (folder / "new/app.log").write_text("three\n")
        os.rename(folder / "new/app.log", folder / "new/app.log-20260101")
    db.wait("SELECT count(*) = %s FROM log_entries", 3 if pattern == "**/app.log" else 2)
    (folder / "app.log").write_text("four\n")
    db.wait("SELECT count(*) = 1 FROM log_entries WHERE message = 'four'")
    assert db.one("SELECT count(*) - count(DISTINCT message) FROM log_entries") == 0
