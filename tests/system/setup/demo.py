"""`make demo` without the build, for tests."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

from harness import BUILD, TOP, run, wait_for

DEMO = TOP / "scripts" / "demo"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Demo:
    def __init__(self, folder, fleet="0"):
        self.data, self.port, self.fleet = folder / "demo-data", free_port(), fleet
        self.output = folder / "output"
        self.process = None

    def environment(self):
        return {**os.environ, "BUILD": str(BUILD), "DEMO_DATA": str(self.data), "DEMO_PORT": str(self.port),
                "DEMO_FLEET": self.fleet}

    def start(self):
        self.output.unlink(missing_ok=True)
        with open(self.output, "w") as out:
            # Processes in the background of a shell inherit that SIGINT is ignored, and could not be
            # interrupted.
            self.process = subprocess.Popen(["env", "--default-signal=INT", str(DEMO)],
                                            env=self.environment(),
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            start_new_session=True)
        wait_for(lambda: "Observ is running" in self.said() or self.process.poll() is not None, "the URL",
                 120)
        assert self.process.poll() is None, self.said()
        return self

    def fails(self):
        """Run it expecting failure; returns its last line."""
        done = subprocess.run([str(DEMO)], env=self.environment(), text=True, stdin=subprocess.DEVNULL,
                              timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 1, done.stdout
        return [line for line in done.stdout.splitlines() if line != "demo: stopping"]

    def said(self):
        return self.output.read_text()

    def servers(self):
        return {server["vps"] for server in json.loads(self.get("/?format=json"))["servers"]}

    def query(self, sql):
        url = run(TOP / "scripts/pg", "url", self.data / "pg", "observ_metrics", "postgres").strip()
        return run("psql", "-XAtd", url, "-c", sql).strip()

    def url(self, path, **query):
        return f"http://127.0.0.1:{self.port}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")

    def command(self, word):
        """scripts/demo WORD, from another terminal."""
        run(DEMO, word, env=self.environment())

    def messages(self, kind):
        """The files of a sink, the oldest first."""
        return sorted((self.data / "messages").glob(f"*-{kind}.*"), key=lambda p: int(p.name.split("-")[0]))

    def get(self, path):
        with urllib.request.urlopen(self.url(path), timeout=20) as answer:
            return answer.read().decode()

    def stop(self, sig=signal.SIGINT):
        self.process.send_signal(sig)
        return self.process.wait(30)

    def processes(self):
        """(user id, command line) of the demo's processes, found by command line, working folder or
        environment."""
        found = []
        for p in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                text = ((p / "cmdline").read_bytes() + b" " + os.readlink(p / "cwd").encode()
                        + (p / "environ").read_bytes())
                if str(self.data).encode() in text and int(p.name) != os.getpid():
                    found.append((p.stat().st_uid,
                                  (p / "cmdline").read_bytes().replace(b"\0", b" ").decode()))
        return found

    def left_over(self):
        return [command for _, command in self.processes()]
