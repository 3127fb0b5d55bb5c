"""PostgreSQL accepts each row, and an independent reader finds in it all that the line says.

Hostile lines are mutations of real ones, of other loggers' (tests/corpus) and what the fuzzer kept
(tests/fuzz/corpus/line); behind each stands an ordinary one. All go through the real agent into the real
database. The independent reader is Python's. It holds each row against docs/log-formats.md: a value of a JSON
line is in the context, or is what a column shows, under a name that the document has for that column; a line
of text can be had back.
"""
import codecs
import collections
import itertools
import json
import random
import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
from harness import TOP

codecs.register_error("each-byte", lambda error: ("\ufffd", error.start + 1))

# ---- the expected row of a line ------------------------------------------------------------------

NUMBER_LEN_MAX, EXPONENT_MAX = 64, 308
NULLS_MAX = 6                                   # of a column's names in one line: each may be nothing
DEPTH_MAX, KEYS_MAX = 64, 1000
DOCUMENT = (TOP / "docs/log-formats.md").read_text(encoding="utf-8")
COLUMNS = {column: set(re.findall("`([^`]+)`", names))
           for column, names in re.findall(r"^\| `(timestamp|level|logger|message|context)` \| (.*) \|$",
                                           DOCUMENT, re.M)}
WORDS = {word: level for level, words in re.findall(r"^\| ([A-Z]+) \| ([a-z0-9, ]+) \|$", DOCUMENT, re.M)
         for word in words.split(", ")}
PREFIX_FIELDS = ("_prefix", "stream", "time", "attrs", "container", "host", "pid", "tid", "thread", "caller",
                 "client", "msgid", "data")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ] *(\d\d):(\d\d):(\d\d)(?:[.,:](\d+))?(?: "
                     r"*([+-])(\d\d)(?::?(\d\d))?|[Zz]| (?:UTC|GMT))")
# Each family of numbers: what level a number is at most.
FAMILIES = [
    # syslog
    [(2, "CRITICAL"), (3, "ERROR"), (4, "WARNING"), (6, "INFO"), (7, "DEBUG")],
    # pino
    [(19, "TRACE"), (29, "DEBUG"), (39, "INFO"), (49, "WARNING"), (59, "ERROR"), (99, "CRITICAL")],
    # Python
    [(9, "TRACE"), (19, "DEBUG"), (29, "INFO"), (39, "WARNING"), (49, "ERROR"), (100, "CRITICAL")],
    [(0, "INFO"), (4, "TRACE"), (8, "DEBUG"), (12, "INFO"), (16, "WARNING"), (20, "ERROR"), (24, "CRITICAL")],
    # Nextcloud
    [(0, "DEBUG"), (1, "INFO"), (2, "WARNING"), (3, "ERROR"), (4, "CRITICAL")],
    # tslog
    [(1, "TRACE"), (2, "DEBUG"), (3, "INFO"), (4, "WARNING"), (5, "ERROR"), (6, "CRITICAL")],
    # Monolog
    [(199, "DEBUG"), (299, "INFO"), (399, "WARNING"), (499, "ERROR"), (600, "CRITICAL"),
     # java.util.logging
     (800, "INFO"), (900, "WARNING"), (1000, "ERROR"),
     (5000, "TRACE"), (10000, "DEBUG"), (20000, "INFO"), (30000, "WARNING"), (40000, "ERROR"),
     (50000, "CRITICAL")],
]


class NotJson(ValueError):
    pass


class Pairs(list):
    """An object, its members in their order."""


def whole(text):
    return re.sub("[\ud800-\udfff]", "\ufffd", text).replace("\0", "\ufffd")


def number(text):
    exponent = re.search("[eE][+-]?([0-9]+)", text)
    storable = len(text) <= NUMBER_LEN_MAX and (not exponent or int(exponent[1]) <= EXPONENT_MAX)
    return Decimal(text) if storable else text


def refuse(word):
    raise NotJson(word)


def parse(text, number=number):
    """Like json.loads, but with members as pairs; raises NotJson."""
    keys = 0

    def pairs(members):
        nonlocal keys
        keys += len(members)
        return Pairs((whole(k), v) for k, v in members)

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_int=number, parse_float=number,
                           parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error)) from error
    if keys > KEYS_MAX:
        raise NotJson("keys")
    return value


def depth(value):
    """Without recursion, because some lines are deeply nested."""
    level, deepest = [value], 0
    while level := [v for v in level if isinstance(v, list)]:
        deepest += 1
        level = [v[1] if isinstance(x, Pairs) else v for x in level for v in x]
    return deepest


def distinct(members):
    """Of equal keys the last one keeps its name, those before it are renamed to name_2, name_3 ... where that
    is free."""
    keys = [key for key, _ in members]
    result, number = {}, {}
    for at, (key, value) in enumerate(members):
        if key in keys[at + 1:]:
            n = next(n for n in itertools.count(number.get(key, 2)) if f"{key}_{n}" not in keys)
            number[key], key = n + 1, f"{key}_{n}"
        result[key] = value
    return result


def stored(value):
    """The value as the database stores it."""
    if isinstance(value, Pairs):
        return {k: stored(v) for k, v in distinct(value).items()}
    if isinstance(value, list):
        return [stored(v) for v in value]
    return whole(value) if isinstance(value, str) else value


def as_number(value):
    """The number that a value is, also one in a string; None."""
    try:
        return float(value) if isinstance(value, (str, Decimal)) and len(str(value)) < 100 else None
    except (ValueError, OverflowError):
        return None


def means_level(value, level):
    """May the value stand for that level?"""
    if isinstance(value, str) and value.lower() in WORDS:
        return WORDS[value.lower()] == level
    number = as_number(value)
    if number is None:
        return isinstance(value, str) and re.fullmatch("[A-Z][0-9]?", value) is not None      # MongoDB
    return any(next((name for last, name in family if number <= last), None) == level for family in FAMILIES)


def means_time(value, time):
    """Is the value that time, to the microsecond?"""
    number, near = as_number(value), timedelta(microseconds=2)
    if number is not None:
        return any(abs((time - EPOCH).total_seconds() - number / unit) < 2e-6 * 1e3 ** (unit == 1)
                   for unit in (1, 1e3, 1e6, 1e9))
    found = RFC3339.fullmatch(value) if isinstance(value, str) else None
    if not found:
        return False
    year, month, day, hour, minute, second, fraction, sign, east_h, east_m = found.groups()
    second = min(int(second), 59)
    east = timedelta(hours=int(east_h or 0), minutes=int(east_m or 0)) * (-1 if sign == "-" else 1)
    try:
        here = datetime(int(year), int(month), int(day), int(hour), int(minute), second,
                        tzinfo=timezone.utc) - east
    except ValueError:
        return False
    here += timedelta(microseconds=int((fraction or "0").ljust(6, "0")[:6]))
    return abs(time - here) < near or (found[6] == "60" and time - here < timedelta(seconds=1))


class Row:
    """A row of log_entries, and whether it says all that the bytes say from which it came."""

    def __init__(self, time, level, logger, message, context):
        self.time, self.level, self.logger, self.message = time, level, logger, message
        self.context = parse(context, Decimal) if context else Pairs()
        self.found = dict(self.context)

    def lacks(self, raw):
        """What is missing from the row, as a sentence; None: nothing."""
        text = raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "each-byte").replace("\0", "\ufffd")
        lacks = [self.lacks_text(t) for t in [text, *inside_wrapper(text)]]
        return None if None in lacks else lacks[-1]

    def lacks_text(self, text):
        if self.found.get("_line") == text:
            return None
        prefix = self.found.get("_prefix")
        if isinstance(prefix, str) and text.startswith(prefix):
            text = text[len(prefix):]
        if self.message == text:
            return None
        try:
            members = parse(text)
            if not isinstance(members, Pairs) or depth(members) > DEPTH_MAX:
                raise NotJson("no object, or too deep")
        except NotJson as error:
            return f"it is no JSON ({error}), and neither message nor _line is the line"
        return self.lacks_member_of(members)

    def shown(self, members):
        """For each column the members of the line that it may show; None stands for none."""
        def named(column):
            return [i for i, (key, value) in enumerate(members) if key in COLUMNS[column]]

        def same_message(value):
            return value in (self.message, [self.message]) or (not isinstance(value, str)
                                                               and self.message_json == value)

        self.message_json = None
        try:
            self.message_json = stored(parse(self.message))
        except NotJson:
            pass
        values = [stored(value) for _, value in members]
        return [[None] + [i for i in named("message") if same_message(values[i])],
                [None] + [i for i in named("logger") + named("context") if values[i] == self.logger],
                [None] + [i for i in named("level") if means_level(values[i], self.level)],
                [None] + [i for i in named("timestamp") if means_time(values[i], self.time) or
                          ("stream" in self.found and means_time(values[i],
                                                                 self.time.replace(microsecond=0)))]]

    def without_prefix(self, members):
        """The context without what the text in front of an object named."""
        found = dict(self.found)
        if "_prefix" in found or "stream" in found:
            for name in PREFIX_FIELDS:
                of_line = [repr(ordered(stored(value))) for key, value in members if key == name]
                if repr(ordered(stored(found.get(name)))) in of_line:
                    name = None if len(of_line) > 1 else f"{name}_2"
                found.pop(name, None)
        return found

    def lacks_member_of(self, members):
        contexts = [i for i, (key, _) in enumerate(members) if key == "context"]
        spread = contexts[-1] if contexts and isinstance(members[contexts[-1]][1], Pairs) else None
        nulls = [i for i, (key, value) in enumerate(members) if value is None and
                 any(key in COLUMNS[column] for column in ("message", "logger", "level",
                                                           "timestamp"))][:NULLS_MAX]
        found = self.without_prefix(members + [m for i in contexts for m in dict_of(members[i][1]).items()])
        for columns in itertools.product(*self.shown(members), *([None, i] for i in nulls)):
            shown = {i for i in columns if i is not None}
            if len(shown) != len(columns) - columns.count(None):
                continue
            rest = [m for i, m in enumerate(members) if i not in shown and i != spread]
            inner = list(members[spread][1]) if spread is not None else []
            if same_context(found, rest + inner, inner):
                return None
        return f"of {dict(members)!r:.400} something is in no column and not in the context"


def dict_of(value):
    return dict(value) if isinstance(value, Pairs) else {}


def same_context(found, members, last):
    """Names and values are as documented, whichever of equal keys outside of `last` has which number."""
    if set(found) != set(distinct(members)):
        return False
    wanted, mine = collections.defaultdict(list), collections.defaultdict(list)
    for key, value in members:
        wanted[key].append(repr(ordered(stored(value))))
    for name, value in found.items():
        base = name
        while base not in wanted:
            base = re.sub("_[0-9]+$", "", base)
        mine[base].append(repr(ordered(plain(value))))
    return all(sorted(mine[key]) == sorted(values) for key, values in wanted.items()) and \
        all(repr(ordered(plain(found[key]))) == repr(ordered(stored(dict(last)[key]))) for key, _ in last)


def plain(value):
    """What stored() gives, for a value that comes from the database."""
    return stored(value)


def ordered(value):
    if isinstance(value, dict):
        return sorted((k, ordered(v)) for k, v in value.items())
    if isinstance(value, list):
        return [ordered(v) for v in value]
    return value.normalize() + 0 if isinstance(value, Decimal) else value


def inside_wrapper(text):
    """What a container's runtime may have wrapped: by Docker's form, by CRI's."""
    return [inside for inside in (unwrapped(text, of_docker), unwrapped(text, of_cri)) if inside is not None]


def of_docker(line):
    try:
        members = dict(parse(line))
    except (NotJson, TypeError, ValueError):
        return None
    log = members.get("log")
    if not isinstance(log, str) or "stream" not in members or "time" not in members:
        return None
    return whole(log).rstrip("\r\n") + ("\n" if log.endswith("\n") else "")


def of_cri(line):
    found = re.match(r"[^ ]+ (?:stdout|stderr) ([FP])[^ ]* (.*)$", line, re.S)
    return found and found[2].rstrip("\r") + ("\n" if found[1] == "F" else "")


def unwrapped(text, of_line):
    parts = []
    for line in text.split("\n"):
        part = of_line(line)
        if part is None and not parts:
            return None
        parts.append(line + "\n" if part is None else part)
    return "".join(parts).removesuffix("\n")


# ---- hostile lines ----------------------------------------------------------------------------------

REAL = [
    b'{"timestamp":"2026-11-24T02:34:50.123456Z","level":"INFO","logger":"shop.http","message":"order '
    b'\\"7\\" paid in 12 ms",'
    b'"context":{"user_id":123,"path":"/cart","ok":true,"share":0.25,"tags":["a","b"],"from":{"ip":"::1"}}}',
    b'{"level":30,"time":1795228754000,"pid":7,"hostname":"web","msg":"request '
    b'completed","res":{"statusCode":200}}',
    b'{"@timestamp":"2026-11-24T02:34:50Z","severity":"warn","name":"worker","msg":"caf\xc3\xa9 \\u00e9 '
    b'\\ud83d\\ude00",'
    b'"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","n":-1.5e-3}',
    b'2026-11-24 02:34:50,123 ERROR shop.db: connection lost',
    b'{"log":"2026-11-24 02:34:50 [warn] low '
    b'\\u001b[33mdisk\\u001b[0m\\n","stream":"stderr","time":"2026-11-24T02:34:50.5Z"}',
    b'2026-11-24T02:34:50.758088984+05:30 stdout F {"level":"error","msg":"payment failed","amount":7}',
    b'web-1  | Nov 24 02:34:50 web1 shop[7]: {"msg":"paid","level":"info","order":{"id":7}}',
    b'192.0.2.1 - alice [24/Nov/2026:02:34:50 +0000] "GET /cart?a=\\x22 HTTP/1.1" 503 7 "-" "curl/8.0"',
    b'ts=2026-11-24T02:34:50Z level=warn msg="slow \\"query\\"" took=1.5s rows=7 user=',
    b'2026-11-24 02:34:50.123 UTC,"app","shop",99,"[local]",65.1,1,"SELECT",2026-11-24 02:34:00 '
    b'UTC,3/4,0,ERROR,22012,'
    b'"division ""by"" zero",,,,,,"SELECT 1/0",,,"psql","client backend",,0',
    b'\x1b[32mINFO\x1b[0m \x1b[1mshop\x1b[0m: started',
    b'ERROR shop.db - no\nTraceback (most recent call last):\n  File "a.py", line 1, in f\n    '
    b'f()\nValueError: bad',
    b'Exception in thread "main" java.lang.IllegalStateException: boom\n\tat a.B.c(B.java:1)\nCaused by: '
    b'x\n\t... 12 more',
    b'<27>1 2026-11-24T02:34:50.003Z web1 shop 7 ID47 [a@1 b="c"] it failed',
    b'{"msg":"C:\\dir","n":NaN,}',
    b'E1124 02:34:50.123456      77 a.cc:12] no: {"a":1}',
]
LOGS = sorted((TOP / "tests/corpus/logs").glob("*.log"))
PIECES = [
    b"\\", b'"', b"\\u0000", b"\\ud800", b"\\udc00", b"\\ud83d\\ude00", b"\\ud83d\\u0041", b"\\u00zz",
    b"\\x41", b"\0",
    b"\xff", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\xf0\x9f\x98\x80", b"\r", b"\t", b"\x7f", b"\x1b[31m", b"{", b"}", b"[", b"]", b",", b":", b" ", b"-",
    b".", b"e",
    b"0", b"-0", b"1e308", b"1e309", b"-1E-308", b"1e100000", b"1e-99999", b"9" * 64, b"9" * 65,
    b"0." + b"3" * 62,
    b"0." + b"3" * 70, b"01", b"1.", b"NaN", b"Infinity", b"-Infinity", b"null", b"true", b"false", b'""',
    b"{}", b"[]",
    b'"a":1,', b'"a":2,', b'"message":7,', b'"msg":"alias",', b'"context":null,', b'"context":[1],',
    b'"name":{},',
    b'"":"",', b'"level":"LOUD",', b'"timestamp":"99999-01-01",', b'"ts":-1,', b'"time":1e400,',
    b"'; DROP TABLE agents; --",
    b"ERROR ", b"[warn] ", b" - ", b"| ", b"level=error ", b"2026-11-24 02:34:50 ", b"<27>", b"web-2  | ",
    b"\x1b]0;title\x07",
    b"\x1b", b'"_line":1,', b'"_prefix":{},', b'"log":"', b" stdout F ", b" stderr P ", b"\n",
    b"\n  at f (a.js:1)", b"\n\n", b"\nCaused by: ", b"msg=", b'="', b"\xc2\xa0", b"\x80",
]
VALUES = [b'"x"', b"1", b"-1e5", b"1e400", b"null", b"{}", b"[]", b'"\\ud800"', b'{"a":{"a":1,"a":2}}',
          b'"\\u0000"', b"[1,[2]]"]
KEYS = [*sorted(set().union(*COLUMNS.values())), "message", "msg", "level", "context", "a", "b", "",
        "trace_id", "k\\\\y", "\\ud800", "\\u0061", "a_2", "b_2"]


def mutated(dice, line):
    """Insert, delete or replace a few pieces."""
    for _ in range(dice.choice((1, 1, 2, 3, 8))):
        at = dice.randrange(len(line) + 1)
        cut = dice.choice((0, 0, 0, 1, 2, dice.randrange(40)))
        piece = dice.choice(PIECES) if dice.random() < 0.8 else dice.randbytes(dice.randrange(1, 5))
        line = line[:at] + piece + line[at + cut:]
    return line


def mutated_number(dice, line):
    """Replace one number, or true, by another value: the line often stays JSON."""
    places = list(re.finditer(rb"(?<=:)(-?[0-9][0-9.e-]*|true)", line))
    if not places:
        return mutated(dice, line)
    place = dice.choice(places)
    return line[:place.start()] + dice.choice(PIECES + VALUES) + line[place.end():]


def mixed(dice, _line):
    """An object of known and other keys, some of them twice."""
    members = [f'"{dice.choice(KEYS)}":'.encode() + dice.choice(VALUES) for _ in range(dice.randrange(8))]
    return b"{" + dice.choice((b",", b" ,\t")).join(members) + b"}"


def large(dice, _line):
    """At and beyond the limits on depth, keys, extras and numbers; long strings."""
    n = dice.choice((62, 63, 64, 65, 127, 128, 129, 255, 256, 257, 995, 999, 1000, 1001, 5000))
    return dice.choice((
        lambda: b'{"context":{"d":' + b"[" * n + b"1" + b"]" * n + b"}}",
        lambda: b'{"d":' + b'{"k":' * n + b"1" + b"}" * n + b"}",
        lambda: b"{" + b",".join(b'"k%d":%d' % (i, i) for i in range(n)) + b"}",
        lambda: b'{"message":"m","context":{' + b",".join(b'"k%d":%d' % (i, i) for i in range(n)) + b"}}",
        lambda: b'{"message":"'
        + dice.choice((b"x", b"\\n", b"\xc3\xa9", b"\xff", b"word ", b"\\ud800")) * (n * 8) + b'"}',
        lambda: b'{"message":"m","context":{"n":' + b"7" * n + b"}}",
    ))()


def hostile_lines(seed, count):
    dice = random.Random(seed)
    corpus = [p.read_bytes() for p in sorted((TOP / "tests/fuzz/corpus/line").iterdir())]
    lines = list(corpus)
    others = [line for log in LOGS for line in log.read_bytes().splitlines()]
    lines += others
    while len(lines) < count:
        how = dice.choices((mutated, mutated_number, mixed, large), (10, 6, 4, 0.2))[0]
        lines.append(how(dice, dice.choice(dice.choice((REAL, corpus, others)))))
    return [line for line in lines if line.strip(b"\r\n")]


# ---- the test -----------------------------------------------------------------------------------------

ORDINARY = b'{"message":"ordinary %d"}\n'
ROWS = """SELECT stream_offset, timestamp, level, logger, message, context::text FROM log_entries
          WHERE vps_name = %s ORDER BY stream_offset"""


def check_lines(db, make_agent, tmp_path, seed, count):
    """Every byte of the file is in one row; each ordinary line is one by itself; each row says what its bytes
    say."""
    log, ordinary = tmp_path / f"{seed}.log", {}
    with open(log, "wb") as f:
        for n, line in enumerate(hostile_lines(seed, count)):
            f.write(line + b"\n")
            ordinary[f.tell()] = f"ordinary {n}"
            f.write(ORDINARY % n)
    agent = make_agent(db, log_files=[str(log)], vps_name=f"seed-{seed}").start()
    db.wait('SELECT coalesce(sum("position"), 0) = %s FROM log_streams WHERE vps_name = %s AND path = %s',
            log.stat().st_size, f"seed-{seed}", str(log), timeout=60 + count / 500)
    rows = db.query(ROWS, f"seed-{seed}")
    assert db.query("SELECT reason FROM rejects UNION ALL SELECT kind || detail FROM gaps") == []
    assert '"level":"ERROR"' not in agent.said() and '"level":"WARNING"' not in agent.said(), agent.said()
    agent.stop()
    compare(rows, log.read_bytes(), ordinary)


def compare(rows, written, ordinary):
    """Each row stands for the bytes from its offset to that of the next one."""
    assert len({row[0] for row in rows}) == len(rows), "two rows of one place"
    assert not written[:rows[0][0]].strip(b"\r\n"), "the file's beginning is in no row"
    assert all(at == 0 or written[at - 1:at] in (b"\n", b"\0")
               for at, *_ in rows), "a row begins within a line"
    assert {at: row[3] for at, *row in rows if at in ordinary} == ordinary
    parsed = 0
    for (at, *row), end in zip(rows, [row[0] for row in rows[1:]] + [len(written)]):
        raw = written[at:end].rstrip(b"\r\n")
        lack = Row(*row).lacks(raw)
        assert not lack, f"{raw!r:.2000}\n{lack}\nstored {row!r:.1500}"
        parsed += row[4] is not None
    assert parsed > len(rows) * 0.1, "hardly any of the lines has fields"


def test_hostile_lines_keep_all_that_another_reader_finds(db, make_agent, tmp_path):
    """20,000 lines, half of them hostile."""
    check_lines(db, make_agent, tmp_path, seed=1, count=10_000)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 42))
def test_many_more_hostile_lines(db, make_agent, tmp_path, seed):
    """The same with other seeds."""
    check_lines(db, make_agent, tmp_path, seed, count=20_000)
