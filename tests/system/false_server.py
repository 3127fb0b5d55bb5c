"""In a network of its own: a false PostgreSQL server, and programs that try to reach it.

    false_server.py < REQUEST > ANSWER      both JSON

REQUEST has "tls" (certificate and key as PEM files; none: the server says that it has no TLS) and "runs", a
list of {"command", "environment", "input", "until"}; with "until" it is stopped once it has written that. In
this network 192.0.2.1 is this machine, but no loopback address. For each run ANSWER has what the program
said, and what the server got: "clear" (bytes beyond the request for TLS, as text), "secret" (the same
inside TLS) and "connections" (their number). Run it by `unshare --net`.
"""
import contextlib
import fcntl
import json
import os
import queue
import socket
import ssl
import struct
import subprocess
import sys
import threading

ADDRESS, PORT = "192.0.2.1", 5432
PATIENCE_S = 60         # with a peer that says nothing
TLS_REQUEST, GSS_REQUEST = 80877103, 80877104
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, IFF_UP = 0x8914, 0x8916, 0x891C, 1


def set_up_network():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
        address = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(ADDRESS))
        fcntl.ioctl(s, SIOCSIFADDR, struct.pack("16s16s", b"lo:1", address))


class FalseServer:
    """Asks each client for the password in clear, notes what it gets, and refuses.

    A thread that is inside OpenSSL while the interpreter ends is a crash, so close() waits for all of them.
    """

    def __init__(self, address, tls, port=PORT):
        self.tls = tls
        self.talks = []
        self.reset()
        self.accepted = queue.SimpleQueue()     # the address of each peer
        self.listener = socket.create_server((address, port), backlog=64)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def reset(self):
        self.got = {"clear": "", "secret": "", "connections": 0}

    def serve(self):
        with contextlib.suppress(OSError):      # the listener is shut down
            while True:
                connection, peer = self.listener.accept()
                connection.settimeout(PATIENCE_S)
                self.talks.append(threading.Thread(target=self.talk, args=(connection,)))
                self.talks[-1].start()
                self.accepted.put(peer)

    def settle(self):
        """Waits until all that peers which are gone have sent is in `got`. Connections are accepted in the
        order in which they came, so one of our own marks the end."""
        with socket.create_connection(self.listener.getsockname()) as mark:
            while self.accepted.get() != mark.getsockname():
                self.got["connections"] += 1
        for thread in self.talks:
            thread.join()
        self.talks = []

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()
        for thread in self.talks:
            thread.join()

    def note(self, where, data):
        self.got[where] += data.decode("latin-1")
        return data

    @staticmethod
    def head(s):
        data = b""
        while len(data) < 8:
            more = s.recv(8 - len(data))
            if not more:
                break
            data += more
        return data

    def talk(self, s):
        where = "clear"
        try:
            while True:
                head = self.head(s)
                code = struct.unpack("!II", head)[1] if len(head) == 8 else 0
                if code not in (TLS_REQUEST, GSS_REQUEST):
                    break
                accept = code == TLS_REQUEST and self.tls
                s.sendall(b"S" if accept else b"N")
                if accept:
                    s, where = self.tls.wrap_socket(s, server_side=True), "secret"
            self.note(where, head)
            if len(head) < 8:
                return
            self.note(where, s.recv(65536))
            s.sendall(b"R" + struct.pack("!II", 8, 3))          # AuthenticationCleartextPassword
            self.note(where, s.recv(65536))
            s.sendall(b"E" + struct.pack("!I", 4 + 26) + b"SFATAL\0C28P01\0Mno such\0\0\0\0\0"[:26])
        except OSError:
            pass
        finally:
            s.close()


def run(command, environment, input="", until=None):
    """Its exit status, and what it said."""
    with subprocess.Popen(command, env={**os.environ, **environment}, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        process.stdin.write(input)
        process.stdin.close()
        said = ""
        limit = threading.Timer(PATIENCE_S, process.kill)       # passes only where a test fails
        limit.start()
        for line in process.stdout:
            said += line
            if until and until in line:
                process.terminate()
        limit.cancel()
        limit.join()
        return process.wait(), said


def main():
    request = json.load(sys.stdin)
    set_up_network()
    tls = None
    if request.get("tls"):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*request["tls"])
    answers = []
    with contextlib.closing(FalseServer(ADDRESS, tls)) as server:
        with contextlib.closing(FalseServer("127.0.0.1", tls)) as loopback:
            for one in request["runs"]:
                server.reset()
                loopback.reset()
                status, said = run(**one)
                server.settle()
                loopback.settle()
                answers.append({"said": said, "status": status, **server.got, "loopback": loopback.got})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
