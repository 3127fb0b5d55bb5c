"""PostgreSQL accepts each result of the parser, and an independent parser reads the same from the line.

Hostile lines are mutations of real ones and what the fuzzer kept (tests/fuzz/corpus/line); behind each stands an
ordinary one. All go through the real agent into the real database. The independent parser is Python's, with the
repairs that docs/configuration.md speaks of: see Expected.
"""
import codecs
import itertools
import json
import random
import re
from decimal import Decimal

import pytest
from harness import TOP

codecs.register_error("each-byte", lambda error: ("\ufffd", error.start + 1))

# ---- the expected row of a line ------------------------------------------------------------------

NUMBER_LEN_MAX, EXPONENT_MAX = 64, 308
DEPTH_MAX, KEYS_MAX, EXTRAS_MAX = 64, 1000, 128
KNOWN = {"timestamp": "time", "ts": "time", "time": "time", "@timestamp": "time",
         "level": "level", "severity": "level", "lvl": "level", "levelname": "level",
         "logger": "logger", "name": "logger", "message": "message", "msg": "message", "context": "context"}
PROPER = {"timestamp", "level", "logger", "message", "context"}
NOT_JUDGED = {key for key, slot in KNOWN.items() if slot in ("time", "level")}  # their meaning is not checked here


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
        value = json.loads(text, object_pairs_hook=pairs, parse_int=number, parse_float=number, parse_constant=refuse)
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
    """Of equal keys the last one keeps its name, those before it are renamed to name_2, name_3 ... where that is free."""
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


class Expected:
    """message, logger and context of a line."""

    def __init__(self, line):
        text = line.rstrip(b"\r").removeprefix(b"\xef\xbb\xbf").decode("utf-8", "each-byte").replace("\0", "\ufffd")
        self.context, self.logger, self.message = {}, None, text
        try:
            members = parse(text)
            if not isinstance(members, Pairs) or depth(members) > DEPTH_MAX:
                raise NotJson("no object, or too deep")
            self.take(members)
        except NotJson:
            pass

    def take(self, members):
        slots, extras = {}, []
        for key, value in members:
            slot = KNOWN.get(key)
            if len(extras) >= EXTRAS_MAX:
                raise NotJson("extras")
            if slot is None or (slot == "logger" and not isinstance(value, str)) or (slot in slots and key not in PROPER):
                extras.append((key, value))
                continue
            if slot in slots:
                extras.append(slots[slot])
            slots[slot] = (key, value)
        self.message = stored(slots.get("message", ("", ""))[1])
        self.logger = stored(slots.get("logger", ("", None))[1])
        context = slots.get("context", ("", None))[1]
        if isinstance(context, Pairs):
            extras = extras + context
        elif "context" in slots:
            extras = extras + [("context", context)]
        self.context = stored(Pairs(extras))

    def differs(self, message, logger, context):
        """What is wrong with the row; None: nothing."""
        if not isinstance(self.message, str):               # JSON that is stored unchanged
            message = stored(parse(message))
        found = stored(parse(context, Decimal)) if context else {}
        for key in set(found) | set(self.context):
            if re.sub("(_[0-9]+)*$", "", key) in NOT_JUDGED:
                found.pop(key, None)
                self.context.pop(key, None)
        if (message, logger, found) == (self.message, self.logger, self.context):
            return None
        return f"stored {message!r:.300} {logger!r:.100} {found!r:.300}\nexpected {self.message!r:.300} " \
               f"{self.logger!r:.100} {self.context!r:.300}"


# ---- hostile lines ----------------------------------------------------------------------------------

REAL = [
    b'{"timestamp":"2026-11-24T02:34:50.123456Z","level":"INFO","logger":"shop.http","message":"order \\"7\\" paid in 12 ms",'
    b'"context":{"user_id":123,"path":"/cart","ok":true,"share":0.25,"tags":["a","b"],"from":{"ip":"::1"}}}',
    b'{"level":30,"time":1795228754000,"pid":7,"hostname":"web","msg":"request completed","res":{"statusCode":200}}',
    b'{"@timestamp":"2026-11-24T02:34:50Z","severity":"warn","name":"worker","msg":"caf\xc3\xa9 \\u00e9 \\ud83d\\ude00",'
    b'"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","n":-1.5e-3}',
    b'2026-11-24 02:34:50,123 ERROR shop.db: connection lost',
]
PIECES = [
    b"\\", b'"', b"\\u0000", b"\\ud800", b"\\udc00", b"\\ud83d\\ude00", b"\\ud83d\\u0041", b"\\u00zz", b"\\x41", b"\0",
    b"\xff", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8",
    b"\xf0\x9f\x98\x80", b"\r", b"\t", b"\x7f", b"\x1b[31m", b"{", b"}", b"[", b"]", b",", b":", b" ", b"-", b".", b"e",
    b"0", b"-0", b"1e308", b"1e309", b"-1E-308", b"1e100000", b"1e-99999", b"9" * 64, b"9" * 65, b"0." + b"3" * 62,
    b"0." + b"3" * 70, b"01", b"1.", b"NaN", b"Infinity", b"-Infinity", b"null", b"true", b"false", b'""', b"{}", b"[]",
    b'"a":1,', b'"a":2,', b'"message":7,', b'"msg":"alias",', b'"context":null,', b'"context":[1],', b'"name":{},',
    b'"":"",', b'"level":"LOUD",', b'"timestamp":"99999-01-01",', b'"ts":-1,', b'"time":1e400,', b"'; DROP TABLE agents; --",
]
VALUES = [b'"x"', b"1", b"-1e5", b"1e400", b"null", b"{}", b"[]", b'"\\ud800"', b'{"a":{"a":1,"a":2}}', b'"\\u0000"', b"[1,[2]]"]
KEYS = [*KNOWN, "a", "b", "", "trace_id", "k\\\\y", "\\ud800", "\\u0061", "a_2", "b_2"]


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
        lambda: b'{"message":"' + dice.choice((b"x", b"\\n", b"\xc3\xa9", b"\xff", b"word ", b"\\ud800")) * (n * 8) + b'"}',
        lambda: b'{"message":"m","context":{"n":' + b"7" * n + b"}}",
    ))()


def hostile_lines(seed, count):
    dice = random.Random(seed)
    corpus = [p.read_bytes() for p in sorted((TOP / "tests/fuzz/corpus/line").iterdir())]
    lines = list(corpus)
    while len(lines) < count:
        how = dice.choices((mutated, mutated_number, mixed, large), (10, 6, 4, 0.2))[0]
        lines.append(how(dice, dice.choice(REAL + corpus)))
    return [line.replace(b"\n", b" ") for line in lines if line.strip(b"\r\n")]


# ---- the test -----------------------------------------------------------------------------------------

def check_lines(db, make_agent, tmp_path, seed, count):
    """Every hostile line is one row, as expected, at its place; so is the ordinary one behind it."""
    log, at, expected = tmp_path / f"{seed}.log", 0, {}
    with open(log, "wb") as f:
        for n, line in enumerate(hostile_lines(seed, count)):
            for text in (line, b'{"message":"%d"}' % n):
                expected[at] = text
                at += f.write(text + b"\n")
    agent = make_agent(db, log_files=[str(log)], vps_name=f"seed-{seed}").start()
    db.wait('SELECT coalesce(sum("position"), 0) = %s FROM log_streams WHERE vps_name = %s AND path = %s', at, f"seed-{seed}",
            str(log), timeout=60 + count / 500)
    rows = db.query("SELECT stream_offset, message, logger, context::text FROM log_entries WHERE vps_name = %s", f"seed-{seed}")
    assert sorted(row[0] for row in rows) == sorted(expected)
    assert db.query("SELECT reason FROM rejects UNION ALL SELECT kind || detail FROM gaps") == []
    assert '"level":"ERROR"' not in agent.said() and '"level":"WARNING"' not in agent.said(), agent.said()
    agent.stop()
    compare(rows, expected)


def compare(rows, expected):
    parsed = 0
    for offset, message, logger, context in rows:
        wanted = Expected(expected[offset])
        difference = wanted.differs(message, logger, context)
        assert not difference, f"{expected[offset]!r:.2000}\n{difference}"
        parsed += bool(wanted.context)
    assert parsed > len(rows) * 0.1, "hardly any of the lines is JSON"


def test_hostile_lines_become_the_rows_that_another_parser_reads(db, make_agent, tmp_path):
    """20,000 lines, half of them hostile."""
    check_lines(db, make_agent, tmp_path, seed=1, count=10_000)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 42))
def test_many_more_hostile_lines(db, make_agent, tmp_path, seed):
    """The same with other seeds."""
    check_lines(db, make_agent, tmp_path, seed, count=20_000)
