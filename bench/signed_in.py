#!/usr/bin/python3
"""What a sign-in adds to a page of a CGI: CPU of PostgreSQL for a request on a new connection, in ms.

bench/signed_in.py [REQUESTS]. Each round asks the list of alerts on a connection of its own: as a hub that
needs no sign-in does, and with a session. Rows with a function that does nothing tell what is the least. CPU
time as the kernel counts it for the backend, so other load matters little; medians of the rounds. Ends with 1
if a session costs more than MOST_MS."""
import statistics
import sys
from contextlib import closing
from pathlib import Path

TOP = Path(__file__).parents[1]
sys.path[:0] = [str(TOP / "tests"), str(TOP / "tests/system"), str(TOP / "tests/system/hub")]
import psycopg2  # noqa: E402
import seed_fleet  # noqa: E402
from harness import Cluster, cluster_folder  # noqa: E402
from people import fill_with_tokens  # noqa: E402

MOST_MS = 1.0
HASH = "sha256('a token')"
ANONYMOUS = (TOP / "fleet_hub/base/open_alerts.sql").read_text()
SIGNED_IN = (TOP / "fleet_hub/base/authorize.sql").read_text().replace("$1", HASH).replace("$2", "'viewer'")
PAGE = (TOP / "fleet_hub/alerts/alerts.sql").read_text()
for number, value in enumerate(["'open'", "''", "''", "100", "NULL"], 1):
    PAGE = PAGE.replace(f"${number}", value)
BEGIN = """BEGIN READ ONLY; SET LOCAL statement_timeout = 10000; SET LOCAL jit = off;
    SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL search_path = observ, pg_catalog;
    SET LOCAL observ.address = '127.0.0.1'"""
FORMS = {"no sign-in": ANONYMOUS, "a session": SIGNED_IN}
EMPTY_BODIES = {"sql": "SELECT '{}'::json", "plpgsql": "BEGIN RETURN '{}'; END"}
for language in EMPTY_BODIES:
    FORMS[f"an empty function, {language}"] = (
        f"SELECT json_build_object('me', empty_{language}({HASH}, 'viewer'), 'open', open_alerts())")
EMPTY = """CREATE FUNCTION empty_{0}(bytea, text) RETURNS json LANGUAGE {0} STABLE SECURITY DEFINER
    SET search_path = observ, pg_catalog, pg_temp AS $$ {1} $$; GRANT EXECUTE ON FUNCTION empty_{0} TO hub"""


def prepare(cluster):
    database = cluster.new_database()
    fill_with_tokens(database)
    seed_fleet.seed(database, lines=200)
    database.query(f"""INSERT INTO sessions (token_hash, user_id, expires_at, address, browser)
        SELECT sha256({HASH}), user_id, now() + interval '7 days', '', '' FROM users LIMIT 1""")
    for name, body in EMPTY_BODIES.items():
        database.query(EMPTY.format(name, body))
    database.query("VACUUM ANALYZE")
    return database.url("hub")


def cost_ms(url, question):
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for sql in (BEGIN, question, PAGE):
            cursor.execute(sql)
        return int(Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text().split()[0]) / 1e6


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    with cluster_folder() as folder:
        cluster = Cluster(folder / "cluster")
        cluster.start("autovacuum=off")
        try:
            url = prepare(cluster)
            spent = [{name: cost_ms(url, question) for name, question in FORMS.items()}
                     for _ in range(rounds)]
        finally:
            cluster.stop()
    more = {name: statistics.median(one[name] - one["no sign-in"] for one in spent) for name in FORMS}
    for name in FORMS:
        print(f"{name:28} {statistics.median(one[name] for one in spent):6.2f} ms {more[name]:+6.2f}")
    sys.exit(more["a session"] > MOST_MS)


if __name__ == "__main__":
    main()
