"""A random walk of rotations: one log, one agent, and everything that people and logrotate do to log files.

Lines carry numbers. A walk knows which of them were destroyed (truncated, deleted, packed) before they were
rows: these may be missing, and then a gap has to say so. Every other line has to be a row, and none may be
two rows.
"""
import collections
import gzip
import json
import os
import random
import re
import shutil
import subprocess
import time

from harness import Database, wait_for

STEPS = 28
# what was destroyed sooner need not have been seen by anybody, so that no gap tells of it
SEEN_WITHIN_S = 3
SIZES = {"tiny": 0, "small": 60, "mixed": 900, "large": 3000}   # bytes of padding of a line, at most
NUMBER = re.compile(rb'^(?:\{"message": ?")?(\d+)')
BY_HAND = (".bak", ".backup", ".old", ".orig", ".1.bak", ".20200101")
LOGROTATE = """{log} {{
    {how}
    rotate {keep}
    missingok
    {more}
}}
"""


class Walk:
    """Walk(seed, database, proxy, make_agent, folder).run() raises AssertionError unless all is well at its
    end."""

    def __init__(self, seed, database, proxy, make_agent, folder):
        self.seed, self.chance, self.app = seed, random.Random(seed), f"walk{seed}"
        self.db, self.proxy = Database(database.cluster, database.name), proxy
        self.folder = folder / f"log{seed}"
        (self.folder / "old").mkdir(parents=True)
        self.folder.chmod(0o755)
        self.log = self.folder / "app.log"
        self.log.touch(0o644)
        pattern = self.chance.choice(["app.log", "app.log", "app.log*", "app*", "*.log*"])
        self.padding, self.json = SIZES[self.chance.choice(list(SIZES))], self.chance.random() < 0.5
        self.keeps = self.chance.random() < 0.5         # the writer keeps its descriptor until it is told
        self.written, self.torn, self.doomed, self.trace = 0, set(), set(), []
        self.fd, self.half, self.copies = None, None, 0
        self.fleeting, self.seen_s = set(), {}
        url = f"postgresql://agents@127.0.0.1:{proxy.port}/{database.name}?sslmode=disable"
        self.agent = make_agent(database, app=self.app, name=self.app, log_files=[str(self.folder / pattern)],
                                postgres_url=url)
        self.say(f"pattern {pattern}, padding {self.padding}, {'JSON' if self.json else 'text'}, "
                 f"{'keeps' if self.keeps else 'opens'} its file")

    def say(self, what):
        self.trace.append(f"{time.time() % 1000:7.3f} {what}")

    # ---- the writer ----

    def line(self):
        text = (f"{self.written} {'x' * self.chance.randint(1, self.padding)}"
                if self.padding else str(self.written))
        self.written += 1
        return (json.dumps({"message": text}) if self.json else text).encode() + b"\n"

    def put(self, data):
        if not self.keeps or self.fd is None:
            self.reopen()
        os.write(self.fd, data)

    def reopen(self):
        if self.fd is not None:
            os.close(self.fd)
        self.fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, most=8):
        count = self.chance.randint(1, most)
        self.put((self.half or b"") + b"".join(self.line() for _ in range(count)))
        self.half = None
        self.say(f"wrote {count} lines, up to {self.written - 1}")

    def write_half(self):
        """Of a line that is not sure to stay whole."""
        if self.half is None and self.padding:
            self.torn.add(self.written)
            line = self.line()
            cut = len(line) - self.chance.randint(1, 2 + self.json * 2)
            self.put(line[:cut])
            self.half = line[cut:]
            self.say(f"wrote half of {self.written - 1}")

    # ---- what becomes of files ----

    def readable(self):
        """The numbers of the lines that stand in files."""
        found = set()
        for folder, _, names in os.walk(self.folder):
            for name in names:
                if not name.endswith(".gz"):
                    found |= self.numbers(os.path.join(folder, name))
        return found

    @staticmethod
    def numbers(path):
        with open(path, "rb") as f:
            return {int(m[1]) for m in map(NUMBER.match, f.read().split(b"\n")[:-1]) if m}

    def rows(self):
        """How often each number is a row."""
        found = self.db.query("SELECT message FROM log_entries WHERE app_name = %s", self.app)
        return collections.Counter(int(m[1]) for m in (NUMBER.match(text.encode()) for (text,) in found) if m)

    def names(self, gz=False):
        return sorted(p for p in self.folder.iterdir() if p.is_file() and p != self.log
                      and p.name.startswith("app") and
                      (gz or p.suffix != ".gz"))

    def shift(self):
        """app.log.1 becomes app.log.2, and so on."""
        for i in range(8, 0, -1):
            if (self.folder / f"app.log.{i}").exists():
                os.rename(self.folder / f"app.log.{i}", self.folder / f"app.log.{i + 1}")

    def target(self):
        self.copies += 1
        kind = self.chance.choice(["number", "number", "hand", "date"])
        if kind == "number":
            self.shift()
            return self.folder / "app.log.1"
        if kind == "date":
            return self.folder / f"app.log-{20200101 + self.copies}"
        return self.folder / f"app.log{self.chance.choice(BY_HAND)}"

    def copy(self):
        if self.log.exists():
            to = self.target()
            subprocess.run(["cp", *self.chance.choice([[], [], ["-p"]]), self.log, to], check=True)
            self.say(f"copied to {to.name}")

    def copy_and_truncate(self):
        if self.log.exists():
            self.copy()
            if self.chance.random() < 0.3:
                self.write(3)
            if self.chance.random() < 0.3:
                self.pause()
            self.truncate()

    def truncate(self):
        if self.log.exists():
            os.truncate(self.log, 0)
            self.say("truncated")

    def move_and_create(self):
        if self.log.exists():
            to = self.target()
            os.rename(self.log, to)
            self.say(f"moved to {to.name}, created")
            self.log.touch(0o644)
            self.maybe_reopen()

    def move(self):
        if self.log.exists():
            to = self.target()
            os.rename(self.log, to)
            self.say(f"moved to {to.name}")
            self.maybe_reopen()

    def move_away(self):
        if self.log.exists():
            self.copies += 1
            os.rename(self.log, self.folder / "old" / f"app.log.{self.copies}")
            self.say("moved into the folder old")
            self.maybe_reopen()

    def maybe_reopen(self):
        if self.chance.random() < 0.7:
            self.reopen()
            self.say("reopened")

    def logrotate(self):
        how = self.chance.choice(["copytruncate", "copytruncate", "create", "nocreate"])
        more = self.chance.choice(["", "", "dateext\n    dateformat -%Y%m%d-%s", "olddir old", "compress",
                                   "compress\n    delaycompress",
                                   "extension .log", "dateext\n    dateformat .%Y-%m-%d-%s"])
        rules = self.folder.parent / f"{self.app}.conf"
        rules.write_text(LOGROTATE.format(log=self.log, how=how, keep=self.chance.randint(1, 4), more=more))
        rules.chmod(0o644)
        command = ["/usr/sbin/logrotate", "-f", "-s", self.folder.parent / f"{self.app}.state", rules]
        beside = self.chance.random() < 0.3
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if beside:
            self.write()
        running.wait()
        self.say(f"logrotate {how}, {more!r}, exit status "
                 f"{running.returncode}{', written beside it' * beside}")
        if how != "copytruncate":
            self.maybe_reopen()

    def pack(self):
        if self.names():
            victim = self.chance.choice(self.names())
            with open(victim, "rb") as f, gzip.open(f"{victim}.gz", "wb") as packed:
                shutil.copyfileobj(f, packed)
            victim.unlink()
            self.say(f"packed {victim.name}")

    def delete(self):
        if self.names(gz=True):
            victim = self.names(gz=True)[-1]
            victim.unlink()
            self.say(f"deleted {victim.name}")

    # ---- the agent and its database ----

    def kill_or_stop(self):
        if not self.agent.running():
            return
        if self.chance.random() < 0.5:
            self.agent.kill()
            self.say("agent killed")
        else:
            self.agent.stop(timeout=30)
            self.say("agent stopped")

    def restart(self):
        self.kill_or_stop()
        self.start()

    def start(self):
        if not self.agent.running():
            self.agent.start()
            self.say("agent started")

    def database_goes(self):
        self.proxy.refuse = True
        self.proxy.reset()
        self.say("database away")

    def database_comes(self):
        if self.proxy.refuse:
            self.proxy.refuse = False
            self.say("database back")

    def pause(self):
        seconds = self.chance.choice([0, 0.02, 0.1, 0.3, 1.2])
        time.sleep(seconds)                     # the instant of the next step: any will do
        self.say(f"paused {seconds} s")

    def settle(self):
        """Until every line that stands somewhere is a row; only of what is asked for at the end too."""
        if self.agent.running() and not self.proxy.refuse:
            wait_for(lambda: not self.owed(), f"{self.app}: rows of {sorted(self.owed())[:20]}\n{self}",
                     every=0.2)
            self.say("settled")

    STEPS = ([write] * 14 + [pause] * 8 + [write_half] * 2 + [copy] * 2 + [copy_and_truncate] * 4 + [truncate]
             + [move_and_create] * 3 +
             [move] * 2 + [move_away] + [logrotate] * 6 + [pack] + [delete] + [kill_or_stop] * 2 + [restart]
             + [start] * 4 +
             [database_goes] + [database_comes] * 2 + [settle])

    def step(self):
        """One step; what it destroys need not become rows any more."""
        step = self.chance.choice(self.STEPS)
        if step in (Walk.pause, Walk.settle, Walk.start, Walk.kill_or_stop, Walk.restart, Walk.database_goes,
                    Walk.database_comes):
            step(self)
            return
        self.act(step)

    def act(self, step):
        before, first = self.readable(), self.written
        self.see(before)
        step(self)
        after = self.readable()
        self.see(after)
        gone = (before | set(range(first, self.written))) - after
        if gone:
            gone -= set(self.rows())
            self.doomed |= gone
            self.fleeting |= {n for n in gone
                              if time.monotonic() - self.seen_s.get(n, time.monotonic()) < SEEN_WITHIN_S}

    def see(self, numbers):
        """Since when could the agent have seen them?"""
        if not self.agent.running():
            self.seen_s.clear()
        for n in numbers if self.agent.running() else ():
            self.seen_s.setdefault(n, time.monotonic())

    # ---- the verdict ----

    def owed(self):
        return set(range(self.written)) - self.torn - self.doomed - set(self.rows())

    def missing(self):
        return set(range(self.written)) - self.torn - set(self.rows())

    def gaps(self):
        return self.db.query("SELECT kind, lines, bytes, detail FROM gaps WHERE app_name = %s "
                             "AND stream_id IS NOT NULL", self.app)

    def twice(self):
        return sorted(n for n, count in self.rows().items() if count > 1 and n not in self.torn)

    def accounted(self):
        missing = self.missing() - self.fleeting
        return not self.owed() and (not missing or any(lines is None for _, lines, _, _ in self.gaps()) or
                                    sum(lines for _, lines, _, _ in self.gaps() if lines) >= len(missing))

    def verdict(self, when):
        assert not self.twice(), f"{when}: twice: {self.twice()}\n{self}"
        deadline = time.monotonic() + 40
        while not self.accounted() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not self.owed(), f"{when}: lost: {sorted(self.owed())}\n{self}"
        assert self.accounted(), f"{when}: missing and in no gap: {sorted(self.missing())}\n{self}"
        assert not self.twice(), f"{when}: twice: {self.twice()}\n{self}"

    def run(self):
        if self.chance.random() < 0.5:
            self.write()
        self.start()                            # it can't know what was rotated before
        self.db.wait("SELECT count(*) > 0 FROM log_streams WHERE app_name = %s AND path LIKE %s", self.app,
                     "%app.log")
        for _ in range(STEPS):
            self.step()
        self.database_comes()
        self.start()
        self.reopen()
        self.act(Walk.write)
        self.verdict("at the end")
        self.act(Walk.move_and_create)
        self.restart()
        self.reopen()
        self.act(Walk.write)
        self.verdict("after one more rotation and start")
        self.agent.stop(timeout=30)
        os.close(self.fd)
        self.db.close()
        return {"written": self.written, "missing": len(self.missing()), "gaps": len(self.gaps())}

    def __str__(self):
        files = [f"{p.relative_to(self.folder)}: {p.stat().st_size} bytes, lines {sorted(self.numbers(p))}"
                 for p in sorted(self.folder.rglob("*")) if p.is_file() and p.suffix != ".gz"]
        streams = self.db.query("SELECT path, file_id, position, finished, head_hash FROM log_streams "
                                "WHERE app_name = %s AND path <> 'outbox'", self.app)
        return "\n".join([f"seed {self.seed}", *self.trace, "files:", *files, "streams:", *map(str, streams),
                          "gaps:",
                          *map(str, self.gaps()), "doomed:", str(sorted(self.doomed)), "torn:",
                          str(sorted(self.torn))])
