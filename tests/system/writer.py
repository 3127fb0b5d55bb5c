"""A log with numbered lines, which a thread writes at a steady rate and rotates while it writes."""
import os
import random
import threading
import time

PAD = "x" * 97


def append(path, *lines):
    with open(path, "a") as f:
        f.write("".join(line + "\n" for line in lines))


class Writer:
    """Appends lines {"message": "line N", "context": {"n": N}} to `path` until stop().

    Writes the due lines every few milliseconds, in pieces that end anywhere in a line, so that a reader often
    sees partial lines. Numbers continue over all rotated files.
    """

    def __init__(self, path, rate, seed=1, first=0):
        self.path = str(path)
        self.rate = rate
        self.random = random.Random(seed)
        self.first = self.written = first       # number of the first line
        self.fd = self.open()
        self.lock = threading.Lock()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.loop, daemon=True)

    def open(self):
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def line(self):
        n = self.written
        self.written += 1
        return (f'{{"level":"INFO","logger":"writer","message":"line '
                f'{n}","context":{{"n":{n},"pad":"{PAD[:n % 97]}"}}}}\n'
                .encode())

    def write_some(self, count):
        data = b"".join(self.line() for _ in range(count))
        cut = self.random.randrange(len(data) + 1)
        with self.lock:
            os.write(self.fd, data[:cut])
            os.write(self.fd, data[cut:])

    def loop(self):
        start, sent = time.monotonic(), 0
        while not self.done.wait(0.005):
            due = int((time.monotonic() - start) * self.rate) - sent
            if due > 0:
                self.write_some(due)
                sent += due

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        """End the thread; returns how many lines were written (plus `first`: the next number)."""
        self.done.set()
        self.thread.join()
        with self.lock:
            os.close(self.fd)
        return self.written

    def rotate(self, to):
        """Rename the file and continue in a new one, as logrotate with `create`."""
        with self.lock:
            os.rename(self.path, to)
            self.reopen()

    def reopen(self):
        os.close(self.fd)
        self.fd = self.open()


def check_exactly_once(db, written, timeout=300.0):
    """Every line once: waits for as many rows as lines were written, then checks for duplicates."""
    db.wait("SELECT count(*) >= %s FROM log_entries WHERE logger = 'writer'", written, timeout=timeout)
    rows, distinct, low, high = db.query(
        """SELECT count(*), count(DISTINCT (context->>'n')::bigint), min((context->>'n')::bigint),
                  max((context->>'n')::bigint) FROM log_entries WHERE logger = 'writer'""")[0]
    assert (rows, distinct, low, high) == (written, written, 0, written - 1)
    assert db.count("log_entries", "logger IS DISTINCT FROM 'writer'") == 0, "a line was torn"
    assert db.count("gaps") == 0, db.query("SELECT kind, detail FROM gaps")
