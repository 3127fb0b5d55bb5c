#!/usr/bin/python3
"""An HTTP server that does everything wrong, one fault a path.

    bad_http.py         prints "http=PORT self_signed=PORT expired=PORT tls_stall=PORT dead=PORT certs=FOLDER"
                        and serves on 127.0.0.1 until its standard input ends

Paths: see the methods of Answers; "/slow_body" is answered by slow_body(). /status/404 gives that
status. /peak_hanging tells how many requests to /hang were open at most at the same time.

The ports: http is plain; self_signed and expired speak TLS with such a certificate (FOLDER/NAME.pem); tls_stall
takes connections and never says a word; on dead nobody listens.
"""
import asyncio
import gzip
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile

HOST = "127.0.0.1"
BOMB = gzip.compress(bytes(20_000_000))      # once: it keeps everybody waiting


class Answers:
    """Each method gets the writer and the request head; it is cancelled when the client is gone."""

    def __init__(self):
        self.port = 0
        self.hanging = self.peak = 0

    @staticmethod
    def send(w, body, status="200 OK", headers=""):
        w.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)

    async def ok(self, w, head):
        self.send(w, b"ok\n")

    async def body(self, w, head):
        self.send(w, b"x" * 100_000 + b"needle" + b"x" * 1000)

    async def split_body(self, w, head):
        w.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000 + b"nee")
        await w.drain()
        await asyncio.sleep(0.1)
        w.write(b"dle")

    async def echo(self, w, head):
        self.send(w, head)

    async def peak_hanging(self, w, head):
        self.send(w, str(self.peak).encode())

    async def hang(self, w, head):
        self.hanging += 1
        self.peak = max(self.peak, self.hanging)
        try:
            await asyncio.sleep(3600)
        finally:
            self.hanging -= 1

    async def slow_body(self, w, head):
        w.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            w.write(b"x")
            await asyncio.sleep(1)

    async def slow_headers(self, w, head):
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000:
            w.write(bytes([byte]))
            await asyncio.sleep(1)

    async def endless_body(self, w, head):
        w.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            w.write(b"x" * 16384)
            await w.drain()

    async def huge(self, w, head):
        w.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        while True:
            w.write(b"x" * 16384)
            await w.drain()

    async def huge_stall(self, w, head):
        w.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\nx")
        await asyncio.sleep(3600)

    async def endless_headers(self, w, head):
        w.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            w.write(b"X-Header: value\r\n" * 100)
            await w.drain()

    async def endless_continue(self, w, head):
        while True:
            w.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
            await w.drain()

    async def gzip_bomb(self, w, head):
        self.send(w, BOMB, headers="Content-Encoding: gzip\r\n")

    def redirect(self, w, to):
        self.send(w, b"", "302 Found", f"Location: {to}\r\n")

    async def loop(self, w, head):
        self.redirect(w, "/loop")

    async def to_ok(self, w, head):
        self.redirect(w, "/ok")

    async def to_file(self, w, head):
        self.redirect(w, "file:///etc/passwd")

    async def to_gopher(self, w, head):
        self.redirect(w, f"gopher://{HOST}:{self.port}/_x")

    async def to_metadata(self, w, head):
        self.redirect(w, "http://169.254.169.254/latest/meta-data/")

    async def to_metadata_6(self, w, head):
        self.redirect(w, "http://[::ffff:169.254.169.254]/")

    async def to_other_host(self, w, head):
        self.redirect(w, f"http://localhost:{self.port}/echo")

    async def to_name(self, w, head):
        """Leads to the host that the query names, as it was sent."""
        self.redirect(w, f"http://{head.split()[1].decode().partition('?')[2]}/")

    async def early_close(self, w, head):
        w.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")

    async def no_answer(self, w, head):
        pass

    async def reset(self, w, head):
        w.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
        await w.drain()
        sock = w.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        w.transport.abort()

    async def http09(self, w, head):
        w.write(b"hello, this is 1991\n")

    async def garbage(self, w, head):
        w.write(bytes(range(256)) * 10)


ANSWERS = Answers()


async def answer(w, head):
    path = head.split(b" ", 2)[1].decode().split("?")[0].strip("/")
    if path.startswith("status/"):
        ANSWERS.send(w, b"", path[7:] + " As You Like")
    else:
        await getattr(ANSWERS, path)(w, head)
    await w.drain()


async def serve(r, w):
    """End the answer when the client hangs up: a hanging one would stay for ever."""
    tasks = []
    try:
        head = await r.readuntil(b"\r\n\r\n")
        tasks = [asyncio.ensure_future(answer(w, head)), asyncio.ensure_future(r.read())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass                                    # a handshake only, or a port scan
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        w.close()


def certificate(folder, name, *dates):
    """Made with the openssl command, so that expiry can be compared with what it says."""
    pem, key = f"{folder}/{name}.pem", f"{folder}/{name}.key"
    run = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                    "-nodes", "-keyout", key, "-out", f"{name}.csr", "-subj", "/CN=127.0.0.1"], **run)
    with open(f"{folder}/ca.cnf", "w", encoding="ascii") as f:
        f.write("[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\n"
                "policy=p\nunique_subject=no\nx509_extensions=x\n[p]\ncommonName=supplied\n"
                "[x]\nsubjectAltName=IP:127.0.0.1\n")
    open(f"{folder}/index", "a", encoding="ascii").close()
    subprocess.run(["openssl", "ca", "-batch", "-config", "ca.cnf", "-selfsign", "-keyfile", key, "-create_serial",
                    "-in", f"{name}.csr", "-out", pem, "-notext", "-startdate", dates[0], "-enddate", dates[1]], **run)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    return context


def stall(_r, w):
    STALLED.append(w)


STALLED = []            # kept, or the connections would be closed


async def main():
    folder = tempfile.mkdtemp(prefix="observ-certs-")
    ports = {}

    async def listen(name, handler, context=None):
        server = await asyncio.start_server(handler, HOST, 0, ssl=context, backlog=1024)
        ports[name] = server.sockets[0].getsockname()[1]

    try:
        await listen("http", serve)
        ANSWERS.port = ports["http"]
        await listen("self_signed", serve, certificate(folder, "self_signed", "20200101000000Z", "20490203040506Z"))
        await listen("expired", serve, certificate(folder, "expired", "20200101000000Z", "20210908070605Z"))
        await listen("tls_stall", stall)
        with socket.socket() as dead:           # bound, but it does not listen
            dead.bind((HOST, 0))
            ports["dead"] = dead.getsockname()[1]
            print(" ".join(f"{k}={v}" for k, v in ports.items()), f"certs={folder}", flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    asyncio.run(main())
