"""logcore.py writes the same lines as liblogcore, whole, from any number of processes."""
import ast
import ctypes
import json
import logging
import math
import multiprocessing
import os
import random
import re
import struct
import subprocess
import sys
import threading

import pytest
from harness import BUILD, TOP, run

sys.path.insert(0, str(TOP / "logcore"))
import logcore  # noqa: E402

MODULE = TOP / "logcore/logcore.py"
LINE = re.compile(rb'\{"timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",'
                  rb'"level":"(TRACE|DEBUG|INFO|WARNING|ERROR|CRITICAL)",.*\}\n')


@pytest.fixture
def log(tmp_path, request, monkeypatch):
    """A logger on a file; `log.lines()` gives its lines, `log.bytes()` the last one without its timestamp."""
    monkeypatch.delenv("LOGCORE_LEVEL", raising=False)
    path = tmp_path / "app.log"
    logger = logcore.get_logger(request.node.name, log_file=path, level="trace")
    logger.path = path
    logger.lines = lambda: [json.loads(line) for line in path.read_text().splitlines()]
    yield logger
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def tail(line):
    """A line without its timestamp."""
    assert LINE.fullmatch(line), line
    return line[line.index(b'"level"'):]


def last(log):
    lines = log.path.read_bytes().splitlines(keepends=True)
    return lines[-1]


# ---- the same bytes as the C library ---------------------------------------------------------

class Field(ctypes.Structure):
    _fields_ = [("key", ctypes.c_char_p), ("value", ctypes.c_uint64), ("len", ctypes.c_size_t),
                ("key_len", ctypes.c_uint32), ("type", ctypes.c_uint32)]


class Options(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("path", ctypes.c_char_p), ("fd", ctypes.c_int),
                ("level", ctypes.c_int),
                ("line_max", ctypes.c_size_t)]


class Peer:
    """liblogcore itself."""

    def __init__(self, name, path):
        self.path = path
        self.c = ctypes.CDLL(str(BUILD / "liblogcore.so.0"))
        self.c.logcore_open_.restype = ctypes.c_void_p
        options = Options(name=name, path=bytes(path), level=logcore.TRACE)
        self.log = ctypes.c_void_p(self.c.logcore_open_(ctypes.byref(options), ctypes.sizeof(options),
                                                        None, 0))
        assert self.log

    def line(self, level, message, **context):
        """The line that it writes for this call."""
        self.path.write_bytes(b"")
        fields = (Field * (len(context) + 1))()
        keep = []
        for field, (key, value) in zip(fields, context.items()):
            keep += [key.encode(), value]
            field.key, field.key_len = keep[-2], len(keep[-2])
            if isinstance(value, float):
                field.type, field.value = 5, struct.unpack("Q", struct.pack("d", value))[0]
            elif isinstance(value, int):
                field.type, field.value = 3, value & 0xffffffffffffffff
            else:
                keep.append(ctypes.create_string_buffer(value.encode("utf-8", "surrogateescape")))
                field.type, field.value, field.len = 7, ctypes.addressof(keep[-1]), len(keep[-1]) - 1
        text = message.encode("utf-8", "surrogateescape")
        self.c.logcore_write_(self.log, level, text, ctypes.c_size_t(len(text)), fields)
        return self.path.read_bytes()


@pytest.fixture
def same(log, tmp_path):
    """Fails unless both write the same line."""
    peer = Peer(log.name.encode(), tmp_path / "peer.log")

    def compare(level, message, **context):
        log.log(level, message, extra={"context": context})
        assert tail(last(log)) == tail(peer.line(level, message, **context))

    yield compare
    peer.c.logcore_close(peer.log)


def test_every_level_number_has_the_name_of_the_library(same):
    for level in [5, 7, 10, 15, 20, 25, 30, 40, 49, 50, 59]:
        same(level, "x")


def test_every_character_is_written_as_the_library_does(same):
    text = "".join(map(chr, range(1, 0x3000)))
    same(20, text, key=text)
    same(20, 'quote " backslash \\ slash / \x7f \u2028 \U0001f600 \ufffe')
    same(20, "\udc80\udcffbytes that were no UTF-8\udcc3", **{'k"\n': "\udce2"})


def test_nul_and_surrogates_become_replacement_characters(log):
    log.info("a\0b", extra={"context": {"half": "\ud800x", "two halves": "\ud83d\ude00"}})
    assert log.lines()[-1]["message"] == "a\ufffdb"
    assert log.lines()[-1]["context"] == {"half": "\ufffdx", "two halves": "\ufffd\ufffd"}


def test_numbers_are_written_as_the_library_does(same):
    rng = random.Random(1)
    values = [0.1, 12.5, 3.0, -0.0, 0.0, 1e16, 1e17, 1e-5, 9.9999e-6, 1e-4, 1e-7, 5e-324, 1e300,
              1.7976931348623157e308,
              4503599627370495.5, 9007199254740993.0, 12345678901234567.0, math.nan, math.inf, -math.inf]
    values += [struct.unpack("d", rng.randbytes(8))[0] for _ in range(300)]
    values += [rng.uniform(-1, 1) * 10 ** rng.randint(-8, 19) for _ in range(300)]
    values += [rng.randint(-10 ** 6, 10 ** 6) / 10 ** rng.randint(0, 9) for _ in range(300)]
    for value in values:
        same(20, "x", v=value)
    same(20, "x", a=0, b=-1, c=2 ** 63 - 1, d=-2 ** 63)


def test_lines_that_are_too_long_are_cut_where_the_library_cuts(same):
    rng = random.Random(2)
    for text in ("x", "\u20ac", '"', "\x01", "a\u20ac\x01\\n"):
        for n in (70000, 16380 // len(text.encode())):
            same(20, "m", a=text * n, b=text * n, c=text * n, d=text * n, e=text * n, n=1)
    same(20, "\u20ac" * 70000, a="x")
    same(20, "m", **{"k" * 20000: "left out", "after": 1})
    for _ in range(60):
        pieces = [rng.choice(["x", "\u20ac", "\x01", "\\"]) * rng.randint(1, 20000) for _ in range(5)]
        same(20, pieces[0], a=pieces[1], b=1.5, c=pieces[2], d=12, e=pieces[3], f=pieces[4])
    for n in range(65300, 65536):
        same(20, "m", a="x" * n, n=1)


# ---- secrets -------------------------------------------------------------------------------

def listed(name):
    """The keys and texts of tests/redaction, without the marks."""
    rows = [row.split(" ", 1) for row in (TOP / "tests/redaction" / name).read_text().splitlines()
            if row[:2] in ("K ", "T ")]
    keys = [row for kind, row in rows if kind == "K"]
    return keys, [re.sub(r"\{\{(.*?)\}\}(?!\})", r"\1", row) for kind, row in rows if kind == "T"]


def test_secrets_are_those_that_the_library_finds(same, log):
    for name in ("secrets.txt", "plain.txt"):
        keys, texts = listed(name)
        assert len(keys) > 30 and len(texts) > 30
        for key in keys:
            same(20, "key", **{key: "value"})
            same(20, "key", **{key: 5})
        for text in texts:
            same(20, text, a=text, b=f"{text} {text}")
    assert "[redacted]" in log.path.read_text()


def test_secrets_in_any_surroundings_are_those_that_the_library_finds(same):
    rng = random.Random(3)
    pieces = sum((texts + [key + end for key in keys for end in ("=", '":"', '\\": [1,', "= ")]
                  for keys, texts in map(listed, ("secrets.txt", "plain.txt"))), [])
    pieces += list(' "\\@=:/-_.,&[]{}bBJI%') + ["4111 1111 1111 1111", "4111111111111111",
                                                "-----BEGIN PRIVATE KEY-----", "://", "\u20ac",
                                            "Basic dXNlcjpwYXNz", "eyJ", "AKIA", "-----END "]
    for _ in range(3000):
        text = "".join(rng.choice(pieces)[slice(*sorted((rng.randint(0, 3), rng.randint(3, 60))))]
                       for _ in range(rng.randint(1, 9)))
        same(20, text, a=text[::-1])
    for _ in range(30):
        text = "".join(rng.choice(pieces) * rng.randint(1, 200) for _ in range(rng.randint(1, 30)))
        same(20, "m", a=text, b=text)


def test_secrets_inside_of_values_are_left_out(log):
    assert context_of(log, password={"a": 1}, token=None, secret=True,
                      d={"api_key": "x", "l": [{"pwd": 1}], "t": "password=x is y"}, b=b"pwd=12345") == {
        "password": "[redacted]", "token": None, "secret": True,
        "d": {"api_key": "[redacted]", "l": [{"pwd": "[redacted]"}], "t": "[redacted]"},
        "b": "pwd=[redacted]"}
    try:
        raise ValueError("password=hunter2 is too short")
    except ValueError:
        log.exception("login with token=%s", "abcdefgh")
    assert "hunter2" not in last(log).decode() and "abcdefgh" not in last(log).decode()


def test_redaction_can_be_widened_narrowed_and_switched_off(tmp_path):
    def context(**options):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.log"
        logger = logcore.get_logger(path.name, log_file=path, **options)
        logger.info("x", extra={"context": {"iban": "DE", "token": "t", "access_token": "a",
                                            "text": "password=hunter2"}})
        return list(json.loads(path.read_text())["context"].values())

    mark = "[redacted]"
    assert context() == ["DE", mark, mark, f"password={mark}"]
    assert context(redact_keys=["I_ban"], redact_not=["TOKEN"]) == [mark, "t", mark, f"password={mark}"]
    assert context(redact_keys="iban", redact_not="token") == [mark, "t", mark, f"password={mark}"]
    assert context(redact=logcore.REDACT_KEYS) == ["DE", mark, mark, "password=hunter2"]
    assert context(redact=logcore.REDACT_OFF) == ["DE", "t", "a", "password=hunter2"]


# ---- values --------------------------------------------------------------------------------

class Odd:
    def __str__(self):
        raise RuntimeError("no")
    __repr__ = __str__


def context_of(log, **context):
    log.info("x", extra={"context": context})
    return log.lines()[-1].get("context")


def test_values_keep_their_types_and_others_become_text(log):
    kept = {"s": "a", "i": 1, "big": 2 ** 80, "f": 1.5, "t": True, "n": None, "list": [1, [2, {"k": None}]],
            "d": {"a": {"b": 1}}}
    assert context_of(log, **kept) == kept
    assert context_of(log, t=(1, 2), b=b"bytes\xff", e=ValueError("bad"), s={1}, c=1j, p=TOP, o=Odd(),
                      nan=[math.nan]) == {
        "t": [1, 2], "b": "bytes\ufffd", "e": "bad", "s": "{1}", "c": "1j", "p": str(TOP), "o": "<Odd>",
        "nan": ["NaN"]}
    log.info("x", extra={"context": {1: "number", None: 2, Odd(): 3}})
    assert log.lines()[-1]["context"] == {"1": "number", "None": 2, "<Odd>": 3}


def test_values_that_refer_to_themselves_or_are_huge_end(log):
    ring = []
    ring.append(ring)
    assert "[...]" in json.dumps(context_of(log, ring=ring))
    line = context_of(log, huge=list(range(10 ** 6)), after=1)
    assert line == {"after": 1} and log.lines()[-1]["truncated"] is True
    assert context_of(log, digits=10 ** 5000)["digits"].startswith("0x")


def test_context_that_is_no_mapping_is_kept(log):
    log.info("x", extra={"context": [1]})
    assert log.lines()[-1]["context"] == {"context": [1]}
    log.info("x", extra={"context": None})
    assert "context" not in log.lines()[-1]
    log.info("x", extra={"name": "clash", "message": "clash", "context": {"a": 1}})
    assert log.lines()[-1]["context"] == {"a": 1}


def test_message_whose_arguments_do_not_fit_is_kept(log):
    log.info("%d lines", "many")
    log.info("%s", Odd())
    log.info(Odd())
    first, second, third = log.lines()
    assert (first["message"] == "%d lines" and first["context"]["args"] == "('many',)"
            and "TypeError" in first["context"]["args_error"])
    assert second["message"] == "%s" and third["message"] == "<Odd>"


def test_exceptions_are_fields(log):
    try:
        raise KeyError("nobody")
    except KeyError:
        log.exception("Bad user", extra={"context": {"id": 7}})
    log.error("x", exc_info=OSError(28, "No space left on device"), stack_info=True)
    log.error("nothing", exc_info=True)
    bad, space, nothing = (line.get("context") for line in log.lines())
    assert (bad["id"], bad["error"], bad["error_type"]) == (7, "'nobody'", "KeyError")
    assert bad["traceback"].startswith("Traceback") and bad["traceback"].endswith("KeyError: 'nobody'")
    assert (space["errno"], space["error"]) == (28, "[Errno 28] No space left on device")
    assert space["stack"].startswith("Stack")
    assert nothing is None


# ---- loggers -------------------------------------------------------------------------------

def test_bound_context_comes_first_and_grows(log):
    request = log.bind(request_id=7).bind(peer="::1")
    request.warning("Slow", extra={"context": {"ms": 12}})
    request.trace("fine")
    logcore.bind(logging.getLogger(log.name + ".plain"), a=1).info("x")
    assert [line["context"] for line in log.lines()] == [{"request_id": 7, "peer": "::1", "ms": 12},
                                                         {"request_id": 7, "peer": "::1"}, {"a": 1}]


def test_child_of_a_bound_logger_has_its_context(log):
    log.bind(request_id=7).getChild("http").bind(peer="::1").info("x")
    assert (log.lines()[0]["logger"], log.lines()[0]["context"]) == (log.name + ".http",
                                                                     {"request_id": 7, "peer": "::1"})


def test_child_logs_where_its_parent_does(log):
    child = log.getChild("http")
    child.info("one")
    assert logcore.get_logger(log.name + ".http") is child
    child.info("two")
    assert [(line["logger"], line["message"]) for line in log.lines()] == [(log.name + ".http", "one"),
                                                                           (log.name + ".http", "two")]


def test_same_name_is_the_same_logger_and_another_file_replaces_the_first(log, tmp_path):
    assert logcore.get_logger(log.name, log_file=log.path) is log
    log.info("once")
    assert len(log.lines()) == 1
    logcore.get_logger(log.name, log_file=tmp_path / "other.log").info("there")
    assert len(log.lines()) == 1 and "there" in (tmp_path / "other.log").read_text()


def program(code, **environment):
    """The standard error of a program with this code."""
    done = subprocess.run([sys.executable, "-c", "import logcore\n" + code], capture_output=True, text=True,
                          env={"PYTHONPATH": str(MODULE.parent), **environment}, check=True, timeout=60)
    return done.stderr


def test_path_is_another_name_of_log_file(tmp_path):
    """As the option is called in C."""
    log = logcore.get_logger("by-path", path=tmp_path / "app.log")
    log.info("there")
    assert logcore.get_logger("by-path", log_file=tmp_path / "app.log") is log
    handler = logcore.Handler(path=tmp_path / "handler.log")
    handler.close()
    assert (tmp_path / "app.log").read_text().count("there") == 1 and (tmp_path / "handler.log").exists()
    for make in (logcore.Handler, logcore.get_logger):
        with pytest.raises(ValueError, match="two names of one option"):
            make(log_file="a", path="b")


def test_environment_overrides_the_level(tmp_path):
    code = "log = logcore.get_logger('app', level='error'); log.debug('debug'); log.error('error')"
    assert [json.loads(line)["level"] for line in program(code).splitlines()] == ["ERROR"]
    assert [json.loads(line)["level"]
            for line in program(code, LOGCORE_LEVEL="Debug").splitlines()] == ["DEBUG", "ERROR"]
    assert program(code, LOGCORE_LEVEL="off") == ""
    wrong = program(code.replace("'error')", "'info')", 1), LOGCORE_LEVEL="loud").splitlines()
    assert json.loads(wrong[0])["context"] == {"value": "loud", "level": "INFO"}
    assert json.loads(program("logcore.get_logger('a', level='laud')"))["context"] == {"level": "laud"}


def test_lines_to_the_journal_get_priorities(tmp_path):
    target = tmp_path / "stderr"
    for off, front in ((0, "<4>{"), (1, "{")):
        with open(target, "w", encoding="ascii") as f:
            st = os.fstat(f.fileno())
            subprocess.run([sys.executable, "-c", "import logcore; logcore.get_logger('a').warning('x')"],
                           stderr=f, check=True,
                           env={"PYTHONPATH": str(MODULE.parent),
                                "JOURNAL_STREAM": f"{st.st_dev}:{st.st_ino + off}"})
        assert target.read_text().startswith(front)


# ---- the file ------------------------------------------------------------------------------

def test_file_is_private_and_a_line_is_one_write(tmp_path):
    trace = tmp_path / "trace"
    run("strace", "-o", trace, "-e", "trace=openat,write", sys.executable, "-c",
        "import os, logcore; os.umask(0); log = logcore.get_logger('a', log_file='app.log')\n"
        "for i in range(3): log.info('x' * 50000)", cwd=tmp_path,
        env={"PYTHONPATH": str(MODULE.parent), "PATH": os.environ["PATH"]})
    calls = trace.read_text().splitlines()
    opened = [c for c in calls if '"app.log"' in c]
    assert len(opened) == 1 and "O_APPEND" in opened[0] and "O_CLOEXEC" in opened[0] and "0640" in opened[0]
    fd = opened[0].rpartition(" ")[2]
    assert len([c for c in calls if c.startswith(f"write({fd}, ")]) == 3


def test_rename_and_removal_are_followed(log):
    log.info("one")
    old = log.path.rename(log.path.with_suffix(".1"))
    log.info("two")
    log.path.unlink()
    log.info("three")
    assert json.loads(old.read_text())["message"] == "one"
    assert [line["message"] for line in log.lines()] == ["three"]


def test_lines_that_cannot_be_written_are_reported_later(tmp_path):
    folder = tmp_path / "later"
    log = logcore.get_logger("later", log_file=folder / "app.log")
    for _ in range(3):
        log.info("lost")
    folder.mkdir()
    log.info("now")
    lost, now = [json.loads(line) for line in (folder / "app.log").read_text().splitlines()]
    assert (lost["level"], lost["message"], lost["context"]) == ("WARNING", "3 lines lost",
                                                                 {"lost": 3, "errno": 2})
    assert now["message"] == "now"


def test_a_torn_line_ends_before_the_next(tmp_path):
    code = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = logcore.get_logger("a", log_file="app.log")
resource.setrlimit(resource.RLIMIT_FSIZE, (450, resource.RLIM_INFINITY))
for i in range(9): log.info("x" * 40)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.info("again")
"""
    run(sys.executable, "-c", "import logcore\n" + code, cwd=tmp_path, env={"PYTHONPATH": str(MODULE.parent)})
    lines = (tmp_path / "app.log").read_text().splitlines()
    whole = [line for line in lines if line.endswith("}")]
    assert len(lines) == len(whole) + 1
    assert json.loads(whole[-2])["context"] == {"lost": 9 - (len(whole) - 2), "errno": 27}
    assert json.loads(whole[-1])["message"] == "again"


def test_a_pipe_without_a_reader_does_not_end_the_program():
    process = subprocess.Popen([sys.executable,
                                "-c", "import logcore, sys\nlog = logcore.get_logger('a')\nsys.stdin.read()\n"
                                "for i in range(9): log.info('x')\nsys.exit(7)"], stdin=subprocess.PIPE,
                               stderr=subprocess.PIPE, env={"PYTHONPATH": str(MODULE.parent)})
    process.stderr.close()
    process.stdin.close()
    assert process.wait(20) == 7


# ---- many writers --------------------------------------------------------------------------

PROCESSES, THREADS, LINES = 6, 3, 400


def write_lines(log, process):
    def loop(thread):
        for i in range(LINES):
            log.info("line", extra={"context": {"who": process * THREADS + thread, "i": i,
                                                "pad": "\u20ac" * (i % 60)}})
    threads = [threading.Thread(target=loop, args=(t,)) for t in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def assert_all_there(texts):
    seen = {}
    for line in "".join(texts).splitlines():
        fields = json.loads(line)["context"]
        seen.setdefault(fields["who"], []).append(fields["i"])
    assert sorted(seen) == list(range(PROCESSES * THREADS))
    assert all(numbers == list(range(LINES)) for numbers in seen.values())


def test_lines_of_processes_and_threads_are_whole_and_complete(log):
    context = multiprocessing.get_context("fork")
    stop = threading.Event()
    noise = threading.Thread(target=lambda: [log.getChild("noise").debug("x")
                                             for _ in iter(stop.is_set, True)])
    log.setLevel("INFO")
    noise.start()                           # so that forks happen while locks are held
    processes = [context.Process(target=write_lines, args=(log, n)) for n in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    stop.set()
    noise.join()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert_all_there([log.path.read_text()])


def test_no_line_is_lost_while_the_file_is_rotated(log):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=write_lines, args=(log, n)) for n in range(PROCESSES)]
    for process in processes:
        process.start()
    rotated = 0
    while any(process.is_alive() for process in processes):
        try:
            log.path.rename(log.path.with_suffix(f".{rotated}"))
            rotated += 1
        except FileNotFoundError:
            pass
    assert rotated > 3
    renamed = [log.path.with_suffix(f".{n}").read_text() for n in range(rotated)]
    assert_all_there(renamed + ([log.path.read_text()] if log.path.exists() else []))


def test_module_is_one_file_for_python_39_and_later():
    tree = ast.parse(MODULE.read_text(), feature_version=(3, 9))
    used = {name.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import)
            for name in node.names}
    assert used <= set(sys.stdlib_module_names)
