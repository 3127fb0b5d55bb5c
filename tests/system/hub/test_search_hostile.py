"""The conditions of a search are SQL text: whatever a query holds, it stays a quoted constant."""
import itertools
import json

import psycopg2
import pytest

from hub_server import Hub

LOGIN = "t_search_hostile"
VALUES = ["'", "''", "\\", "\\'", "'; DROP TABLE observ.log_entries; --", "') OR true --", "$1", "$$", "$a$",
          "%L", "%s%I%1$s", '"', "\u2019", "\u02bc", "\uff07", "\u0000", "E'\\''", "a\\", "x' & 'y", ":*",
          "\n", "*/", "'" * 300, "\\" * 300, "a'b\\" * 25000, "\U0010ffff", "\u202e'"]
OPERATORS = ["=", "=*", "^", "<", ">=", "= 0 OR true) --", "'", "", None]


@pytest.fixture(scope="module")
def database(cluster):
    made = cluster.new_database()
    made.query("INSERT INTO log_entries (timestamp, vps_name, app_name, level, message) "
               "VALUES (now(), 'v', 'a', 'INFO', 'plain')")
    made.query(f"DO $$ BEGIN CREATE ROLE {LOGIN} LOGIN IN ROLE observ_hub; "
               "EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    yield made
    made.drop()


def trees():
    for value in VALUES:
        operators = OPERATORS if len(value) < 100 else ["=", "^"]
        yield from ({"text": value, "quoted": quoted} for quoted in (True, False))
        yield {"levels": [value]}
        yield {"not": {"text": value, "quoted": True}}
        yield from ({"column": column, "op": op, "value": value}
                    for column, op in itertools.product(["app_name", "logger", value], operators))
        yield from ({"context": key, "op": op, "value": value}
                    for key, op in itertools.product(["k", "k.l", value], operators))


def refused(error):
    """What a tree that the hub never sends may give: no such column or operator, NUL, too many words."""
    return error.pgcode in ("42703", "22023", "22P05", "54001")


@pytest.mark.parametrize("conforming", ["on", "off"])
def test_no_value_leaves_its_quotes(database, conforming):
    connection = psycopg2.connect(database.url(LOGIN))
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SET escape_string_warning = off")
    cursor.execute(f"SET standard_conforming_strings = {conforming}")
    wrong, n = [], 0
    for tree in trees():
        n += 1
        negated = "not" in tree
        try:
            cursor.execute("SELECT count(id) FROM observ.found_lines(%s, now() - interval '1 h', now(), 9)",
                           (json.dumps(tree),))
            if cursor.fetchone()[0] != negated and tree.get("op") != "=*" and tree.get("value") != "":
                wrong.append((str(tree)[:80], "found"))
        except psycopg2.Error as error:
            if not refused(error):
                wrong.append((str(tree)[:80], error.pgcode, str(error)[:80]))
    assert n > 900 and wrong == [], wrong[:20]
    connection.close()


def test_what_a_caller_makes_does_not_change_the_search(database):
    """Temporary objects and the search_path of a session replace nothing."""
    connection = psycopg2.connect(database.url(LOGIN))
    connection.autocommit = True
    cursor = connection.cursor()
    for sql in ("CREATE TEMP TABLE log_entries (id int)",
                "CREATE FUNCTION pg_temp.word_list(text, boolean) RETURNS text[] LANGUAGE sql "
                "RETURN '{}'::text[]",
                "CREATE FUNCTION pg_temp.lower(text) RETURNS text LANGUAGE sql RETURN 'evil'",
                "CREATE FUNCTION pg_temp.format(text, text) RETURNS text LANGUAGE sql RETURN 'evil'",
                "SET search_path = pg_temp, pg_catalog, observ"):
        try:
            cursor.execute(sql)
        except psycopg2.errors.InsufficientPrivilege:
            pass                                # a hub's login may make no temporary objects: better still
    for text, found in (("plain", 1), ("PLAIN", 1), ("other", 0), ("!!!", 0)):
        cursor.execute("SELECT count(id) FROM observ.found_lines(%s, now() - interval '1 h', now(), 9)",
                       (json.dumps({"text": text, "quoted": False}),))
        assert cursor.fetchone()[0] == found, text
    connection.close()


def test_the_hub_answers_each_of_them(database, tmp_path):
    hub = Hub(tmp_path, database.url("postgres"), "fastcgi").start()
    try:
        for value in (v for v in VALUES if len(v) <= 3000 and "\0" not in v):
            for q in (value, f"app:{value}", f"ctx.{value}={value}", f'ctx."{value}">1', f"level:{value}"):
                answer = hub.get("/logs", q=q, format="json")
                assert answer.status == 200, q
                assert not q.strip() or answer.json["lines"] == [] or q.startswith("level"), q
    finally:
        hub.stop()
