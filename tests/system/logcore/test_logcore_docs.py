"""docs/logcore.md: its examples work when copied."""
import json
import os
import re
import subprocess

import pytest
from harness import BUILD, TOP, run, wait_for

PAGE = (TOP / "docs/logcore.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.S | re.M)


def block(language, word):
    (found,) = [b for b in blocks(language) if word in b]
    return found


def test_systemd_accepts_the_unit(tmp_path):
    unit = tmp_path / "billing.service"
    unit.write_text(block("ini", "ExecStart").replace("/usr/bin/billing", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], text=True, capture_output=True)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "billing" in line]) == (0, [])


@pytest.fixture
def writers(tmp_path):
    """Functions by name that write a line with the next number to a file. Their processes run during the
    whole test."""
    started, written = [], {}

    def process(*command, **options):
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
                                        **options))
        return started[-1]

    def c(log):
        url = process(BUILD / "examples/shop/shop", "--log", log, "--port", "0").stdout.readline().strip()
        return lambda: run("curl", "-s", f"{url}health")

    def python(log):
        code = (f"import logcore, sys; log = logcore.get_logger('a', log_file={str(log)!r})\nfor line in "
                "sys.stdin: log.info('Request'); print(flush=True)")
        it = process("/usr/bin/python3", "-c", code, env={"PYTHONPATH": str(TOP / "logcore")})

        def write():
            it.stdin.write("\n")
            it.stdin.flush()
            it.stdout.readline()
        return write

    def shell(log):
        return lambda: run(BUILD / "logcore/logcore", "-f", log, "info", "Request")

    def start(name, log):
        write = {"c": c, "python": python, "shell": shell}[name](log)
        written[name] = 0

        def counted():
            write()
            written[name] += 1
            return written[name]
        return counted

    yield start
    for it in started:
        it.terminate()
        it.communicate(timeout=20)


@pytest.mark.parametrize("language", ["c", "python", "shell"])
def test_logrotate_loses_no_line(tmp_path, writers, language):
    folder = tmp_path / "billing"
    folder.mkdir(mode=0o755)
    log, rules = folder / "app.log", tmp_path / "rules"
    rules.write_text(block("conf", "delaycompress").replace("/var/log/billing", str(folder)))
    rules.chmod(0o644)
    write = writers(language, log)
    for _ in range(3):
        write()
        run("/usr/sbin/logrotate", "--force", "--state", tmp_path / "state", rules)
        wait_for(lambda: write() and log.exists(), "the new file", every=0.1)
    count = write()
    assert sorted(f.name for f in folder.iterdir()) == ["app.log", "app.log.1", "app.log.2.gz",
                                                        "app.log.3.gz"]
    lines = [json.loads(line) for f in folder.iterdir() for line in run("zcat", "-f", f).splitlines()]
    assert len([line for line in lines if line["message"] == "Request"]) == count


@pytest.mark.parametrize("ends", [0, 3])
def test_script_logs_how_it_ended(tmp_path, ends):
    (tmp_path / "restic").write_text(f"#!/bin/sh\necho 'not \"mounted\"'\nexit {ends}\n")
    (tmp_path / "restic").chmod(0o755)
    script = block("sh", "restic").replace("/var/log/backup/", f"{tmp_path}/")
    done = subprocess.run(["sh", "-c", script],
                          env={"PATH": f"{tmp_path}:{BUILD / 'logcore'}:{os.environ['PATH']}"})
    line = json.loads((tmp_path / "backup.log").read_text())
    assert done.returncode == (1 if ends else 0) and line["logger"] == "backup"
    if ends:
        assert line["context"] == {"status": 3, "error": 'not "mounted"'}
    else:
        assert line["message"] == "Backup done" and line["context"]["seconds"] < 60


def test_lines_of_other_programs_go_through_the_command(tmp_path):
    (tmp_path / "old-daemon").write_text("#!/bin/sh\nprintf 'one \\\\ \"two\"\\n  three\\n'\n")
    (tmp_path / "old-daemon").chmod(0o755)
    done = subprocess.run(["sh", "-c", block("sh", "old-daemon")], text=True, capture_output=True,
                          env={"PATH": f"{tmp_path}:{BUILD / 'logcore'}:{os.environ['PATH']}"})
    assert [json.loads(line)["message"] for line in done.stderr.splitlines()] == ['one \\ "two"', "  three"]


def test_python_blocks_run(tmp_path):
    for code in blocks("python"):
        code = code.replace("/var/log/billing", str(tmp_path))
        run("/usr/bin/python3", "-c", code, env={"PYTHONPATH": str(TOP / "logcore")})
    assert json.loads((tmp_path / "app.log").read_text())["context"] == {"user_id": 123, "action": "login"}


def test_cxx_blocks_compile(tmp_path):
    for n, code in enumerate(blocks("cpp")):
        includes = "".join(line + "\n" for line in code.splitlines() if line.startswith("#"))
        body = "".join("\t" + line + "\n" for line in code.splitlines() if not line.startswith("#"))
        source = tmp_path / f"{n}.cc"
        source.write_text(
            f"{includes}void f(std::string action);\nvoid f(std::string action)\n{{\n{body}}}\n")
        run("c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{TOP / 'logcore'}",
            source)
    assert blocks("cpp")
