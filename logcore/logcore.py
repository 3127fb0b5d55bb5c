"""Structured logging for Python: one call, one JSON line, the same bytes as liblogcore writes.

    import logcore

    log = logcore.get_logger("billing", log_file="/var/log/billing/app.log")
    log.info("User action", extra={"context": {"user_id": 123, "action": "login"}})

    {"timestamp":"2026-11-21T02:39:14.123456Z","level":"INFO","logger":"billing",
     "message":"User action","context":{"user_id":123,"action":"login"}}    (as one line)

The loggers are those of the standard `logging`, and all of `logging` works with them. Promises:

- A line is one write(2) on a descriptor opened for appending, so threads and processes can share a file.
- The line is in the kernel when the call returns.
- Whatever values go in, one line of valid JSON in UTF-8 comes out.
- A file that was renamed or removed is opened again before the next line.
- No call raises an exception. Lines that could not be written are counted; once writing works
  again, a line reports how many.
- Passwords and other secrets are replaced when their key or their form shows them.

Needs only Python 3.9. It is one file, which you may copy into a project.
"""
import binascii
import json
import logging
import math
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from decimal import Decimal

__all__ = ["Bound", "Handler", "Logger", "OFF", "TRACE", "bind", "get_logger", "level_number"]

TRACE = 5
OFF = 60                        # as a minimum level: log nothing

LINE_MAX = 65536                # bytes of the longest line, newline included
LINE_MIN = 1024                 # the least value of line_max
JOURNAL_LINE_MAX = 48000        # journald splits lines that are longer than 48 KiB
NAME_MAX = 255                  # bytes of a logger's name, as written; a longer one is cut
DEPTH_MAX = 28                  # of nested lists and dicts; deeper ones become text

_CLOSING = len('},"truncated":true}\n')
_LEVELS = ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_NUMBERS = {"TRACE": TRACE, "DEBUG": 10, "INFO": 20, "WARNING": 30, "WARN": 30, "ERROR": 40, "CRITICAL": 50,
            "FATAL": 50, "OFF": OFF}
_PRIORITIES = (b"<7>", b"<7>", b"<6>", b"<4>", b"<3>", b"<2>")
_LAST_SECOND = 253402300799     # of year 9999

logging.addLevelName(TRACE, "TRACE")


def level_number(name):
    """The level of a name: trace, debug, info, warning or warn, error, critical or fatal, off; ignoring case.

    0 for any other name.
    """
    return _NUMBERS.get(str(name).upper(), 0)


def _level_index(level):
    return 0 if level < logging.DEBUG else min(level, logging.CRITICAL) // 10


# ---- secrets -----------------------------------------------------------------------------
# The same rules as in liblogcore: see redact/ (secret_key.c, patterns.c, luhn.c).

REDACT_ALL, REDACT_KEYS, REDACT_OFF = 0, 1, 2

_REDACTED = "[redacted]"
_WORD_MAX = 39                  # letters of a key that are compared, from its end
_KEY_MAX = 64                   # characters of a key in a text
_TEXT_MIN = 8                   # bytes; no pattern matches a shorter text
_LOOK_AHEAD = 1024              # characters beyond what fits, in which a secret may end

_LETTERS = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "_-. ")
_SECRETS = tuple(
    "password passwords passwd pwd passphrase passcode dbpass userpass token jwt bearer authorization"
    " cookie cookies secret secrets credential credentials apikey apikeys accesskey accesskeyid"
    " privatekey secretkey signingkey encryptionkey masterkey sharedkey accountkey sessionid sessid"
    " cardnumber cvv".split())
_HARMLESS = tuple("pagetoken nexttoken continuationtoken synctoken cancellationtoken expectedtoken".split())
_ENDINGS = tuple("value header hash confirmation plain plaintext string raw pem".split())
_NOTHING = frozenset("null true false None True False NULL nil undefined yes no".split())

_DIGITS = frozenset("0123456789")
_ALNUM = _DIGITS | frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_BASE64 = _ALNUM | frozenset("+/-_")
_BASE64_URL = str.maketrans("-_", "+/")
_IN_KEY = _ALNUM | frozenset("_-.")
_OF_WORD = _ALNUM | frozenset("_%")
_NO_HOST = frozenset(map(chr, range(0x21))) | frozenset("/?#\"'<>@\\")

# A text without any of these has no secret. _SHOWS finds where a finder must look.
_PREFILTER = re.compile(r'[="J@]|[bB][eEaA]|I[AV]|(?:[0-9][ -]?){13}')
_SHOWS = re.compile(r'["=@JI]|[bB](?=[eEaA])|(?<![0-9A-Za-z_%])[0-9](?=[0-9 -]{12})')
_SPACE = re.compile("[ \t-\r]*")
_BACKSLASHES = re.compile(r"\\*")
_PLAIN_VALUE = re.compile("[^ \t-\r&;,\"'`()\\[\\]{}<>|\\\\\0]*")
_BRACKET = re.compile(r'["\[\]{}]')
_SCHEME = re.compile("(basic|bearer)[ \t-\r]+([0-9A-Za-z+/_.~=-]*)", re.I | re.A)
_BASE64_RUN = re.compile("[0-9A-Za-z+/_-]*")
_AWS_KEY = re.compile("(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])")
_ISSUERS = (((4000, 4999), (13, 16, 19)), ((5100, 5599), (16,)), ((2221, 2720), (16,)), ((3400, 3499), (15,)),
            ((3700, 3799), (15,)), ((3000, 3059), (14,)), ((3600, 3699), (14,)), ((3800, 3999), (14,)),
            ((6011, 6011), range(16, 20)), ((6440, 6599), range(16, 20)), ((6200, 6299), range(16, 20)),
            ((3528, 3589), range(16, 20)))


def _keys(keys):
    """A list of keys; a single string is one key."""
    return (keys,) if isinstance(keys, str) else keys


class _Redact:
    """Finds secrets by key and by form. A finder returns (start, end) of a secret, or None."""

    def __init__(self, mode=REDACT_ALL, keys=(), allowed=()):
        self.patterns = mode == REDACT_ALL
        self.secrets = _SECRETS + tuple(key.translate(_LETTERS) for key in _keys(keys))
        self.allowed = frozenset(key.translate(_LETTERS) for key in _keys(allowed))
        self.known = {}         # answers about keys
        if mode == REDACT_OFF:
            self.secrets, self.key = (), lambda key: False

    def key(self, key):
        """Whether the key names a secret."""
        answer = self.known.get(key)
        if answer is None:
            answer = self._look(key)
            if len(self.known) < 1000:
                self.known[key] = answer
        return answer

    def _look(self, key):
        letters = key.translate(_LETTERS)
        if letters in self.allowed:
            return False
        letters = letters[-_WORD_MAX:]
        if not letters.endswith(self.secrets):
            ending = next((e for e in _ENDINGS if letters.endswith(e)), "")
            shorter = letters[:len(letters) - len(ending)].rstrip("0123456789")
            if shorter == letters or not shorter.endswith(self.secrets):
                return False
            letters = shorter
        return not letters.endswith(_HARMLESS)

    def text(self, s, room=LINE_MAX):
        """The text with a mark in place of each secret, at least in its first `room` bytes."""
        if not self._may_have(s):
            return s
        parts, start, size = [], 0, 0
        while size <= room:
            secret = self._next(s, start, start + room - size + _LOOK_AHEAD)
            if not secret:
                break
            parts += [s[start:secret[0]], _REDACTED]
            size += secret[0] - start + len(_REDACTED)
            start = secret[1]
        return "".join(parts) + s[start:]

    def has(self, s):
        """Whether a text has a secret in it."""
        return self._may_have(s) and self._next(s, 0, len(s)) is not None

    def _may_have(self, s):
        return (self.patterns and (len(s) >= _TEXT_MIN or len(s.encode(errors="replace")) >= _TEXT_MIN)
                and _PREFILTER.search(s) is not None)

    def _next(self, s, start, stop):
        """The first secret after `start` that is recognized before `stop`."""
        for found in _SHOWS.finditer(s, start, min(stop, len(s))):
            i = found.start()
            secret = self._FINDERS[s[i]](self, s, start, i)
            if secret and secret[1] > secret[0]:
                return secret
        return None

    # ---- key=value, "key":"value"

    def _assignment(self, s, start, i):
        key = _back(s, start, i, _IN_KEY)
        if key < i and s[i + 1:i + 2] != "=" and self.key(s[key:i]):
            return _value(s, i + 1)
        return None

    def _member(self, s, start, i):
        colon = _SPACE.match(s, i + 1).end()
        if s[colon:colon + 1] != ":":
            return None
        end = i
        while end > start and s[end - 1] == "\\":
            end -= 1
        key = _back(s, start, end, _IN_KEY)
        if start < key < end and s[key - 1] == '"' and self.key(s[key:end]):
            return _value(s, _SPACE.match(s, colon + 1).end())
        return None

    # ---- by form alone

    def _url_password(self, s, start, i):
        host = i
        while host > start and s[host - 1] not in _NO_HOST:
            host -= 1
        colon = s.find(":", host, i)
        if colon < 0 or not _behind_scheme(s, start, host):
            return None
        end = n = i
        while n < len(s) and (s[n] == "@" or s[n] not in _NO_HOST):
            if s[n] == "@":
                end = n
            n += 1
        return colon + 1, end

    def _scheme(self, s, start, i):
        found = _SCHEME.match(s, i)
        if not found or (i > start and s[i - 1] in _ALNUM):
            return None
        is_secret = _is_basic if len(found[1]) == 5 else _is_opaque
        return found.span(2) if is_secret(found[2]) else None

    def _jwt(self, s, start, i):
        first = i - 2
        if first < start or not s.startswith("eyJ", first) or (first > start and s[first - 1] in _BASE64):
            return None
        dot = _BASE64_RUN.match(s, first).end()
        end = _BASE64_RUN.match(s, dot + 1).end() if s[dot:dot + 1] == "." else len(s)
        if dot - first < 10 or s[end:end + 1] != ".":
            return None
        while s[end:end + 1] == ".":
            end = _BASE64_RUN.match(s, end + 1).end()
        return first, end

    def _capital(self, s, start, i):
        first = i - 2
        if first < start:
            return None
        key = _AWS_KEY.match(s, first)
        if key and not (first > start and s[first - 1] in _ALNUM):
            return key.span()
        return _private_key(s, start, i)

    def _card(self, s, _, i):
        return _card(s, i)

    _FINDERS = {"=": _assignment, '"': _member, "@": _url_password, "b": _scheme, "B": _scheme, "J": _jwt,
                "I": _capital, **dict.fromkeys("0123456789", _card)}


def _back(s, start, i, chars):
    n = i
    while n > start and i - n < _KEY_MAX and s[n - 1] in chars:
        n -= 1
    return n


def _quoted(s, i):
    """A quoted value, up to its closing quote or the end; both quotes may have backslashes before them."""
    first = _BACKSLASHES.match(s, i).end()
    level, quote = first - i, s[first]
    for found in re.compile(r"(\\*)" + quote).finditer(s, first + 1):
        n = len(found[1])
        if n <= level or (n - level) % (2 * level + 2) == 0:
            return first + 1, found.start() if n < level else found.end() - 1 - level
    return first + 1, len(s)


def _bracketed(s, i):
    depth, in_string = 0, False
    for found in _BRACKET.finditer(s, i):
        c = found[0]
        if c == '"':
            in_string = not in_string
        elif not in_string:
            depth += 1 if c in "[{" else -1
            if depth == 0:
                return i, found.end()
    return i, len(s)


def _value(s, i):
    first = _BACKSLASHES.match(s, i).end()
    if first >= len(s):
        return None
    if s[first] in "\"'":
        return _quoted(s, i)
    if s[i] in "[{":
        return _bracketed(s, i)
    end = _PLAIN_VALUE.match(s, i).end()
    return None if s[i:end] in _NOTHING else (i, end)


def _behind_scheme(s, start, i):
    for _ in range(2):
        if i <= start or s[i - 1] != "/":
            return False
        i -= 1
        while i > start and s[i - 1] == "\\":
            i -= 1
    return i > start and s[i - 1] == ":"


def _is_basic(s):
    """Whether it is base64 of "user:password" with correct padding."""
    data = s.partition("=")[0].translate(_BASE64_URL)
    if len(s) % 4 or not _BASE64.issuperset(data):
        return False
    whole = len(data) - (len(data) % 4 == 1)    # a single character is no whole byte
    plain = binascii.a2b_base64(data[:whole] + "=" * (-whole % 4))
    return b":" in plain and all(c >= 0x20 and c != 0x7f for c in plain)


def _is_opaque(s):
    """Whether it is a token rather than a word: long, and not of lower-case letters only."""
    return len(s) >= 16 and any(c in _DIGITS or "A" <= c <= "Z" for c in s[1:])


def _private_key(s, start, i):
    if not s.startswith("PRIVATE KEY", i - 2):
        return None
    begin = s.rfind("-----BEGIN ", max(start, i - 40), i)
    if begin < 0:
        return None
    end = s.find("-----END ", i)
    end = s.find("-", end + 9) if end >= 0 else -1
    if end < 0:
        return begin, len(s)
    while s[end:end + 1] == "-":
        end += 1
    return begin, end


def _card(s, i):
    """A card number, by its issuer, length and check digit."""
    if i > 0 and (s[i - 1] in ".-" and (i == 1 or s[i - 2] in _OF_WORD) or s[i - 1] in _OF_WORD):
        return None
    first, digits, group, between = i, "", 0, ""
    while True:
        c = s[i:i + 1]
        if c in _DIGITS:
            digits, group, i = digits + c, group + 1, i + 1
            if len(digits) > 19:
                return None
            continue
        if len(digits) >= 13 and _may_end(s, i) and _is_card(digits):
            table = between and (_group(s[i + 1:i + 6])
                                 or _group(s[max(first - 6, 0):max(first - 1, 0)][::-1]))
            return None if table else (first, i)
        if group < 4 or s[i + 1:i + 2] not in _DIGITS or c not in (" ", "-") or between not in ("", c):
            return None
        between, group, i = c, 0, i + 1


def _may_end(s, i):
    return s[i + 1:i + 2] not in _DIGITS if s[i:i + 1] == "." else s[i:i + 1] not in _OF_WORD


def _group(s):
    """Whether there are exactly four digits: then the number belongs to a table."""
    return len(s) - len(s.lstrip("0123456789")) == 4


def _is_card(digits):
    issuer, n = int(digits[:4]), len(digits)
    if not any(first <= issuer <= last and n in lengths for (first, last), lengths in _ISSUERS):
        return False
    doubled = (int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits)))
    return sum(v - 9 if v > 9 else v for v in doubled) % 10 == 0


# ---- values to JSON ----------------------------------------------------------------------

_quote = json.JSONEncoder(ensure_ascii=False).encode
_NO_TEXT = re.compile("[\0\ud800-\udfff]")              # NUL and surrogates
_HALF_ESCAPE = re.compile(rb"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-f]{0,3})?\Z")


class _TooLong(Exception):
    """A value that does not fit into any line."""


def _float(v):
    """The shortest digits that read back as the same double, written as liblogcore does."""
    if not math.isfinite(v):
        return '"NaN"' if v != v else '"Infinity"' if v > 0 else '"-Infinity"'
    if abs(v) < 1e17 and v == int(v):
        return ("-" if math.copysign(1, v) < 0 else "") + f"{abs(int(v))}.0"
    text = float.__repr__(v)
    return format(Decimal(text), "f") if "e" in text and 1e-5 <= abs(v) < 1e17 else text


def _str(v):
    try:
        return bytes(v).decode(errors="replace") if isinstance(v, (bytes, bytearray)) else str(v)
    except Exception:           # whatever an application's __str__ does
        return f"<{type(v).__name__}>"


def _repr(v):
    try:
        return repr(v)
    except Exception:
        return f"<{type(v).__name__}>"


class _Json:
    """JSON in UTF-8 from values, without secrets; `cut`: a text was cut to `limit` bytes."""

    def __init__(self, limit, redact):
        self.limit, self.redact, self.cut = limit, redact, False

    def text(self, s, room=LINE_MAX):
        limit = max(min(self.limit, room), 0)
        inside = _quote(_NO_TEXT.sub("\ufffd", s[:limit + 1])).encode()[1:-1]
        if len(inside) > limit:
            self.cut = True
            inside = _HALF_ESCAPE.sub(rb"\1", inside[:limit]).decode(errors="ignore").encode()
        return b'"%b"' % inside

    def clean(self, s, room=LINE_MAX, depth=0):
        if depth == 0:
            return self.text(self.redact.text(s, min(self.limit, room)), room)
        return self.text(_REDACTED if self.redact.has(s) else s)

    def member(self, key, value, room=LINE_MAX, depth=0):
        """The value of a key. None, True and False are no secrets, even under a secret key."""
        if value is not None and not isinstance(value, bool) and self.redact.key(key):
            return b'"%b"' % _REDACTED.encode()
        return self.value(value, room, depth)

    def value(self, v, room=LINE_MAX, depth=0):
        if isinstance(v, str):
            return self.clean(v, room, depth)
        if v is None or isinstance(v, bool):
            return b"null" if v is None else b"true" if v else b"false"
        if isinstance(v, float):
            return _float(v).encode()
        if isinstance(v, int):
            return self.integer(v, room)
        if depth < DEPTH_MAX and isinstance(v, Mapping):
            return b"{%b}" % self.join(self.text(_str(k)) + b":" + self.member(_str(k), m, depth=depth + 1)
                                       for k, m in v.items())
        if depth < DEPTH_MAX and isinstance(v, (list, tuple)):
            return b"[%b]" % self.join(self.value(m, depth=depth + 1) for m in v)
        return self.clean(_str(v), room, depth)

    def integer(self, v, room):
        try:
            return int.__repr__(v).encode()
        except ValueError:      # more digits than Python converts
            return self.text(hex(v), room)

    @staticmethod
    def join(parts):
        done, size = [], 0
        for part in parts:
            done.append(part)
            size += len(part) + 1
            if size > LINE_MAX:
                raise _TooLong
        return b",".join(done)


def _field(j, key, value, room, comma):
    """`,"key":value` in at most `room` bytes, or None; and whether a text was cut."""
    j.cut = False
    front = b"," if comma else b""
    try:
        key = _str(key)
        front += j.text(key, room - len(front) - 2) + b":"
        rest = room - len(front)
        if j.cut or (rest < 2 and isinstance(value, str)):
            return None, True
        whole = front + j.member(key, value, rest - 2)
    except Exception:           # too long, or a mapping that raises
        return None, True
    return (whole, j.cut) if len(whole) <= room else (None, True)


def _line(head, message, fields, line_max, redact):
    """One line with its newline. If it is too long: cut texts to a quarter of line_max, then drop the last
    fields."""
    for limit in (line_max, line_max // 4):
        room = line_max - _CLOSING - len(head)
        j = _Json(limit, redact)
        parts = [j.clean(message, room - 2)]
        room -= len(parts[0])
        cut, opened = j.cut, False
        for key, value in fields:
            extra = 0 if opened else len(b',"context":{')
            part, part_cut = _field(j, key, value, room - extra, opened)
            cut |= part_cut
            if part:
                parts.append(part if opened else b',"context":{' + part)
                room -= len(parts[-1])
                opened = True
        if not cut:
            break
    return b"".join([head, *parts, b"}" if opened else b"", b',"truncated":true' if cut else b"", b"}\n"])


# ---- records to lines --------------------------------------------------------------------

def _timestamp(created):
    us = min(max(int(created * 1e6), 0), _LAST_SECOND * 1000000 + 999999)
    return ("%04d-%02d-%02dT%02d:%02d:%02d" % time.gmtime(us // 1000000)[:6]
            + ".%06dZ" % (us % 1000000)).encode()


def _head(created, level, name):
    index = _level_index(level)
    return b'{"timestamp":"%b","level":"%b","logger":%b,"message":' % (
        _timestamp(created), _LEVELS[index].encode(), _Json(NAME_MAX, None).text(_str(name)))


def _message(record):
    """The message, and the error if its arguments do not fit."""
    try:
        return record.getMessage(), None
    except Exception as e:
        return _str(record.msg), f"{type(e).__name__}: {_str(e)}"


def _as_context(context):
    return context if isinstance(context, Mapping) else {} if context is None else {"context": context}


def _exception(exc_info):
    if not isinstance(exc_info, tuple) or exc_info[0] is None:
        return []
    number = getattr(exc_info[1], "errno", None)
    fields = [("errno", number)] if isinstance(number, int) else []
    fields += [("error", _str(exc_info[1])), ("error_type", exc_info[0].__name__)]
    try:
        return fields + [("traceback", "".join(traceback.format_exception(*exc_info)).rstrip("\n"))]
    except Exception:
        return fields


def _fields(record, wrong):
    fields = list(_as_context(getattr(record, "context", None)).items())
    if wrong:
        fields += [("args", _repr(record.args)), ("args_error", wrong)]
    fields += _exception(record.exc_info)
    if record.stack_info:
        fields.append(("stack", _str(record.stack_info)))
    return fields


# ---- where lines go ----------------------------------------------------------------------

def _is_journal(fd):
    """Whether `fd` is the connection to the journal that systemd opened, see systemd.exec(5)."""
    try:
        st = os.fstat(fd)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{st.st_dev}:{st.st_ino}"


class Handler(logging.Handler):
    """Writes records as lines to a file, to standard error, or to another descriptor, which the caller
    closes.

    If the file cannot be opened, this raises nothing: it counts the lost lines, and tries again with each
    line. You can use it alone, also as "logcore.Handler" in logging.config.dictConfig().

    `redact` says which secrets are replaced: REDACT_ALL, by key and by form; REDACT_KEYS, by key; REDACT_OFF,
    none. `redact_keys` lists more secret keys (keys that end with one are secret, too), `redact_not` keys
    that are not.
    """

    def __init__(self, log_file=None, fd=2, line_max=None, journal_priority=None, redact=REDACT_ALL,
                 redact_keys=(), redact_not=(), path=None):
        super().__init__()
        log_file = _one_file(log_file, path)
        self.redact = _Redact(redact, redact_keys, redact_not)
        self.path = os.fspath(log_file) if log_file is not None else None
        self.fd = fd if log_file is None else None
        if journal_priority is None:
            journal_priority = log_file is None and _is_journal(fd)
        self.priority = journal_priority
        self.line_max = line_max or (JOURNAL_LINE_MAX if journal_priority else LINE_MAX)
        if not LINE_MIN <= self.line_max <= LINE_MAX:
            raise ValueError(f"line_max must be {LINE_MIN} to {LINE_MAX} bytes")
        self._inode = None
        self._lost = (0, 0)     # process, lines: after fork() only the process that lost them reports it
        self._loser = ""        # the logger that lost the last line
        self._errno = 0
        self._torn = False      # the file ends in the middle of a line
        self._follow()

    # Methods of logging.Handler; `logging` calls each with the handler's lock held.

    def emit(self, record):
        try:
            line = self._format(record)
            self._follow()
            if self._tell_lost(record.name) and self._write(line):
                return
        except Exception:       # short of memory or stack
            self._errno = 0
        self._lose(record.name)

    def close(self):
        with self.lock:
            if self._lost[1] or self._torn:
                self._tell_lost(self._loser)
            if self.path is not None and self.fd is not None:
                os.close(self.fd)
                self.fd = None
        super().close()

    def _format(self, record):
        message, wrong = _message(record)
        return self._with_priority(record.levelno, _head(record.created, record.levelno, record.name),
                                   message, _fields(record, wrong))

    def _with_priority(self, level, head, message, fields):
        if self.priority:
            head = _PRIORITIES[_level_index(level)] + head
        return _line(head, message, fields, self.line_max, self.redact)

    # ---- the file

    def _follow(self):
        """Open the file if its path has another one now. If that fails, keep the old one."""
        if self.path is None:
            return
        try:
            st = os.stat(self.path)
            if self.fd is not None and (st.st_dev, st.st_ino) == self._inode:
                return
        except OSError:
            pass
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY,
                         0o640)
        except (OSError, ValueError) as e:
            self._errno = getattr(e, "errno", None) or 0
            return
        self._use(fd)

    def _use(self, fd):
        st = os.fstat(fd)
        if self.fd is None:
            self.fd = fd
        else:
            os.dup2(fd, self.fd, inheritable=False)
            os.close(fd)
            self._torn = False
        self._inode = (st.st_dev, st.st_ino)

    def _write(self, line):
        """False: the line was not written, or only a part of it."""
        if self.fd is None:
            return False
        done = 0
        try:
            while done < len(line):
                done += os.write(self.fd, line[done:] if done else line)
        except OSError as e:
            self._errno = e.errno
            self._torn |= done > 0
        return done == len(line)

    # ---- lines that were lost

    def _lose(self, name):
        pid = os.getpid()
        self._loser = name
        self._lost = (pid, (self._lost[1] if self._lost[0] == pid else 0) + 1)

    def _tell_lost(self, name):
        """Write a line that reports the lost ones. False: writing does not work yet."""
        pid, lost = self._lost
        lost = lost if pid == os.getpid() else 0
        line = b"\n" if self._torn else b""
        if lost:
            line += self._with_priority(logging.WARNING, _head(time.time(), logging.WARNING, name),
                                        f"{lost} line{'' if lost == 1 else 's'} lost",
                                        [("lost", lost), ("errno", self._errno)])
        if line and not self._write(line):
            return False
        self._lost, self._torn = (0, 0), False
        return True


# ---- loggers -----------------------------------------------------------------------------

class Bound(logging.LoggerAdapter):
    """A logger that adds a context to each line. Use bind() to make one."""

    def __init__(self, logger, context):
        super().__init__(logger, {"context": dict(context)})

    def bind(self, **context):
        """The same logger with more context."""
        return Bound(self.logger, {**self.extra["context"], **context})

    def getChild(self, suffix):
        """The logger of a part, as getChild() of a logger, with the same context."""
        return Bound(self.logger.getChild(suffix), self.extra["context"])

    def process(self, msg, kwargs):
        """Method of LoggerAdapter: the context of the call comes last."""
        extra = dict(kwargs.get("extra") or {})
        extra["context"] = {**self.extra["context"], **_as_context(extra.get("context"))}
        return msg, {**kwargs, "extra": extra}

    def trace(self, msg, *args, **kwargs):
        """Log with the level TRACE."""
        self.log(TRACE, msg, *args, **kwargs)


class Logger(logging.Logger):
    """A logger of the standard library with trace() and bind()."""

    def bind(self, **context):
        """A logger that adds this context to each line, such as the data of a request."""
        return Bound(self, context)

    def trace(self, msg, *args, **kwargs):
        """Log with the level TRACE."""
        if self.isEnabledFor(TRACE):
            self._log(TRACE, msg, args, **kwargs)

    def getChild(self, suffix):
        """"billing" gives "billing.http", which logs where its parent does."""
        return _ours(super().getChild(suffix))

    def makeRecord(self, name, level, fn, lno, msg, args, exc_info, func=None, extra=None, sinfo=None):
        """As in `logging`, but does not raise for names in `extra` that a record already has."""
        record = super().makeRecord(name, level, fn, lno, msg, args, exc_info, func, None, sinfo)
        for key, value in (extra.items() if isinstance(extra, Mapping) else ()):
            if key not in ("message", "asctime") and key not in record.__dict__:
                record.__dict__[key] = value
        return record


_setup = threading.RLock()      # if two threads get the same logger, it gets one handler


def _after_fork():
    global _setup
    _setup = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


def _ours(logger):
    if type(logger) is logging.Logger:
        logger.__class__ = Logger
    return logger


def bind(logger, **context):
    """Any logger or adapter, with a context added to each line."""
    return logger.bind(**context) if hasattr(logger, "bind") else Bound(logger, context)


def _handlers(logger):
    return [h for h in logger.handlers if isinstance(h, Handler)]


def _logs_above(logger):
    """Whether a parent passes its lines to a handler of this module."""
    while logger.propagate and logger.parent:
        logger = logger.parent
        if _handlers(logger):
            return True
    return False


def _attach(logger, path, options):
    old = _handlers(logger)
    if any(path in (None, h.path) for h in old) or (path is None and _logs_above(logger)):
        return
    logger.addHandler(Handler(path, **options))
    logger.propagate = False
    for handler in old:
        logger.removeHandler(handler)
        handler.close()


def _set_level(logger, level):
    name = os.environ.get("LOGCORE_LEVEL")
    number = level if isinstance(level, int) else level_number(level) if level is not None else logging.INFO
    logger.setLevel(level_number(name) or number or logging.INFO)
    if name and not level_number(name):
        logger.warning("LOGCORE_LEVEL is not a level", extra={"context": {
            "value": name, "level": _LEVELS[_level_index(logger.level)]}})
    if level and not number:
        logger.warning("The level is not known, using info", extra={"context": {"level": level}})


def _one_file(log_file, path):
    """`path` is what C and C++ call it, and what those who come from there write."""
    if path is not None and log_file is not None:
        raise ValueError("log_file and path are two names of one option: give one of them")
    return path if log_file is None else log_file


def get_logger(name=None, log_file=None, level=None, path=None, **options):
    """The logger `name` (default: the program's name), which writes lines to log_file.

    `path` is another name of log_file. Without a file it logs where its parent does ("billing.http" like
    "billing"), else to standard error. The same name gives the same logger; another file replaces the first.
    `level` is a number or a name, by default INFO; the environment variable LOGCORE_LEVEL overrides it. The
    options are those of Handler. They take effect when this makes a handler: not again for the same file, and
    not for a logger that logs where its parent does.
    """
    logger = _ours(logging.getLogger(name or os.path.basename(sys.argv[0] or "") or "python"))
    log_file = _one_file(log_file, path)
    with _setup:
        fresh = not logger.level
        _attach(logger, os.fspath(log_file) if log_file is not None else None, options)
        if level is not None or (fresh and _handlers(logger)):
            _set_level(logger, level)
    return logger
