"""docs/logcore.md: what it tells to copy works."""
import json
import os
import re
import signal
import subprocess

import pytest
from harness import BUILD, TOP, run, wait_for

PAGE = (TOP / "docs/logcore.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.S | re.M)


def block(language, word):
    (found,) = [b for b in blocks(language) if word in b]
    return found


def test_unit_is_one_that_systemd_takes(tmp_path):
    unit = tmp_path / "billing.service"
    unit.write_text(block("ini", "ExecStart").replace("/usr/bin/billing", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], text=True, capture_output=True)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "billing" in line]) == (0, [])


@pytest.mark.parametrize("how", ["reopen at SIGHUP", "shell"])
def test_logrotate_loses_no_line(tmp_path, how):
    """With its own configuration, on a program that follows by the signal and on one that has the file open for each line."""
    folder, tools = tmp_path / "billing", tmp_path / "tools"
    folder.mkdir(mode=0o755)
    tools.mkdir()
    log, rules = folder / "app.log", tmp_path / "rules"
    rules.write_text(block("conf", "postrotate").replace("/var/log/billing", str(folder)))
    rules.chmod(0o644)
    program = None
    if how == "shell":
        def write(n):
            run(BUILD / "logcore/logcore", "-f", log, "info", "line", f"n:={n}")
        (tools / "systemctl").write_text("#!/bin/sh\nexit 1\n")
    else:
        program = subprocess.Popen([BUILD / "examples/shop/shop", "--log", log, "--port", "0"], stdout=subprocess.PIPE, text=True)
        url = program.stdout.readline().strip()

        def write(n):
            subprocess.run(["curl", "-s", f"{url}health?n={n}"], stdout=subprocess.DEVNULL, check=True)
        (tools / "systemctl").write_text(f'#!/bin/sh\n[ "$*" = "--quiet reload billing.service" ] && kill -HUP {program.pid}\n')
    (tools / "systemctl").chmod(0o755)
    try:
        for n in range(4):
            write(n)
            run("/usr/sbin/logrotate", "--force", "--state", tmp_path / "state", rules, env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"})
            if program:
                wait_for(log.exists, "the new file")
        write(4)
    finally:
        if program:
            program.send_signal(signal.SIGTERM)
            program.communicate(timeout=20)
    files = sorted(folder.iterdir(), key=lambda f: int(re.sub(r"\D", "", f.name) or 0), reverse=True)
    assert [f.name for f in files] == ["app.log.4.gz", "app.log.3.gz", "app.log.2.gz", "app.log.1", "app.log"]
    lines = [json.loads(line) for f in files for line in run("zcat", "-f", f).splitlines()]
    wanted = [line["context"] for line in lines if line["message"] in ("line", "Request")]
    assert [c.get("n", c.get("request", 0) - 1) for c in wanted] == list(range(5))


@pytest.mark.parametrize("ends", [0, 3])
def test_script_says_how_it_ended(tmp_path, ends):
    (tmp_path / "restic").write_text(f"#!/bin/sh\necho 'not \"mounted\"'\nexit {ends}\n")
    (tmp_path / "restic").chmod(0o755)
    script = block("sh", "restic").replace("/var/log/backup/", f"{tmp_path}/")
    done = subprocess.run(["sh", "-c", script], env={"PATH": f"{tmp_path}:{BUILD / 'logcore'}:{os.environ['PATH']}"})
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
        source.write_text(f"{includes}void f(std::string action);\nvoid f(std::string action)\n{{\n{body}}}\n")
        run("c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{TOP / 'logcore'}", source)
    assert blocks("cpp")
