"""Two people who write the same row of what belongs to alerts, or rows of one name, at the same time."""
import hashlib
import json
import threading

import people
import psycopg2
import pytest
from harness import wait_for

BODIES = {                      # of a new row, a change, another change
    "rule": ({"name": "raced", "metric": "cpu_percent", "warning": 90}, {"for_s": 60}, {"warning": 95}),
    "silence": ({"match": "server=raced", "ends_at": "2099-01-01T00:00:00Z", "comment": "x"},
                {"comment": "y"}, {"match": "server=other"}),
    "channel": ({"name": "raced", "kind": "webhook", "secrets": {"url": "https://example.com/"}},
                {"send_resolved": False}, {"is_active": False}),
    "inhibition": ({"name": "raced", "source": "a=b", "target": "c=d"}, {"equal": ["server"]},
                   {"source": "e=f"}),
    "window": ({"name": "raced", "start": "10:00", "duration_s": 3600, "time_zone": "UTC"},
               {"duration_s": 7200}, {"days": ["sat"]}),
    "heartbeat": ({"name": "raced", "every_s": 60}, {"grace_s": 10}, {"every_s": 120}),
}
TAKES_VERSION = ("rule", "silence", "channel")
NAMED = [kind for kind, bodies in BODIES.items() if "name" in bodies[0] and kind != "inhibition"]


@pytest.fixture(scope="module")
def database(cluster):
    one = cluster.new_database()
    people.fill_with_tokens(one)
    one.query("""WITH u AS (INSERT INTO users (email, role, created_by)
        VALUES ('second@example.com', 'admin', 'test') RETURNING user_id)
        INSERT INTO api_tokens (token_hash, user_id, name, role, expires_at)
        SELECT sha256(sha256('t_second')), user_id, 'test', 'admin', 'infinity' FROM u""")
    yield one
    one.drop()


class Writer:
    """A connection of the hub. save() gives the row, or the refusal as (SQLSTATE, DETAIL)."""

    def __init__(self, database, token):
        self.hash = hashlib.sha256(token).digest()
        self.connection = psycopg2.connect(database.url("hub"))

    def save(self, kind, id_, body, match=None):
        more = {"heartbeat": ["https://hub"]}.get(kind, [match] if kind in TAKES_VERSION else [])
        with self.connection.cursor() as cursor:
            try:
                cursor.execute(f"SELECT save_{kind}(%s, %s, %s{', %s' * len(more)})",
                               (self.hash, id_, json.dumps(body), *more))
                return cursor.fetchone()[0]
            except psycopg2.Error as error:
                return error.pgcode, error.diag.message_detail

    def behind(self, database, other, *save):
        """The other writer has written and not committed: what this one gets once it has."""
        got = []
        thread = threading.Thread(target=lambda: got.append(self.save(*save)), daemon=True)
        thread.start()
        wait_for(lambda: not thread.is_alive() or database.query(
            "SELECT 1 FROM pg_locks WHERE NOT granted AND pid = %s",
            self.connection.info.backend_pid), "it waits")
        other.connection.commit()
        thread.join()
        self.connection.commit()
        return got[0]


@pytest.fixture
def two(database):
    writers = [Writer(database, b"t_admin"), Writer(database, b"t_second")]
    yield writers
    for writer in writers:
        writer.connection.close()


def made(writer, kind, body):
    row = writer.save(kind, None, body)
    writer.connection.commit()
    return row[f"{kind}_id"]


@pytest.mark.parametrize("kind", BODIES)
def test_both_changes_of_a_row_hold(database, two, kind):
    one, other = two
    new, change, another = BODIES[kind]
    id_ = made(one, kind, {**new, "name": f"{kind} both"} if "name" in new else new)
    first = one.save(kind, id_, change)
    last = other.behind(database, one, kind, id_, another)
    assert isinstance(last, dict), last
    field = next(iter(change))
    assert last[field] == first[field] and last[next(iter(another))] != first[next(iter(another))], last


@pytest.mark.parametrize("kind", TAKES_VERSION)
def test_who_knows_an_old_version_is_told_so(database, two, kind):
    one, other = two
    new, change, another = BODIES[kind]
    id_ = made(one, kind, {**new, "name": f"{kind} old"} if "name" in new else new)
    one.save(kind, id_, change, '"1"')
    assert other.behind(database, one, kind, id_, another, '"1"')[0] == "OB412"


@pytest.mark.parametrize("kind", NAMED)
def test_a_name_that_is_taken_meanwhile_is_named(database, two, kind):
    one, other = two
    new = {**BODIES[kind][0], "name": f"{kind} name"}
    one.save(kind, None, new)
    code, detail = other.behind(database, one, kind, None, new)
    assert code == "OB422" and json.loads(detail)["errors"][0]["field"] == "name", (code, detail)
