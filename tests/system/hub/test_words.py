"""The words of a log line (schema/28-words.sql), held against Unicode as Python knows it."""
import random
import re
import unicodedata
from pathlib import Path

import pytest

# Scripts without spaces between words, as the names of their characters begin.
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HENTAIGANA", "HALFWIDTH", "BOPOMOFO", "HANGUL", "YI ", "TANGUT",
            "KHITAN", "NUSHU", "THAI", "LAO", "TIBETAN", "MYANMAR", "KHMER", "TAI ", "NEW TAI LUE",
            "BALINESE", "JAVANESE", "CHAM ")
# What else stands among ideographs and kana: numbers, iteration and voice marks.
BESIDE_THEM = ("IDEOGRAPHIC", "HANGZHOU", "VERTICAL", "CIRCLED", "PARENTHESIZED", "VIETNAMESE ALTERNATE",
               "MASU", "OLD CHINESE", "COMBINING KATAKANA")
NAMELESS = ((0x17000, 0x187F7, "TANGUT"), (0x18D00, 0x18D08, "TANGUT"))         # this Python names none
MAX_WORD = 255          # characters of a query's word, of which the index may have more
PART = 4000             # code points in one call


def is_invisible(c):
    return (unicodedata.category(c) in ("Cf", "Me") or "\ufe00" <= c <= "\ufe0f" or
            "\U000e0100" <= c <= "\U000e01ef")


def name(c):
    return unicodedata.name(c, "") or next((n for a, z, n in NAMELESS if a <= ord(c) <= z), "")


def assigned():
    """All characters but those few that NFC takes apart."""
    return (c for c in map(chr, range(1, 0x110000)) if unicodedata.category(c) not in ("Cn", "Cs") and
            len(unicodedata.normalize("NFC", c)) == 1)


def kind(c):
    if is_invisible(c):
        return "invisible"
    return "letter" if unicodedata.category(c)[0] in "LMN" else "separator"


def kinds_in_the_database(db, characters):
    """What each is, by the words of a text in which it stands between two of its own words."""
    frames = [f"q{ord(c):07}q" for c in characters]
    text = " ".join(f"{frame}{c}y" for frame, c in zip(frames, characters))
    words = " ".join(db.one("SELECT word_list(%s)", text))
    parts = re.split(r"(q[0-9]{7}q)", words)[1:]
    assert parts[::2] == frames
    return [("invisible" if t == "y" else "separator" if t == " y" else
             "unspaced" if t.startswith(" ") else "letter") for t in map(str.rstrip, parts[1::2])]


@pytest.fixture(scope="module")
def kinds(db_of_words):
    characters, ret = list(assigned()), {}
    for n in range(0, len(characters), PART):
        part = characters[n:n + PART]
        ret.update(zip(part, kinds_in_the_database(db_of_words, part)))
    return ret


@pytest.fixture(scope="module")
def db_of_words(cluster):
    database = cluster.new_database()
    yield database
    database.drop()


def test_letters_digits_and_marks_are_in_words_and_all_else_separates_them(kinds):
    wrong = {c: k for c, k in kinds.items() if k.replace("unspaced", "letter") != kind(c)}
    assert len(kinds) > 280_000
    assert [f"U+{ord(c):04X} {name(c)}: {k}" for c, k in wrong.items()] == []


def test_scripts_without_spaces_become_single_characters(kinds):
    wrong = [c for c, k in kinds.items() if k in ("letter", "unspaced") and
             (k == "unspaced") != name(c).startswith(UNSPACED) and
             not (k == "unspaced" and name(c).startswith(BESIDE_THEM))]
    assert [f"U+{ord(c):04X} {name(c)}: {kinds[c]}" for c in wrong] == []


# ---- what the index gets, and what a query gets ----------------------------------------------------

PIECES = """order HTTPServer fooBar a1B2c OAuth2Client 12 x 10.1.2.3 <a=b> {"k":1}
ΟΔΟΣ Größe größeMax Ошибка cafe\u0301 =\u0338b İstanbul ʼn ﬁ Ⅳ ²
接続 接続失敗が 一 데이터 ล้มเหลว データabc中文1
\ufffd \x01\x02 \x1b[31m 🚀 — “q” soft\u00adhyphen e\u200d\u0301 \u0301 \u00a0 !!! \\ ' ´` ~x~""".split()
PIECES += ["\n", "\t", " ", "w" * 300, "失" * 300]


def camel_parts(text):
    seen = unicodedata.normalize("NFC", "".join(c for c in text if not is_invisible(c)))
    spaced = "".join(c if kind(c) == "letter" and not name(c).startswith(UNSPACED) else " " for c in seen)
    for word in spaced.split():
        parts = re.sub("([a-z])([A-Z])", r"\1 \2", re.sub("([A-Z0-9])([A-Z][a-z])", r"\1 \2", word)).split()
        yield from parts if len(parts) > 1 else ()


def test_the_index_has_the_words_of_a_query_and_the_parts_of_camel_case(db_of_words):
    """words() has a short way for plain lines; word_list() makes the words of queries, one way for all."""
    dice = random.Random(13)
    for _ in range(1500):
        text = "".join(dice.choice(PIECES) + dice.choice(["", " ", " ", "/"])
                       for _ in range(dice.randint(1, 12)))
        parts = " ".join(camel_parts(text))
        indexed, asked = db_of_words.query(
            """SELECT tsvector_to_array(words('INFO', NULL, %s, NULL)), ARRAY(SELECT DISTINCT w
            FROM unnest(word_list(%s) || word_list(%s)) w WHERE w <> '')""", text, text, parts)[0]
        assert {w[:MAX_WORD] for w in indexed} == set(asked), repr(text)


# ---- cost ------------------------------------------------------------------------------------------

def cpu_s(pid):
    """CPU time of a process, in seconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


WRITTEN = {"Cyrillic": ["ошибка", "Запрос", "не", "выполнен"],
           "German": ["Größe", "überschritten", "—", "“Puffer”"],
           "Chinese": ["接続に失敗", "数据库", "服务器不响应"],
           "camelCase": ["OrderService", "placeOrder", "in", "12"],
           "plain": ["request", "in", "12", "failed", "GET /v1"]}


def texts(kind):
    dice = random.Random(1)
    if kind == "random bytes":
        return [dice.randbytes(250).replace(b"\0", b"").decode(errors="replace") for _ in range(100)]
    return [" ".join(dice.choice(WRITTEN[kind]) for _ in range(40)) for _ in range(100)]


def cost_of_a_byte(db, kind):
    """CPU time of words() for a byte of text; the best of some runs, because the machine does other work."""
    pid, lines, costs = db.one("SELECT pg_backend_pid()"), texts(kind), []
    for _ in range(7):
        began = cpu_s(pid)
        db.query("SELECT count(words('INFO', 'shop.http', m, NULL)) "
                 "FROM unnest(%s) m, generate_series(1, 10)", lines)
        costs.append(cpu_s(pid) - began)
    return min(costs) / sum(len(line.encode()) for line in lines)


@pytest.mark.parametrize("kind", ["random bytes", "Cyrillic", "German", "Chinese", "camelCase"])
def test_no_text_costs_a_multiple_of_plain_text(db_of_words, kind):
    ratio = cost_of_a_byte(db_of_words, kind) / cost_of_a_byte(db_of_words, "plain")
    print(f"{kind}: {ratio:.1f}")
    assert ratio < 8
