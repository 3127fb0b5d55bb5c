"""Peers of channels on real sockets that do what a script says: HTTP and SMTP, honest and hostile.

A peer takes each connection in a thread. An HTTP script is a function of the number of the request (from 0),
or a list whose last entry repeats; an entry is a list of steps:

    b"..."      send these bytes             READ            read the whole request (the first step of most)
    Wait(s)     do nothing for so long       RESET           end the connection by RST
    HANG        do nothing until the test ends, or the client hangs up

The connection ends behind the last step. SMTP scripts are dicts: what is said instead of the honest answer to
a command ("EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "." for the text, "" for the greeting).
"""
import base64
import dataclasses
import email
import email.policy
import json
import re
import socket
import ssl
import struct
import threading
import time

READ, RESET, HANG = "read", "reset", "hang"


@dataclasses.dataclass
class Wait:
    seconds: float


def answer(status=200, body=b"ok", *headers, reason="Said"):
    """An HTTP answer as bytes; a dict becomes JSON."""
    if isinstance(body, dict):
        body = json.dumps(body).encode()
    elif isinstance(body, str):
        body = body.encode()
    lines = [f"HTTP/1.1 {status} {reason}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@dataclasses.dataclass
class Request:
    at: float
    method: str
    path: str
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Peer:
    """A listening socket, and a thread for each connection."""

    def __init__(self, context=None):
        self.context, self.done = context, threading.Event()
        self.lock, self.connections, self.accepted = threading.Lock(), set(), 0
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.done.is_set():
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with self.lock:
                self.connections.add(connection)
                self.accepted += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            self.talk(connection)
        except (OSError, ValueError):
            pass
        finally:
            connection.close()

    def steps(self, connection, steps, read=None):
        """Returns False when the connection is over."""
        for step in steps:
            if step == READ:
                if not read():
                    return False
            elif step == RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            elif step == HANG:
                self.done.wait()
                return False
            elif isinstance(step, Wait):
                if self.done.wait(step.seconds):
                    return False
            elif callable(step):
                step()
            else:
                connection.sendall(step)
        return True

    def stop(self):
        self.done.set()
        self.socket.close()
        with self.lock:
            connections = list(self.connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class HttpPeer(Peer):
    def __init__(self, script=None, context=None):
        self.script = script if script is not None else [[READ, answer()]]
        self.requests = []
        super().__init__(context)

    @property
    def url(self):
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}/hook"

    def script_of(self, n):
        if callable(self.script):
            return self.script(n)
        return self.script[min(n, len(self.script) - 1)]

    def read_request(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {k.strip().lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}
        while len(body) < int(headers.get("content-length", 0)):
            more = connection.recv(65536)
            if not more:
                return None
            body += more
        method, path, _ = lines[0].split(" ", 2)
        return Request(time.monotonic(), method, path, headers, body)

    def talk(self, connection):
        mine = []

        def read():
            request = self.read_request(connection)
            if request is None:
                return False
            with self.lock:
                self.requests.append(request)
                mine.append(len(self.requests) - 1)
            return True

        # The script is chosen by the number of the request, so a request is read first where one is wanted.
        probe = self.script_of(len(self.requests))
        if probe and probe[0] == READ:
            if read():
                self.steps(connection, self.script_of(mine[0])[1:], read)
        else:
            self.steps(connection, probe, read)


class SmtpPeer(Peer):
    """An honest mail server but for what `says` changes. tls: a context for STARTTLS; implicit: smtps."""

    def __init__(self, says=None, tls=None, implicit=False, password=None):
        self.says, self.tls, self.password = says or {}, tls, password
        self.mails, self.commands = [], []
        super().__init__(tls if implicit else None)

    def url(self, scheme="smtp"):
        return f"{scheme}://127.0.0.1:{self.port}"

    def say(self, connection, command, honest):
        steps = self.says.get(command, [honest])
        if callable(steps):
            steps = steps(len(self.mails), honest)
        return self.steps(connection, steps)

    def capabilities(self, connection):
        lines = ["peer.test"]
        if self.tls and not isinstance(connection, ssl.SSLSocket):
            lines.append("STARTTLS")
        if self.password:
            lines.append("AUTH PLAIN")
        lines.append("8BITMIME")
        return "".join(f"250{'-' if i + 1 < len(lines) else ' '}{line}\r\n"
                       for i, line in enumerate(lines)).encode()

    def talk(self, connection):
        sender = recipient = None
        if not self.say(connection, "", b"220 peer.test ESMTP\r\n"):
            return
        file = connection.makefile("rb")
        while line := file.readline():
            text = line.decode("latin-1").rstrip("\r\n")
            command = text.split(" ")[0].upper()
            with self.lock:
                self.commands.append(text)
            if command in ("EHLO", "HELO"):
                ok = self.say(connection, "EHLO", self.capabilities(connection))
            elif command == "STARTTLS":
                ok = self.say(connection, command, b"220 go on\r\n")
                if ok and self.tls and self.says.get("STARTTLS") is None:
                    connection = self.tls.wrap_socket(connection, server_side=True)
                    file = connection.makefile("rb")
            elif command == "AUTH":
                if self.says.get(command) is None:
                    connection.sendall(b"334 \r\n")
                    text = file.readline().decode("latin-1").strip()
                words = base64.b64decode(text).split(b"\0") if self.says.get(command) is None else []
                good = len(words) == 3 and words[2].decode() == self.password
                ok = self.say(connection, command, b"235 ok\r\n" if good else b"535 5.7.8 wrong\r\n")
            elif command == "MAIL":
                sender = re.search(r"<(.*?)>", text).group(1)
                ok = self.say(connection, command, b"250 ok\r\n")
            elif command == "RCPT":
                recipient = re.search(r"<(.*?)>", text).group(1)
                said = self.says.get(f"RCPT {recipient}")
                ok = self.steps(connection, said) if said else self.say(connection, command, b"250 ok\r\n")
            elif command == "DATA":
                ok = self.say(connection, command, b"354 go on\r\n")
                if ok and self.says.get("DATA") is None:
                    raw = b""
                    while (line := file.readline()) and line != b".\r\n":
                        raw += line[1:] if line.startswith(b".") else line
                    if not line:
                        return
                    count = len(self.mails)
                    honest = b"250 queued\r\n"
                    steps = self.says.get(".", [honest])
                    steps = steps(count, honest) if callable(steps) else steps
                    if any(isinstance(s, bytes) and s.startswith(b"2") for s in steps):
                        with self.lock:
                            self.mails.append((sender, recipient, raw))
                    ok = self.steps(connection, steps)
            elif command == "QUIT":
                self.say(connection, command, b"221 bye\r\n")
                return
            else:
                ok = True
                connection.sendall(b"500 what?\r\n")
            if not ok:
                return

    def parsed(self):
        return [email.message_from_bytes(raw, policy=email.policy.default) for _, _, raw in self.mails]
