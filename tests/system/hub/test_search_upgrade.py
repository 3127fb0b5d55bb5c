"""schema.sql makes the words of the lines anew that an older release stored, and then search finds them."""
import json

import pytest

from search_lines import insert

INDEXES = """
    DROP INDEX IF EXISTS log_entries_timestamp_idx, log_entries_vps_name_timestamp_idx,
        log_entries_app_name_timestamp_idx;
    CREATE INDEX log_entries_search_idx ON log_entries USING gin (search);
    CREATE INDEX log_entries_timestamp_idx ON log_entries ("timestamp" DESC);
    CREATE INDEX log_entries_app_name_timestamp_idx ON log_entries (app_name, "timestamp" DESC)"""
# A function that has other parameters now, in a part of schema.sql that comes after the words.
FUNCTION = """
    CREATE FUNCTION next_width(p_width interval, p_took interval, p_left interval) RETURNS interval
        LANGUAGE sql IMMUTABLE RETURN p_width;"""
# The column `search` of releases before this one, and what it needs.
FORMER = {
    "PostgreSQL's own words": """
        ALTER TABLE log_entries DROP COLUMN search CASCADE;
        CREATE FUNCTION long_context_text(p_context jsonb) RETURNS text LANGUAGE sql IMMUTABLE
            RETURN p_context::text;
        ALTER TABLE log_entries ADD COLUMN search tsvector GENERATED ALWAYS AS (
            to_tsvector('pg_catalog.simple'::regconfig,
                left(coalesce(logger || ' ', '') || message, 16384)) ||
            CASE WHEN context IS NULL THEN ''::tsvector WHEN octet_length(context::text) <= 16384
            THEN jsonb_to_tsvector('pg_catalog.simple'::regconfig, context, '["string"]')
            ELSE to_tsvector('pg_catalog.simple'::regconfig, long_context_text(context)) END) STORED;""",
    "other words, without a version": """
        ALTER TABLE log_entries DROP COLUMN search CASCADE;
        CREATE OR REPLACE FUNCTION words(p_level text, p_logger text, p_message text, p_context jsonb)
            RETURNS tsvector LANGUAGE sql IMMUTABLE RETURN to_tsvector('simple', p_message);
        ALTER TABLE log_entries ADD COLUMN search tsvector
            GENERATED ALWAYS AS (words(level, logger, message, context)) STORED;""",
    "words of an older version": """
        CREATE OR REPLACE FUNCTION words(p_level text, p_logger text, p_message text, p_context jsonb)
            RETURNS tsvector LANGUAGE sql IMMUTABLE RETURN ''::tsvector;
        DROP INDEX log_entries_search_idx;
        COMMENT ON COLUMN log_entries.search IS 'words(), version 1';""",
}
LINE = {"app_name": "shop", "level": "ERROR", "logger": "com.example.OrderService",
        "message": "GET /v1/orders/12?x=y", "context": {"status": 503, "user_id": "u-7"}}
TREES = [{"text": "orders", "quoted": False}, {"text": "order", "quoted": False},
         {"context": "status", "op": "=", "value": "503"}, {"levels": ["ERROR"]},
         {"column": "app_name", "op": "=", "value": "shop"}]
FIND = "SELECT count(*) FROM found_lines(%s, now() - interval '1 day', now() + interval '1 day', 10)"


@pytest.fixture(params=FORMER.values(), ids=FORMER)
def former(cluster, request):
    """A database as an older release left it, with a line."""
    database = cluster.new_database()
    for statement in ("SET ROLE observ_owner", request.param + FUNCTION + INDEXES):
        database.query(statement)
    insert(database, LINE)
    database.query("RESET ROLE")
    yield database
    database.drop()


def indexes(database):
    return database.query("SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i "
                          "WHERE indrelid = 'log_entries'::regclass ORDER BY 1")


def test_lines_of_an_older_release_are_found_after_an_upgrade(cluster, former, db):
    former.close()
    cluster.install(former.name)
    for tree in TREES:
        assert former.one(FIND, json.dumps(tree)) == 1, tree
    assert indexes(former) == indexes(db)
    assert former.one("SELECT count(*) FROM v_logs") == 1
    written = former.one("SELECT xmin::text FROM log_entries")
    cluster.install(former.name)
    assert former.one("SELECT xmin::text FROM log_entries") == written, "a second run made the words again"
