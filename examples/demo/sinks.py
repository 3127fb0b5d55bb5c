#!/usr/bin/env python3
"""Where the messages of `make demo` arrive: a mail server and a webhook on loopback.

    sinks.py FOLDER     writes each message to a file of FOLDER, and prints where it listens

A file is named by its number and its kind: 1-mail.txt, 2-webhook.json. It appears whole. Nothing leaves this
machine.
"""
import email
import email.policy
import http.server
import json
import os
import pathlib
import socketserver
import sys
import threading

MESSAGE_BYTES = 1 << 20
LINE_BYTES = 1000
IDLE_S = 60


class Folder:
    """The messages as files."""

    def __init__(self, path):
        self.path, self.lock = pathlib.Path(path), threading.Lock()
        numbers = (p.name.split("-")[0] for p in self.path.iterdir())
        self.last = max((int(n) for n in numbers if n.isdecimal()), default=0)

    def add(self, kind, text):
        with self.lock:
            self.last += 1
            new = self.path / ".new"
            new.write_text(text)
            os.replace(new, self.path / f"{self.last}-{kind}")


def readable(raw):
    """The headers and the text of a mail without their encodings."""
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    body = mail.get_body(("plain", "html"))
    headers = "".join(f"{name}: {value}\n" for name, value in mail.items()
                      if not name.lower().startswith("content-"))
    return f"{headers}\n{body.get_content() if body else ''}"


class Mail(socketserver.StreamRequestHandler):
    """As much of SMTP (RFC 5321) as a sender needs."""
    timeout = IDLE_S

    def say(self, line):
        self.wfile.write(line.encode() + b"\r\n")

    def text(self):
        """What follows DATA, up to the line with a dot; None if it is too long or breaks off."""
        lines, size = [], 0
        while (line := self.rfile.readline(MESSAGE_BYTES)) != b".\r\n":
            size += len(line)
            if not line or size > MESSAGE_BYTES:
                return None
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def handle(self):
        self.say("220 demo.example: the demo's mail sink")
        while line := self.rfile.readline(LINE_BYTES):
            command = line[:4].upper()
            if command == b"QUIT":
                return self.say("221 bye")
            if command == b"DATA":
                self.say("354 end with a line that is a dot")
                text = self.text()
                if text is None:
                    return self.say("552 this message is too long")
                self.server.folder.add("mail.txt", readable(text))
            known = command in (b"EHLO", b"HELO", b"MAIL", b"RCPT", b"DATA", b"RSET", b"NOOP")
            self.say("250 accepted" if known else "502 this sink does not know the command")
        return None


class Webhook(http.server.BaseHTTPRequestHandler):
    timeout = IDLE_S

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MESSAGE_BYTES:
            return self.send_error(413)
        try:
            body = json.loads(self.rfile.read(int(length)))
        except ValueError:
            return self.send_error(400, "This is not JSON")
        self.server.folder.add("webhook.json", json.dumps({"headers": dict(self.headers), "body": body},
                                                          indent=2, ensure_ascii=False) + "\n")
        self.send_response(204)
        return self.end_headers()

    def log_message(self, *_):
        """The files say all."""


class MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = True


def main():
    folder = Folder(sys.argv[1])
    servers = {"mail": MailServer(("127.0.0.1", 0), Mail),
               "webhook": http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhook)}
    for name, server in servers.items():
        server.folder = folder
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"{name}={server.server_address[1]}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: sinks.py FOLDER")
    main()
