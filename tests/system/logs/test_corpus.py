"""Files of 108 real loggers (tests/corpus): each record's place, time, level, logger and message, as its
logger meant them."""
import json
import shutil
from datetime import datetime, timedelta

import pytest
from harness import TOP, Agent

CORPUS = TOP / "tests/corpus"
EXPECTED = json.loads((CORPUS / "expected.json").read_text(encoding="utf-8"))
NEAR = timedelta(milliseconds=1.1)
ROWS = """SELECT regexp_replace(s.path, '.*/', ''), e.stream_offset, e.timestamp AT TIME ZONE 'UTC', e.level,
          e.logger, e.message
          FROM log_entries e JOIN log_streams s USING (vps_name, app_name, stream_id)"""

# What no reader can know from the file, or where we read otherwise on purpose.
KNOWN = {
    ("tslog-pretty.log", "time"): "UTC that is written without a zone",
    ("winston-default.log", "message"): "an object without a text keeps the line as its message",
    ("pino-pretty.log", "record"): "a level of the application's own, USERLVL",
}
# Lines with a time and no date are of the day on which they are read.
WITHOUT_DATE = {"glib.log", "pino-pretty.log"}
DAY = timedelta(days=1)


def read_corpus(cluster, folder):
    """{file: {offset: row}} after an agent has read all files."""
    logs = folder / "logs"
    shutil.copytree(CORPUS / "logs", logs)
    db = cluster.new_database()
    (folder / "run").mkdir()
    agent = Agent(folder, folder / "run", "corpus",
                  {"enabled": True, "postgres_url": db.url(), "vps_name": "web-1",
                   "log_files": [f"{logs}/*.log"]}, {"TZ": "Asia/Kolkata"})
    records = sum(len(r) for r in EXPECTED.values())
    agent.start()
    db.wait(f"SELECT count(*) >= {records - len(KNOWN)} AND max(received_at) < clock_timestamp() - interval "
            "'3 s' FROM log_entries")
    assert agent.stop() == 0
    found = {}
    for file, offset, time, level, logger, message in db.query(ROWS):
        found.setdefault(file, {})[offset] = (time, level, logger, message)
    db.drop()
    return found


@pytest.fixture(scope="module")
def rows(cluster, tmp_path_factory):
    return read_corpus(cluster, tmp_path_factory.mktemp("corpus"))


def record_ends(records):
    """Where the next record begins, for each."""
    return [r["offset"] for r in records[1:]] + [float("inf")]


def is_near(time, wanted, dated):
    off = abs(time - datetime.fromisoformat(wanted.rstrip("Z")))
    return off <= NEAR or (not dated and min(off % DAY, DAY - off % DAY) <= NEAR)


def judge(want, row, whole, dated=True):
    """What of a record is not as it should be."""
    if row is None or not whole:
        yield "record"
    if row is None:
        return
    time, level, logger, message = row
    if want["time"] and not is_near(time, want["time"], dated):
        yield "time"
    if want["level"] and level not in want["level"].split("/"):
        yield "level"
    if want["kind"] == "json":
        if message != want["message"] if want["message"] is not None else message == "":
            yield "message"
        if want["logger"] and logger != want["logger"]:
            yield "logger"


@pytest.mark.parametrize("file", sorted(EXPECTED))
def test_records_of(file, rows):
    records, mine = EXPECTED[file], rows.get(file, {})
    wrong = []
    for record, end in zip(records, record_ends(records)):
        whole = not any(record["offset"] < offset < end for offset in mine)
        wrong += [(record["offset"], what, record.get(what), mine.get(record["offset"]))
                  for what in judge(record, mine.get(record["offset"]), whole, file not in WITHOUT_DATE)
                  if (file, what) not in KNOWN]
    assert wrong == []
    assert set(mine) <= {r["offset"] for r in records}, "a row begins where no record begins"


def test_every_known_difference_is_one(rows):
    """What is read rightly by now leaves the list."""
    for file, what in KNOWN:
        records, mine = EXPECTED[file], rows.get(file, {})
        assert any(what in judge(r, mine.get(r["offset"]), not any(r["offset"] < o < end for o in mine))
                   for r, end in zip(records, record_ends(records))), (file, what)
