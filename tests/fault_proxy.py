#!/usr/bin/python3
"""A TCP proxy on loopback that a test can slow down, block or cut.

    with Proxy("/path/.s.PGSQL.5432") as proxy:         # or Proxy(("127.0.0.1", 5432))
        ... connect to 127.0.0.1, proxy.port ...
        proxy.delay = 0.2                               # seconds, each way
        proxy.rate = 8000                               # bytes a second, each way; None: no limit
        proxy.hole = True                               # pass nothing, close nothing
        proxy.cut_after["client"] = 100_000             # each connection ends after so many bytes from the
        client proxy.lose_answers = 3                          # the next 3 commits succeed, but the client
        gets no answer proxy.reset()                                   # end all connections by RST; cut(): by
        FIN proxy.refuse = True                             # who connects is reset at once

As a program, in a private network namespace: fault_proxy.py TARGET PORT (a path, or HOST:PORT)
"""
import asyncio
import contextlib
import socket
import struct
import sys
import threading

CHUNK = 16 << 10
BUFFER = 64 << 10       # small, so that the sender notices a slow line, too


class Commits:
    """Follows a client's messages to PostgreSQL (no TLS) and counts the batches: one query each, or what ends
    with Sync."""

    def __init__(self, queries):
        self.buffer, self.started, self.pushing, self.count = b"", False, False, 0
        self.queries = queries

    def feed(self, data):
        self.buffer += data
        while True:
            head = 1 if self.started else 0
            if len(self.buffer) < head + 4:
                return
            length = struct.unpack("!I", self.buffer[head:head + 4])[0] + head
            if len(self.buffer) < length:
                return
            self.message(self.buffer[:length])
            self.buffer = self.buffer[length:]

    def message(self, message):
        if not self.started:
            # else it asks for TLS, which the server refuses
            self.started = message[4:8] == struct.pack("!I", 196608)
        elif message[:1] == b"Q" and b"observ.push" in message:
            self.queries.append(message)
            self.count += 1
        elif message[:1] == b"P" and b"observ.push" in message:
            self.pushing = True
        elif message[:1] == b"S" and self.pushing:
            self.pushing, self.count = False, self.count + 1


class Connection:
    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.commits = Commits(proxy.queries) if proxy.follow else None
        self.waiting = False                    # waiting for an answer that the client will not get

    def end(self, reset):
        for _, writer in (self.client, self.server):
            with contextlib.suppress(OSError, RuntimeError):
                if reset:
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                                               struct.pack("ii", 1, 0))
                    writer.transport.abort()
                else:
                    writer.close()

    def look(self, side, data):
        """True: the connection ends here, `data` included."""
        proxy = self.proxy
        if side == "client" and self.commits:
            before = self.commits.count
            self.commits.feed(data)
            if self.commits.count > before:
                proxy.commits += self.commits.count - before
                if proxy.lose_answers > 0:
                    proxy.lose_answers -= 1
                    self.waiting = True
        if side == "server" and self.waiting:
            return data[-6:-1] == b"Z\0\0\0\x05"        # ReadyForQuery: the batch is committed
        return False

    async def pump(self, side, reader, writer):
        passed, queue, loop = 0, asyncio.Queue(), asyncio.get_running_loop()

        async def read():
            while True:
                if queue.qsize() > 4 and self.proxy.rate:
                    await asyncio.sleep(0.01)
                    continue
                data = await reader.read(CHUNK)
                queue.put_nowait((loop.time() + self.proxy.delay, data))
                if not data:
                    return

        task = asyncio.ensure_future(read())
        try:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0, due - loop.time()))
                while self.proxy.hole:
                    await asyncio.sleep(0.02)
                if not data:
                    return False
                limit = self.proxy.cut_after.get(side)
                data, over = (data[:limit - passed],
                              True) if limit and passed + len(data) >= limit else (data, False)
                ended = self.look(side, data)
                if not (side == "server" and self.waiting):
                    await self.write(writer, data)
                passed += len(data)
                if ended or over:
                    return True
        finally:
            task.cancel()

    async def write(self, writer, data):
        rate = self.proxy.rate
        for i in range(0, len(data), 1024) if rate else [0]:
            part = data[i:i + 1024] if rate else data
            writer.write(part)
            await writer.drain()
            if rate:
                await asyncio.sleep(len(part) / rate)

    async def run(self):
        ways = [asyncio.ensure_future(self.pump("client", self.client[0], self.server[1])),
                asyncio.ensure_future(self.pump("server", self.server[0], self.client[1]))]
        done, pending = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        results = await asyncio.gather(*ways, return_exceptions=True)
        self.end(reset=any(r is True or isinstance(r, ConnectionError) for r in results))


class Proxy:
    def __init__(self, target, follow=False, port=0):
        """follow: parse the messages, which lose_answers and commits need (no TLS)."""
        self.target, self.follow = target, follow
        self.delay, self.rate, self.hole, self.refuse = 0.0, None, False, False
        self.cut_after, self.lose_answers = {}, 0
        self.commits = self.accepted = 0
        self.queries = []                       # batches that were one message
        self.connections = set()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self.listener.bind(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.serve, daemon=True)

    async def handle(self, reader, writer):
        self.accepted += 1
        client, connection = (reader, writer), None
        try:
            if self.refuse:
                raise ConnectionError
            if isinstance(self.target, tuple):
                server = await asyncio.open_connection(*self.target)
            else:
                server = await asyncio.open_unix_connection(self.target)
            connection = Connection(self, client, server)
            self.connections.add(connection)
            await connection.run()
        except OSError:
            Connection(self, client, client).end(reset=True)
        finally:
            self.connections.discard(connection)

    def serve(self):
        asyncio.set_event_loop(self.loop)
        with contextlib.suppress(asyncio.CancelledError):
            self.loop.run_until_complete(self.listen())
        self.loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(self.loop), return_exceptions=True))

    async def listen(self):
        async with await asyncio.start_server(self.handle, sock=self.listener) as server:
            await server.serve_forever()

    def __enter__(self):
        self.listener.listen(1024)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.hole = False
        self.end_all(reset=True)
        self.loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(self.loop)])
        self.thread.join(5)
        self.listener.close()

    def end_all(self, reset):
        def end():
            for connection in list(self.connections):
                connection.end(reset)
        self.loop.call_soon_threadsafe(end)

    def reset(self):
        self.end_all(reset=True)

    def cut(self):
        self.end_all(reset=False)


if __name__ == "__main__":
    where, _, number = sys.argv[1].rpartition(":")
    with Proxy((where, int(number)) if where else sys.argv[1], port=int(sys.argv[2])) as running:
        print(running.port, flush=True)
        running.thread.join()
