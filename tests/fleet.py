"""Many simulated agents in one process. Each connects, says hello, pushes a metric each interval, and waits
after a failure as obs_agent does (pg_backoff_us() in obs_agent/pg_verdict.c). They implement PostgreSQL's
protocol here, so that a thousand agents need few resources."""
import asyncio
import collections
import contextlib
import random
import struct
import threading
import time

BUSY = ("53300",)
DEADLINE_S = 15                     # the agent's deadline to connect and say hello


def backoff(code, slow, failures):
    """Seconds to wait, as pg_backoff_us() for a server that is away or full."""
    first, cap = (4.0, 15.0) if code in BUSY else (0.5, 8.0 if slow else 1.2)
    return 0.05 + random.uniform(0, min(cap, first * 2 ** min(failures, 10)))


class Refused(Exception):
    """The server's error; args[0] is its SQLSTATE."""


class Session:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def answer(self):
        """The rows until ReadyForQuery; raises an ErrorResponse at once."""
        rows = []
        while True:
            kind, length = struct.unpack("!cI", await self.reader.readexactly(5))
            body = await self.reader.readexactly(length - 4)
            if kind == b"E":
                fields = dict((f[:1], f[1:]) for f in body.split(b"\0") if f)
                raise Refused(fields[b"C"].decode())
            if kind == b"D":
                rows.append(self.columns(body))
            if kind == b"Z":
                return rows

    @staticmethod
    def columns(body):
        at, values = 2, []
        for _ in range(struct.unpack("!H", body[:2])[0]):
            length = struct.unpack("!i", body[at:at + 4])[0]
            values.append(body[at + 4:at + 4 + length].decode() if length >= 0 else None)
            at += 4 + max(length, 0)
        return values

    async def start(self, user, database):
        body = struct.pack("!I", 196608) + b"".join(s.encode() + b"\0"
                                                    for s in ("user", user, "database", database)) + b"\0"
        self.writer.write(struct.pack("!I", len(body) + 4) + body)
        await self.answer()

    async def query(self, sql):
        self.writer.write(b"Q" + struct.pack("!I", len(sql.encode()) + 5) + sql.encode() + b"\0")
        return await self.answer()


class Fleet:
    def __init__(self, port, database, size, interval=10.0, user="agents"):
        self.port, self.database, self.size, self.interval, self.user = port, database, size, interval, user
        self.attempts = self.pushes = self.connected = 0
        self.codes = collections.Counter()      # SQLSTATEs of refusals; "" when the server did not answer
        self.delivered = set()                  # agents that have pushed
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.tasks = [self.loop.create_task(self.agent(i)) for i in range(self.size)]
        with contextlib.suppress(asyncio.CancelledError):
            self.loop.run_until_complete(asyncio.gather(*self.tasks, return_exceptions=True))

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.loop.call_soon_threadsafe(lambda: [task.cancel() for task in self.tasks])
        self.thread.join(20)

    async def agent(self, i):
        self_state = {"epoch": "NULL", "failures": 0}
        while True:
            code, began = "", time.monotonic()
            try:
                await self.session(i, self_state)
            except Refused as e:
                code = e.args[0]
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                pass
            self.codes[code] += 1
            await asyncio.sleep(backoff(code, time.monotonic() - began >= DEADLINE_S, self_state["failures"]))
            self_state["failures"] += 1

    async def hello(self, session, i, state):
        await session.start(self.user, self.database)
        return await session.query(
            f"SELECT epoch, last_seq FROM observ.agent_hello('sim-{i}', 'shop', {i + 1}, {state['epoch']}, "
            "'sim', 10, now())")

    async def session(self, i, state):
        self.attempts += 1
        end = time.monotonic() + DEADLINE_S
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port), DEADLINE_S)
        session, up = Session(reader, writer), False
        try:
            rows = await asyncio.wait_for(self.hello(session, i, state), end - time.monotonic())
            state["epoch"], seq = rows[0]
            self.connected, up, seq = self.connected + 1, True, int(seq)
            while True:
                seq += 1
                await session.query(f"SELECT FROM observ.push(jsonb_build_array('sim-{i}', 'shop', "
                                    f"{state['epoch']}, {seq}, 0, 0, jsonb_build_array(jsonb_build_array("
                                    "(extract(epoch FROM now()) * 1000000)::bigint, 0, 0, 1.5))))")
                state["failures"] = 0
                self.pushes += 1
                self.delivered.add(i)
                await asyncio.sleep(self.interval * random.uniform(0.9, 1.1))
        finally:
            self.connected -= up
            writer.close()
