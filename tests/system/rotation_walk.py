"""A random walk of rotations: one log, one agent, and everything that people and logrotate do to log files.

Lines carry numbers. A walk knows which of them were destroyed (truncated, deleted, packed) before they were
rows: these may be missing, and then a gap of a stream of their text has to say so. (A text is what stands in
one file until that is truncated.) Every other line has to be a row, and none may be two rows.

No gap is owed for two kinds of line only (docs/configuration.md), of texts of which no line is a row yet:
those that were destroyed before the agent could see them, since it was stopped or had no second to look, and
those whose file was truncated and filled with more within a second.
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
# A running agent has looked by then. The documents say a second, for a machine that is not busy.
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
        self.unseen, self.seen_s = set(), {}    # lines that no gap is owed for; since when others are seen
        self.text_at, self.texts, self.n_texts = {}, {}, 0      # of a file; of a line: where it may be
        self.truncated, self.refilled = {}, set()       # by inode: last text, its size, when; such texts
        url = f"postgresql://agents@127.0.0.1:{proxy.port}/{database.name}?sslmode=disable"
        self.agent = make_agent(database, app=self.app, name=self.app, log_files=[str(self.folder / pattern)],
                                postgres_url=url)
        self.say(f"pattern {pattern}, padding {self.padding}, {'JSON' if self.json else 'text'}, "
                 f"{'keeps' if self.keeps else 'opens'} its file")

    def say(self, what):
        self.trace.append(f"{time.time() % 1000:7.3f} {what}")

    # ---- the writer ----

    @staticmethod
    def identity(path):
        """Of a file, whatever its name: an inode is used again, but not at the same time of birth."""
        return subprocess.run(["stat", "-L", "-c", "%d:%i born %w", path], stdout=subprocess.PIPE,
                              check=True).stdout

    def text_of(self, fd):
        """The number of the text that is in the open file now."""
        file = self.identity(f"/proc/{os.getpid()}/fd/{fd}")
        if file not in self.text_at:
            self.n_texts += 1
            self.text_at[file] = self.n_texts
        return self.text_at[file]

    def new_text(self, path):
        """The file is truncated. Returns the number of the text that was in it."""
        file = self.identity(path)
        if file in self.text_at:
            self.truncated[os.stat(path).st_ino] = self.text_at[file], os.stat(path).st_size, time.monotonic()
        return self.text_at.pop(file, None)

    def note_refill(self):
        """Were truncated files filled with more, before a look saw that they are shorter?"""
        now = time.monotonic()
        self.truncated = {inode: last for inode, last in self.truncated.items()
                          if now - last[2] < SEEN_WITHIN_S}
        for st in [p.stat() for p in self.folder.rglob("*")] if self.truncated else ():
            text, size, _ = self.truncated.get(st.st_ino, (None, None, None))
            if text is not None and st.st_size >= size:
                self.refilled.add(text)

    def line(self):
        text = (f"{self.written} {'x' * self.chance.randint(1, self.padding)}"
                if self.padding else str(self.written))
        self.written += 1
        return (json.dumps({"message": text}) if self.json else text).encode() + b"\n"

    def put(self, data):
        if not self.keeps or self.fd is None:
            self.reopen()
        os.write(self.fd, data)
        text = self.text_of(self.fd)
        for n in range(self.written):
            self.texts.setdefault(n, {text})

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
            self.new_text(self.log)
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
        first, before = self.written, None
        if how == "copytruncate" and self.log.exists():
            before = self.new_text(self.log)
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if beside:
            self.write()
        running.wait()
        for n in range(first, self.written):            # written before or behind the truncation
            self.texts[n] |= {before} - {None}
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
        self.seen_s.clear()                     # the next one has to see them anew
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
        self.note_refill()
        gone = (before | set(range(first, self.written))) - after
        if gone:
            gone -= set(self.rows())
            self.doomed |= gone
            known = self.known_texts()
            self.unseen |= {n for n in gone if not self.texts[n] <= known}
        read = {text for n in self.rows() for text in self.texts[n]}
        self.unseen |= {n for n in self.doomed if self.texts[n] & self.refilled - read}

    def known_texts(self):
        """Texts of which a line is a row, or could be seen for long enough."""
        now = time.monotonic()
        seen = set(self.rows()) | {n for n, since in self.seen_s.items() if now - since >= SEEN_WITHIN_S}
        return {text for n in seen for text in self.texts[n]}

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
        return self.db.query("SELECT kind, lines, bytes, detail, stream_id FROM gaps WHERE app_name = %s "
                             "AND stream_id IS NOT NULL", self.app)

    def streams(self):
        """Of each text, the streams that its rows are of."""
        found = collections.defaultdict(set)
        for message, stream in self.db.query("SELECT message, stream_id FROM log_entries WHERE app_name = %s",
                                             self.app):
            if match := NUMBER.match(message.encode()):
                for text in self.texts[int(match[1])]:
                    found[text].add(stream)
        return found

    def twice(self):
        return sorted(n for n, count in self.rows().items() if count > 1 and n not in self.torn)

    def untold(self):
        """Lines that are missing, and in no gap of a stream of their text, or of one without rows."""
        streams, told = self.streams(), {stream for *_, stream in self.gaps()}
        if told - set().union(*streams.values()):
            return set()
        return {n for n in self.missing() - self.unseen
                if not any(streams[text] & told for text in self.texts[n])}

    def accounted(self):
        return not self.owed() and not self.untold()

    def verdict(self, when):
        assert not self.twice(), f"{when}: twice: {self.twice()}\n{self}"
        deadline = time.monotonic() + 40
        while not self.accounted() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not self.owed(), f"{when}: lost: {sorted(self.owed())}\n{self}"
        assert self.accounted(), f"{when}: missing and in no gap: {sorted(self.untold())}\n{self}"
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
        texts = {n: sorted(text) for n, text in self.texts.items()}
        return "\n".join([f"seed {self.seed}", *self.trace, "files:", *files, "streams:", *map(str, streams),
                          "gaps:", *map(str, self.gaps()), "doomed:", str(sorted(self.doomed)), "torn:",
                          str(sorted(self.torn)), "no gap owed:", str(sorted(self.unseen)), "texts:",
                          str(texts)])
