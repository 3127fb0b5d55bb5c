#!/usr/bin/python3
"""An HTTP server with a different fault on each path.

    bad_http.py         prints "http=PORT self_signed=PORT expired=PORT tls_stall=PORT dead=PORT certs=FOLDER"
                        and serves on 127.0.0.1 until its standard input ends

Paths: see the methods of Answers; "/slow_body" is answered by slow_body(). /status/404 gives that
status. /peak_hanging tells how many requests to /hang were open at most at the same time.

The ports: http is plain; self_signed and expired speak TLS with such a certificate (FOLDER/NAME.pem);
tls_stall takes connections and never says a word; on dead nobody listens.
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
import zlib
from urllib.parse import unquote_to_bytes

HOST = "127.0.0.1"
BOMB = gzip.compress(bytes(20_000_000))      # once, before any request has to wait for it
PLAIN = b"x" * 3000 + "needle café".encode() + b"y" * 3000
PACKED = {
    "gzip": gzip.compress(PLAIN),
    "x-gzip": gzip.compress(PLAIN),
    "deflate": zlib.compress(PLAIN),
    "br": bytes.fromhex("1b7b17f81da9539f3b5e8fe1e5a54a9030b32c631b4e411efb2d0140a09de20600ccf7c70d0004fd01"),
    "zstd": bytes.fromhex("28b52ffd0458cd00007878786e6565646c6520636166c3a9790200b403fe9f9d0fb00c2162fc"),
    "gzip, gzip": gzip.compress(gzip.compress(PLAIN)),
}
CHARSETS = {        # Content-Type, body
    "latin1": ("text/html; charset=ISO-8859-1", b"<p>un caf\xe9 \x80 3</p>"),
    "meta": ("text/html", b'<html><head><META http-equiv="Content-Type" content="text/html; '
                          b'charset=iso-8859-15">un caf\xe9 \xa4 3'),
    "meta5": ("text/html", b"<html><meta charset='iso-8859-15' />un caf\xe9 \xa4 3"),
    "xml": (None, b'<?xml version="1.0" encoding="ISO-8859-15"?><p>un caf\xe9 \xa4 3</p>'),
    "none": (None, b"un caf\xe9 \x80 3"),
    "undeclared": ("text/plain", "un café € 3".encode()),
    "mistaken": ("text/html; charset=iso-8859-1", "un café € 3".encode()),
    "bom": ("text/html; charset=iso-8859-1", b"\xef\xbb\xbf" + "un café € 3".encode()),
    "utf16": ("text/plain", "\ufeffun café € 3".encode("utf-16-le")),
    "utf16be": ("text/plain", "\ufeffun café € 3".encode("utf-16-be")),
    "sjis": ('text/html; charset="Shift_JIS"', "カフェ un caf € 3".encode("cp932", "replace")),
    "iso2022jp": ("text/html; charset=ISO-2022-JP", "abc カフェ def".encode("iso2022_jp")),
    "koi8": ("text/html; charset=koi8-r", "кафе".encode("koi8-r")),
    "late": ("text/html; charset=latin1", b"x" * 5000 + b"un caf\xe9 \x80 3"),
    "unknown": ("text/html; charset=x-nobody-knows", "un café € 3".encode()),
    "damaged": ("text/html; charset=euc-jp", b"\xff\xff" + "カフェ".encode("euc_jp") + b"\x8f"),
}


class Answers:
    """Each method gets the writer and the request head, and is cancelled when the client disconnects."""

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

    async def packed(self, w, head):
        name = head.split(b" ", 2)[1].decode().split("?")[1].replace("%20", " ")
        body = PACKED[name] if b"Accept-Encoding:" in head else PLAIN
        self.send(w, body, headers=f"Content-Encoding: {name}\r\n" if body is not PLAIN else "")

    async def transfer(self, w, head):
        """/transfer?N: PLAIN, compressed N times for the transfer, which nobody asked for."""
        times = int(head.split(b" ", 2)[1].split(b"?")[1])
        body = PLAIN
        for _ in range(times):
            body = gzip.compress(body)
        w.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + b"gzip, " * times + b"chunked\r\n\r\n")
        w.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    async def transfer_and_content(self, w, head):
        """Compressed once for the transfer, and once in itself."""
        body = gzip.compress(gzip.compress(PLAIN))
        w.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: "
                b"chunked\r\nContent-Encoding: gzip\r\n\r\n")
        w.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    async def coding(self, w, head):
        """/coding?NAME: what is not packed says that it is."""
        self.send(w, PLAIN, headers=f"Content-Encoding: {head.split(b' ', 2)[1].decode().split('?')[1]}\r\n")

    async def charset(self, w, head):
        content_type, body = CHARSETS[head.split(b" ", 2)[1].decode().split("?")[1]]
        self.send(w, body, headers=f"Content-Type: {content_type}\r\n" if content_type else "")

    async def charset_in_pieces(self, w, head):
        content_type, body = CHARSETS[head.split(b" ", 2)[1].decode().split("?")[1]]
        w.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: "
                f"{content_type or 'text/html'}\r\n\r\n".encode())
        for byte in body[-100:]:
            w.write(b"1\r\n" + bytes([byte]) + b"\r\n")
            await w.drain()
            await asyncio.sleep(0.001)
        w.write(b"0\r\n\r\n")

    async def length_required(self, w, head):
        """Like nginx and others: refuses POST, PUT and PATCH without a Content-Length."""
        if b"\r\ncontent-length:" in head.lower():
            self.send(w, head)
        else:
            self.send(w, b"", "411 Length Required")

    async def cookie_wanted(self, w, head):
        if b"session=letmein" in head:
            self.send(w, head)
        else:
            self.send(w, b"", "302 Found",
                      "Set-Cookie: session=letmein; Path=/; HttpOnly\r\nLocation: /cookie_wanted\r\n")

    async def cookie_then_other_host(self, w, head):
        self.send(w, b"", "302 Found",
                  f"Set-Cookie: session=letmein; Path=/\r\nLocation: http://localhost:{self.port}/echo\r\n")

    async def to(self, w, head):
        """/to?STATUS,WHERE: redirects to WHERE, unchanged."""
        status, where = head.split(b" ", 2)[1].split(b"?", 1)[1].split(b",", 1)
        w.write(b"HTTP/1.1 %s Go There\r\nContent-Length: 5\r\nLocation: %s\r\n\r\nmoved"
                % (status, unquote_to_bytes(where)))

    async def to_endless(self, w, head):
        w.write(b"HTTP/1.1 302 Found\r\nLocation: /ok\r\n\r\n")
        while True:
            w.write(b"x" * 16384)
            await w.drain()

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
        """Redirects to the host in the query, unchanged."""
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
    """End the answer when the client hangs up; a hanging answer would never end."""
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
    """Made with the openssl command, so that tests can compare the expiry with its output."""
    pem, key = f"{folder}/{name}.pem", f"{folder}/{name}.key"
    run = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                    "-nodes", "-keyout", key, "-out", f"{name}.csr", "-subj", "/CN=127.0.0.1"], **run)
    with open(f"{folder}/ca.cnf", "w", encoding="ascii") as f:
        f.write("[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\n"
                "policy=p\nunique_subject=no\nx509_extensions=x\n[p]\ncommonName=supplied\n"
                "[x]\nsubjectAltName=IP:127.0.0.1\n")
    open(f"{folder}/index", "a", encoding="ascii").close()
    subprocess.run(["openssl", "ca", "-batch", "-config", "ca.cnf", "-selfsign", "-keyfile", key,
                    "-create_serial",
                    "-in", f"{name}.csr", "-out", pem, "-notext", "-startdate", dates[0],
                    "-enddate", dates[1]], **run)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    return context


def stall(_r, w):
    STALLED.append(w)


STALLED = []            # keep them, or the connections would be closed


async def main():
    folder = tempfile.mkdtemp(prefix="observ-certs-")
    ports = {}

    async def listen(name, handler, context=None):
        server = await asyncio.start_server(handler, HOST, 0, ssl=context, backlog=1024)
        ports[name] = server.sockets[0].getsockname()[1]

    try:
        await listen("http", serve)
        ANSWERS.port = ports["http"]
        await listen("self_signed", serve,
                     certificate(folder, "self_signed", "20200101000000Z", "20490203040506Z"))
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
