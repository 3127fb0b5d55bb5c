"""The log search finds what the words and the grammar promise: a table of lines and queries."""
import contextlib
import html
import json
import re
from html.parser import HTMLParser

import psycopg2
import pytest

from harness import Database
from hub_server import Hub
from search_lines import insert, read_cases

@pytest.fixture(scope="module")
def lines(cluster):
    """Each line of the cases, under an application of its own."""
    database = cluster.new_database()
    for line, _ in read_cases():
        insert(database, line)
    yield database
    database.drop()


@pytest.fixture(scope="module")
def hub(lines, tmp_path_factory):
    server = Hub(tmp_path_factory.mktemp("hub"), lines.url("postgres"), "fastcgi").start()
    yield server
    server.stop()


def found(hub, q):
    answer = hub.get("/logs", q=q, format="ndjson")
    assert answer.status == 200, (q, hub.log()[-600:])
    return {json.loads(line)["app"] for line in answer.text.splitlines()}


def test_the_table_of_lines_and_queries(hub):
    answers, wrong, n = {}, [], 0
    for line, queries in read_cases():
        for q, expected in queries:
            if q not in answers:
                answers[q] = found(hub, q)
            n += 1
            if (line["app_name"] in answers[q]) != expected:
                wrong.append((line["message"], q, "missed" if expected else "found"))
    assert n >= 150 and wrong == []


def test_a_database_of_locale_c_finds_the_same(cluster, lines):
    """The hub's words do not depend on the locale: all tsvectors are the same."""
    connection = psycopg2.connect(cluster.url())
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE observ_c OWNER observ_admin TEMPLATE template0 "
                       "ENCODING UTF8 LOCALE 'C'")
    cluster.install("observ_c")
    other = Database(cluster, "observ_c")
    try:
        for row in lines.query("SELECT level, logger, message, context::text, search::text FROM log_entries"):
            assert other.one("SELECT words(%s, %s, %s, %s::jsonb)::text", *row[:4]) == row[4], row[2]
    finally:
        other.drop()


STRANGE = {
    # query: (what the page says it understood, or the beginning of that; what it notes)
    "NOT NOT a": ('words "a"', None), "((a) (b": ('words "a" and words "b"', "has no ) at its end"),
    "a))": ('words "a))"', None), "APP:a Level:WARN": ('application is "a" and level WARNING', None),
    "level>=warn": ("level WARNING or ERROR or CRITICAL", None), "level:WARN": ("level WARNING", None),
    "app:a,b": ('application is "a,b"', None), "app:": ('words "app:"', None),
    'app:""': ('application is ""', None), "OR AND NOT -": ('not words "-"', "OR has nothing before it"),
    "AND": ('the text "AND"', "is searched as"), "NOT": ('the text "NOT"', "NOT is searched as text"),
    "()": ('the text "()"', "() is searched as text"), "-(": ('the text "-("', "-( is searched as text"),
    "x" * 6000: ('words "xxx', "longer than 4096 bytes"),
    "ab " * 1000: ('words "ab"', "more than 32 terms"),
    "(" * 1000 + "a" + ")" * 1000: ('words "(((', "within more than 8 groups"),
    "NOT " * 1000 + "a": ('words "a"', None), "-" * 1000 + "a": ('words "a"', None),
    "a OR " * 500: ('words "a" or words "a"', "more than 32 terms"), "\x01 \x1b[0m \x7f": ("words", None),
    "ctx.": ('words "ctx."', None), "ctx.=1": ('words "ctx.=1"', None), 'ctx.""=1': ("", None),
    "ctx.a=": ('words "ctx.a="', None), "ctx.a>": ('words "ctx.a>"', None),
    "ctx.a>1e308": ('context a above "1e308"', None),
    "ctx.a>" + "9" * 300: ("context a above", "is too long"),
    "ctx.a<-1e99999": ('context a below "-1e99999"', None), "ctx.a>1e": ("context a above", None),
    "ctx.a>0x10": ("words", "is compared with neither"), "ctx.a>9999-99-99": ("context a above", None),
    "ctx.a>=2026-02-30T25:61:00Z": ("context a at least", None), "app>a": ("words", "cannot be compared"),
    "level>banana": ("words", "names no level"), "level:": ('words "level:"', None),
    "ctx.a!=": ("words", None), '"': ('the text """', "is searched as text"),
    '""': ('the text """"', "is searched as text"), "a:*": ('words "a:*"', None),
    "\\": ('words "\\"', None), "\u202e\u0301": ("words", None),
    "\ud83c\udff3\ufe0f\u200d\ud83c\udf08": ("words", None), "%00%": ("words", None),
    "a | | b": ('words "a" or words "b"', "has nothing before it"),
    "ctx.a.b.c.d.e.f.g.h=1": ("context", None),
}


@pytest.mark.parametrize("q", STRANGE, ids=lambda q: q[:24])
def test_a_strange_query_is_no_error_and_the_page_says_how_it_was_understood(hub, q):
    understood, note = STRANGE[q]
    q = q.encode("utf-16", "surrogatepass").decode("utf-16")
    page = hub.get("/logs", q=q, counts="no")
    assert page.status == 200 and hub.get("/logs", q=q, format="json").status == 200
    said, noted = (html.unescape(re.search(p, page.text, re.S)[1]) if re.search(p, page.text, re.S) else ""
                   for p in (r'understood">Lines with (.*?)\.</p>', r'"note" role="status">(.*?)\.</p>'))
    assert said.startswith(understood) and (said or noted), (said[:200], noted)
    assert noted == "" if note is None else note in noted, (said[:200], noted)


ODD = ["a b", "q\"v", "back\\slash", "(x)", "x*", "*", "=", "a=b", "a:b", "", "名前", "-1", "null", "OR", "<b>",
       "a&b=c", "'", "|", "#%+"]


class Links(HTMLParser):
    """The + and - links of fields: (field, "only" or "not") and where they lead."""

    def __init__(self, text):
        super().__init__()
        self.found = {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        label, href = (dict(attributes).get(name) or "" for name in ("aria-label", "href"))
        if tag == "a" and label.startswith(("only", "not")):
            which, _, field = label.replace(" with", "", 1).partition(" this ")
            self.found[field, which] = href


@pytest.mark.parametrize("q", ["odd", "odd OR other", 'odd "open'])
def test_the_links_of_the_page_find_their_line_again(hub, lines, q):
    odd = {"app_name": "(odd) OR*", "level": "INFO", "logger": 'the "odd" logger', "message": 'odd "open',
           "context": {f"k{v}": v for v in ODD} | {"n": 1.50, "t": True, "z": None,
                                                   "k8s": {"app.io/name": {"a.b": "deep"}, "v1.2": 3}}}
    insert(lines, odd)
    try:
        line = next(row for row in hub.get("/logs", q=q, format="json").json["lines"]
                    if row["app"] == odd["app_name"])
        links = Links(hub.get("/logs/line", id=line["id"], at=line["timestamp"], q=q, list="yes").text).found
        assert len([f for f, which in links if which == "only"]) >= len(ODD) + 7
        assert {("a.b", "only"), ("a.b", "not"), ("v1.2", "only")} <= links.keys()
        for (field, which), href in links.items():
            apps = {row["app"] for row in hub.get(href + "&format=json").json["lines"]}
            assert (odd["app_name"] in apps) == (which == "only"), (field, which, href)
    finally:
        lines.query("DELETE FROM log_entries WHERE app_name = %s", odd["app_name"])


def test_facets_of_keys_with_dots_find_their_lines_again(hub, lines):
    """Each value of each facet, with and without it; keys with dots at the top and within an object."""
    context = {"k8s": {"app.io/name": "web", "plain": 1}, "a.b": {"c": "x", "d.e": True}, "f.g": 2}
    for app, given in (("dotted", context), ("bare", {"other": 1})):
        insert(lines, {"app_name": app, "level": "INFO", "message": "dots in keys", "context": given})
    try:
        facets = {f["key"]: f["values"] for f in hub.get("/logs", q='"dots in keys"', format="json").json[
            "context_facets"]}
        assert {"k8s.app.io/name", "k8s.plain", "a.b.c", "a.b.d.e", "f.g"} <= facets.keys()
        for key, (value, *_) in facets.items():
            for sign, app in (("", "dotted"), ("-", "bare")):
                q = f'"dots in keys" {sign}ctx.{key}={value["value"]}'
                apps = {row["app"] for row in hub.get("/logs", q=q, format="json").json["lines"]}
                assert apps == ({app} if key != "other" else {"dotted", "bare"} - {app}), q
    finally:
        lines.query("DELETE FROM log_entries WHERE app_name IN ('dotted', 'bare')")
