"""Starts the report of the fault tests (oracle.py) with a session and shows it at the end. Fixtures for
several tests."""
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import oracle
import pytest
from harness import run


def pytest_configure(config):
    # Only of this session, unless it is part of a longer run. The workers add to it.
    if "OBSERV_FAULT_REPORT" not in os.environ and not hasattr(config, "workerinput"):
        oracle.report_path().unlink(missing_ok=True)


def pytest_terminal_summary(terminalreporter):
    text = oracle.table(oracle.report_path())
    if text:
        terminalreporter.section("faults")
        terminalreporter.write(text)


@pytest.fixture
def log(tmp_path):
    """The path of a log in a folder of its own. The log is not there yet."""
    folder = tmp_path / "log"
    folder.mkdir()
    return folder / "app.log"


@pytest.fixture
def bad():
    """A faulty HTTP server (bad_http.py); a dict of its output, http=PORT and so on."""
    server = subprocess.Popen([sys.executable, str(Path(__file__).with_name("bad_http.py"))], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    yield dict(word.split("=", 1) for word in server.stdout.readline().split())
    server.stdin.close()
    server.wait(60)
    server.stdout.close()


@pytest.fixture
def small_disk():
    """small_disk(megabytes) -> a folder with a file system of that size; small_disk.resize(megabytes)."""
    class Disk:
        folder = Path(tempfile.mkdtemp(prefix="obs-"))

        def __call__(self, megabytes):
            self.folder.chmod(0o755)            # the server's user must be able to enter
            made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=777", "tmpfs",
                                   str(self.folder)],
                                  capture_output=True, text=True)
            if made.returncode:
                pytest.skip(f"a small file system can't be mounted here: {made.stderr.strip()}")
            return self.folder

        def resize(self, megabytes):
            run("mount", "-o", f"remount,size={megabytes}m", self.folder)

    disk = Disk()
    yield disk
    subprocess.run(["umount", "-l", str(disk.folder)], capture_output=True)
    disk.folder.rmdir()


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """The library of shim.c, for LD_PRELOAD."""
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    run("cc", "-O1", "-shared", "-fPIC", "-o", library, Path(__file__).with_name("shim.c"))
    return str(library)
