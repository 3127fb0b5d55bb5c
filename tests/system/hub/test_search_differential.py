"""Random queries over random lines find what a reader in Python finds, who knows no index: 2,000 cases."""
import functools
import json
import random
import re
import unicodedata

import pytest

from hub_server import Hub
from search_lines import insert

QUERIES = 2000
LINES = 250
SEED = 20261130
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "KHMER", "LAO")
LEVELS = ["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
WORDS = """order orders Order payment failed fail OrderService parseHTTPRequest 12 123 10.1.2.3 32601 -32601
12e3abc 1e5z v1 a b ab Größe größe café cafe\u0301 cafe
ΟΔΟΣ οδος ошибка ОШИБКИ 接続 接続失敗 失敗 データ 처리 실패했 ล้มเหลว user_id x=y
<tag> shop.example.com C++ 100% 🚀 !!! … soft\u00adhyphen naïve-Ansatz Ⅳ ²""".split() + ["\u00a0"]
BETWEEN = [" ", " ", " ", "/", ".", ", ", "_", "-", ": ", "", "\n", "\t", "—", "  "]
VALUES = [1, 12, 503, 512.5, -3, "12", "red", "a b", "", True, None, ["red", 12], 
          {"name": "anna", "n": 5, "e.mail": "red"}, "10.1.2.3", "5xx", "q\"v\\", "失敗"]
KEYS = ["status", "ms", "user", "user id", "a.b", "名前", "(k)", "q\"k"]


# The same lines are read 2,000 times.
once = functools.lru_cache(maxsize=None)


# ---- the reader ----------------------------------------------------------------------------------------

@once
def is_invisible(c):
    return unicodedata.category(c) in ("Cf", "Me") or "\ufe00" <= c <= "\ufe0f"


@once
def folded(text):
    seen = "".join(c for c in text if not is_invisible(c))
    return unicodedata.normalize("NFC", seen).lower().replace("ς", "σ")


@once
def is_letter(c):
    return unicodedata.category(c)[0] in "LNM"


@once
def is_unspaced(c):
    return is_letter(c) and unicodedata.name(c, "").startswith(UNSPACED)


@once
def spaced(text):
    """Words and runs of unspaced characters, with one blank between them."""
    kinds = "".join("u" if is_unspaced(c) else "w" if is_letter(c) else "." for c in text)
    words, at = [], 0
    for run in re.findall("u+|w+|.", kinds):
        if run[0] != ".":
            words.append(text[at:at + len(run)])
        at += len(run)
    return " ".join(words)


@once
def camel_parts(text):
    found = []
    for word in spaced(text).split(" "):
        parts = re.sub("([a-z])([A-Z])", r"\1 \2", re.sub("([A-Z0-9])([A-Z][a-z])", r"\1 \2", word)).split()
        found += [p.lower() for p in parts if len(parts) > 1]
    return found


def is_edge(one, other):
    pair = [c for c in (one, other) if c and is_letter(c)]
    return len(pair) < 2 or any(map(is_unspaced, pair))


def stands(text, part, may_go_on):
    """part stands in text, and begins and ends where words do."""
    for m in re.finditer(f"(?={re.escape(part)})", text):
        before, after = text[:m.start()][-1:], text[m.start() + len(part):][:1]
        if is_edge(before, part[0]) and (may_go_on or is_edge(part[-1], after)):
            return True
    return False


def has_text(line, text, quoted):
    texts = [line["message"]] + ([line["logger"]] if "logger" in line else [])
    if "context" in line:
        texts.append(re.sub(r'\\(["\\nt])', lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), line["json"]))
    wanted = folded(text)
    words = spaced(wanted)
    if not words or quoted and any(not is_letter(c) and c != " " for c in wanted):
        return any(stands(folded(t), wanted, False) for t in texts)
    last = words.split(" ")[-1]
    goes_on = not quoted and is_letter(wanted[-1]) and (" " not in words or not re.fullmatch("[0-9]+", last))
    if any(stands(spaced(folded(t)), words, goes_on) for t in texts):
        return True
    single = " " not in words and not any(map(is_unspaced, words))
    parts = [p for t in texts for p in camel_parts(t)]
    return single and any(p.startswith(words) if goes_on else p == words for p in parts)


def values_at(context, key):
    first, *rest = key.split(".")
    ways = [[first]]
    for part in rest:                                   # a dot within a key, or between two
        ways = [way[:-1] + [way[-1] + "." + part] for way in ways] + [way + [part] for way in ways]
    for way in ways:
        at = context
        for name in way:
            at = at.get(name, ValueError) if isinstance(at, dict) else ValueError
        if at is not ValueError:
            yield at


def equals(have, text):
    if isinstance(have, list):
        return any(equals(h, text) for h in have if not isinstance(h, list))
    if isinstance(have, bool) or have is None:
        return json.dumps(have) == text
    if isinstance(have, (int, float)):
        return bool(re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text)) and float(text) == have
    return have == text


def number(have):
    if isinstance(have, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", have):
        return float(have)
    return have if isinstance(have, (int, float)) and not isinstance(have, bool) else None


def has_value(line, key, op, value):
    for have in values_at(line.get("context") or {}, key):
        if op == "*" or op == "=" and equals(have, value):
            return True
        n = number(have)
        if op in ("<", ">") and n is not None and (n < float(value) if op == "<" else n > float(value)):
            return True
    return False


def fits(line, tree):
    kind, *rest = tree
    if kind in ("and", "or"):
        return (all if kind == "and" else any)(fits(line, t) for t in rest)
    if kind == "not":
        return not fits(line, rest[0])
    if kind == "text":
        return has_text(line, *rest)
    if kind == "level":
        return LEVELS.index(line["level"]) >= rest[0] if rest[1] else LEVELS.index(line["level"]) == rest[0]
    if kind == "app":
        return line["app_name"] == rest[0]
    return has_value(line, *rest)


# ---- lines and queries ---------------------------------------------------------------------------------

def random_text(dice, most):
    words = [dice.choice(WORDS) for _ in range(dice.randint(1, most))]
    return "".join(w + dice.choice(BETWEEN) for w in words).strip() or "x"


def random_line(dice, n):
    line = {"app_name": f"l{n}", "level": dice.choice(LEVELS), "message": random_text(dice, 8)}
    if dice.random() < 0.3:
        line["logger"] = dice.choice(["com.example.OrderService", "http", "a.b"])
    if dice.random() < 0.5:
        line["context"] = {k: dice.choice(VALUES) for k in dice.sample(KEYS, dice.randint(1, 4))}
    return line


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def random_term(dice):
    kind = dice.random()
    if kind < 0.45:
        word = dice.choice(WORDS)
        word = word[:dice.randint(1, len(word))] if dice.random() < 0.4 else word
        word = dice.choice([word, word.upper(), word + dice.choice(["/", ".", "_"]) + dice.choice(WORDS)])
        return word, ("text", word, False)
    if kind < 0.65:
        text = random_text(dice, 3)
        return quoted(text), ("text", text, True)
    if kind < 0.72:
        level, least = dice.randrange(6), dice.random() < 0.5
        return f"level{'>=' if least else ':'}{LEVELS[level].lower()}", ("level", level, least)
    if kind < 0.76:
        app = f"l{dice.randrange(LINES)}"
        return f"app:{app}", ("app", app)
    key = dice.choice(KEYS + ["user.name", "user.e.mail", "nobody"])
    name = f"ctx.{quoted(key)}"
    if kind < 0.80:
        return f"{name}:*", ("context", key, "*", "")
    if kind < 0.88:
        op, value = dice.choice("<>"), str(dice.choice([0, 12, 500, 512.5]))
        return f"{name}{op}{value}", ("context", key, op, value)
    value = dice.choice([v for v in VALUES if not isinstance(v, (list, dict))] + ["anna", "nothing"])
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{name}={quoted(text)}", ("context", key, "=", text)


def is_plain(term):
    """Not read as anything but a word."""
    return (term and not re.search(r"\s", term) and not re.match(r'[-("|]|(or|not|and)$', term, re.I) and
            not set('")*') & set(term))


def random_query(dice, depth=2):
    if depth == 0 or dice.random() < 0.4:
        while True:
            term, tree = random_term(dice)
            if tree[0] != "text" or tree[2] or is_plain(term):
                return term, tree
    if dice.random() < 0.2:
        q, tree = random_query(dice, depth - 1)
        return f"NOT ({q})", ("not", tree)
    parts = [random_query(dice, depth - 1) for _ in range(2)]
    either = dice.random() < 0.4
    q = (" OR " if either else " ").join(f"({q})" for q, _ in parts)
    return q, ("or" if either else "and", *(t for _, t in parts))


@pytest.fixture(scope="module")
def searched(cluster, tmp_path_factory):
    database, dice = cluster.new_database(), random.Random(SEED)
    lines = [random_line(dice, n) for n in range(LINES)]
    for line in lines:
        insert(database, line)
    rows = database.query("SELECT app_name, context::text FROM log_entries WHERE context IS NOT NULL")
    for app, text in rows:
        lines[int(app[1:])]["json"] = text
    server = Hub(tmp_path_factory.mktemp("hub"), database.url("postgres"), "fastcgi").start()
    yield server, lines
    server.stop()
    database.drop()


def test_random_queries_find_what_a_reader_finds(searched):
    hub, lines = searched
    dice, wrong, hits = random.Random(SEED + 1), [], 0
    for _ in range(QUERIES):
        q, tree = random_query(dice)
        answer = hub.get("/logs", q=q, format="ndjson")
        found = {json.loads(row)["app"] for row in answer.text.splitlines()}
        expected = {line["app_name"] for line in lines if fits(line, tree)}
        hits += bool(expected) and len(expected) < LINES
        for app in sorted(found ^ expected)[:1]:
            wrong.append((q, "found" if app in found else "missed", lines[int(app[1:])]))
    assert hits > QUERIES / 2
    assert wrong == [], "\n".join(map(str, wrong[:10]))
