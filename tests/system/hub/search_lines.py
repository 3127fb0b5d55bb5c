"""Log lines for the tests of the search, and the table of lines and queries in search_lines.txt."""
import json
from pathlib import Path

CASES = Path(__file__).parent / "search_lines.txt"
# The search's clock: each look at it takes a millisecond, so the time is up after the same lines everywhere.
# Workers of a parallel query can't set the clock: max_parallel_workers_per_gather must be 0.
CLOCK = """CREATE FUNCTION observ.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS $$
	BEGIN
		RETURN now() + interval '1 ms' * set_config('test.looks', (1 + coalesce(nullif(
			current_setting('test.looks', true), ''), '0')::int)::text, false)::int;
	END $$"""
COLUMNS = ("app_name", "level", "logger", "message", "context")


def text_of(written):
    return json.loads(written[1:]) if written.startswith("\\") else written


def read_cases():
    """(line, [(query, found)]): a line is a dictionary of columns."""
    cases = []
    for row in CASES.read_text().split("\n"):
        if row.startswith("\t"):
            cases[-1][1].append((text_of(row[3:]), row[1] == "+"))
        elif row and row[0] != "#":
            line = json.loads(row) if row[0] == "{" else {"message": text_of(row)}
            cases.append(({"app_name": f"l{len(cases)}", "level": "INFO", **line}, []))
    return cases


def insert(database, line):
    values = [json.dumps(line[c]) if c == "context" and c in line else line.get(c) for c in COLUMNS]
    database.query("INSERT INTO log_entries (timestamp, vps_name, app_name, level, logger, message, context) "
                   "VALUES (now(), 'v', %s, %s, %s, %s, %s)", *values)
