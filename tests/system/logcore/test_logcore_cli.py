"""The command logcore: a log line from a shell script."""
import json
import os
import stat
import subprocess

import pytest
from harness import BUILD, run

LOGCORE = BUILD / "logcore/logcore"
pytestmark = pytest.mark.smoke


def logcore(*arguments, **environment):
    """(exit status, standard output, standard error)"""
    done = subprocess.run([LOGCORE, *arguments], capture_output=True, env=environment, timeout=60)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def line(*arguments, **environment):
    status, out, err = logcore(*arguments, **environment)
    assert (status, out) == (0, "") and err.count("\n") == 1
    return json.loads(err)


def test_words_become_a_line():
    written = line("info", "Backup done", "target=/srv", "files:=1204", "seconds:=12.50", "ok:=true",
                   "none:=null", 'list:=[1, {"a": "b c"}]', "empty=", "a=b:=c", "n=5")
    assert list(written) == ["timestamp", "level", "logger", "message", "context"]
    assert (written["level"], written["logger"], written["message"]) == ("INFO", "shell", "Backup done")
    assert written["context"] == {"target": "/srv", "files": 1204, "seconds": 12.5, "ok": True, "none": None,
                                  "list": [1, {"a": "b c"}], "empty": "", "a": "b:=c", "n": "5"}
    assert "context" not in line("CRITICAL", "alone")
    assert line("warn", "-5 degrees", "--key=")["level"] == "WARNING"
    assert line("--", "error", "x")["level"] == "ERROR"


def test_any_bytes_make_one_line():
    words = [bytes(range(1, 256)), b'q"=\n\t\\"', b"bad\xff=\xc3"]
    written = line("info", *words)
    assert written["message"].startswith("\x01\x02") and "\n" in written["message"]
    assert written["context"] == {'q"': '\n\t\\"', "bad\ufffd": "\ufffd"}
    assert line("info", "x" * 100000)["truncated"] is True


def test_secrets_are_left_out():
    written = line("info", "GET /reset?token=hunter2", "password=hunter2", 'more:={"api_key": "hunter2"}')
    assert written["message"] == "GET /reset?token=[redacted]"
    assert written["context"] == {"password": "[redacted]", "more": {"api_key": "[redacted]"}}


def test_file_logger_and_level_by_option_or_environment(tmp_path):
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    environment = {"LOGCORE_FILE": str(one), "LOGCORE_LOGGER": "backup"}
    assert logcore("info", "x", **environment) == (0, "", "")
    assert logcore("-f", str(two), "--logger=other", "info", "y", **environment) == (0, "", "")
    assert (json.loads(one.read_text())["logger"],
            json.loads(two.read_text())["logger"]) == ("backup", "other")
    assert stat.S_IMODE(one.stat().st_mode) & 0o137 == 0
    assert logcore("debug", "no") == (0, "", "")
    assert line("--level", "debug", "debug", "yes")["level"] == "DEBUG"
    assert line("debug", "yes", LOGCORE_LEVEL="trace")["level"] == "DEBUG"
    assert logcore("-l", "off", "critical", "no", LOGCORE_LEVEL="trace") == (0, "", "")


LEVELS = "use trace, debug, info, warning, error or critical"


@pytest.mark.parametrize("arguments, said", [
    ([], "the level and the message are missing, see logcore --help"),
    (["info"], "the message is missing, see logcore --help"),
    (["inof", "x"], f'"inof" is not a level; {LEVELS}'),
    (["off", "x"], f'"off" is not a level; {LEVELS}'),
    (["--level", "loud", "info", "x"], f'"loud" is not a level; {LEVELS}'),
    (["--fiel=x", "info", "x"], "--fiel=x is not an option, see logcore --help"),
    (["--file"], "--file needs a value, see logcore --help"),
    (["info", "x", "word"], '"word" is neither key=text nor key:=json'),
    (["info", "x", "=text"], '"=text" is neither key=text nor key:=json'),
    (["info", "x", ":=5"], '":=5" is neither key=text nor key:=json'),
    (["info", "x", "--file", "y"], "--file: put options before the level"),
    (["info", "x", "k:=tru"], 'k: "tru" is not JSON; write k=tru for a text'),
    (["info", "x", "k:="], 'k: "" is not JSON; write k= for a text'),
])
def test_mistakes_on_the_command_line_are_one_sentence(arguments, said, tmp_path):
    file = tmp_path / "x.log"
    assert logcore(*arguments, LOGCORE_FILE=str(file)) == (2, "", f"logcore: {said}\n")
    assert not file.exists()


def test_failures_are_one_sentence():
    assert logcore("-f", "/nowhere/x", "info", "x") == (1, "",
                                                        "logcore: /nowhere/x: No such file or directory\n")
    assert logcore("-f", "/dev/full", "info", "x") == (1, "", "logcore: /dev/full could not be written\n")


def test_help_fits_a_terminal():
    status, out, err = logcore("--help")
    assert (status, err) == (0, "") and max(map(len, out.splitlines())) < 90 and len(out.splitlines()) < 24
    assert all(option in out for option in ("--file", "--logger", "--level", "KEY:=JSON", "$LOGCORE_FILE"))


def test_its_version_is_that_of_the_others():
    assert (logcore("--version")
            == (0, run(BUILD / "obs_agent/obs_agent", "--version").replace("obs_agent", "logcore"), ""))


def test_many_scripts_share_a_file(tmp_path):
    file = tmp_path / "shared.log"
    loop = 'i=0; while [ $i -lt 60 ]; do "$0" info line who:=$1 i:=$i "pad=$PATH"; i=$((i+1)); done'
    scripts = [subprocess.Popen(["sh", "-c", loop, LOGCORE, str(who)],
                                env={"LOGCORE_FILE": str(file), **os.environ})
               for who in range(8)]
    assert [script.wait(60) for script in scripts] == [0] * 8
    seen = {}
    for text in file.read_text().splitlines():
        fields = json.loads(text)["context"]
        seen.setdefault(fields["who"], []).append(fields["i"])
    assert seen == {who: list(range(60)) for who in range(8)}


def test_it_needs_no_library_of_ours():
    assert "logcore" not in run("ldd", LOGCORE)
