"""log_files items as maps: what each setting does to the rows, across reloads, restarts and rotations."""
from harness import wait_for

ROWS = """SELECT level, to_char(timestamp AT TIME ZONE 'UTC', 'HH24:MI:SS'), message FROM log_entries
          ORDER BY stream_id, stream_offset"""
# Records whose further lines look like nothing: only the lines before them tell that they belong together.
RECORDS = ["2026-11-20 10:00:00,001 INFO one\n", "2026-11-20 10:00:01,001 INFO two\n",
           "2026-11-20 10:00:02,001 ERROR three\nthe cause\nis not indented\n",
           "2026-11-20 10:00:03,001 INFO four\n"]


def add(log, text):
    with open(log, "a", encoding="utf-8") as f:
        f.write(text)


def messages(db):
    return [row[0] for row in db.query("SELECT message FROM log_entries "
                                       "ORDER BY received_at, stream_id, stream_offset")]


def wait_rows(db, n):
    db.wait("SELECT count(*) >= %s FROM log_entries", n)
    assert db.count("log_entries") == n


def test_a_raw_file_keeps_each_line_as_it_stands(db, make_agent, log):
    lines = ['{"level":"ERROR","message":"boom"}', "2026-11-20 10:00:00 ERROR shop - no",
             "\tat a.B.c(B.java:1)", "\x1b[31mred\x1b[m"]
    log.write_text("".join(line + "\n" for line in lines))
    make_agent(db, log_files=[{"path": str(log), "format": "raw"}]).start()
    wait_rows(db, 4)
    assert [row[2] for row in db.query(ROWS)] == lines
    assert db.count("log_entries",
                    "level = 'INFO' AND logger IS NULL AND timestamp > now() - interval '5 min'") == 4


def test_a_configured_beginning_joins_what_nobody_could_learn(db, make_agent, log):
    log.write_text("== one\nx=1\n{\"a\": 2}\n2026-11-20 10:00:00 three\n== two\n== three\nmore\n")
    make_agent(db, log_files=[{"path": str(log), "multiline_start": "^=="}]).start()
    wait_rows(db, 3)
    assert [row[2] for row in db.query(ROWS)] == ["== one\nx=1\n{\"a\": 2}\n2026-11-20 10:00:00 three",
                                                  "== two", "== three\nmore"]


def test_times_without_a_zone_are_those_of_the_file(db, make_agent, tmp_path):
    for name in "abc":
        (tmp_path / name).write_text(f"2026-11-20 10:00:00 INFO {name}\n2026-11-20 10:00:00 UTC INFO {name} "
                                     "utc\n")
    make_agent(db, log_timezone="Asia/Kolkata",
               log_files=[str(tmp_path / "a"), {"path": str(tmp_path / "b"), "timezone": "Europe/Berlin"},
                          {"path": str(tmp_path / "c"), "timezone": "America/New_York"}]).start()
    wait_rows(db, 6)
    rows = {(row[2], row[1]) for row in db.query(ROWS)}
    assert rows == {("a", "04:30:00"), ("b", "09:00:00"), ("c", "15:00:00"),
                    ("a utc", "10:00:00"), ("b utc", "10:00:00"), ("c utc", "10:00:00")}


ACCESS = '10.0.0.1 - - [20/Nov/2026:10:00:00 +0000] "GET /%s HTTP/1.1" %d 12 "-" "curl"\n'


def test_a_reload_changes_how_an_open_file_is_read(db, make_agent, log):
    log.write_text(ACCESS % ("a", 404) + ACCESS % ("b", 502))
    agent = make_agent(db, log_files=[str(log)]).start()
    wait_rows(db, 2)
    assert [row[0] for row in db.query(ROWS)] == ["INFO", "ERROR"]
    common = {"enabled": True, "postgres_url": db.url(), "vps_name": "test"}
    for settings, level in (({"warn_4xx": True}, "WARNING"), ({"format": "raw"}, "INFO"),
                            ({"warn_4xx": True}, "WARNING")):
        agent.configure({**common, "log_files": [{"path": str(log), **settings}]})
        before, reloads = db.count("log_entries"), agent.said().count("configuration reloaded")
        agent.reload()
        wait_for(lambda n=reloads: agent.said().count("configuration reloaded") > n, "the reload")
        add(log, ACCESS % ("c", 404))
        wait_rows(db, before + 1)
        assert [row[0] for row in db.query(ROWS)][-1] == level


def test_records_are_the_same_after_a_restart_in_the_middle_of_the_file(db, make_agent, log):
    log.write_text("".join(RECORDS))
    agent = make_agent(db, log_files=[str(log)]).start()
    wait_rows(db, 4)
    assert agent.stop() == 0
    add(log, RECORDS[2])
    agent.start()
    wait_rows(db, 5)
    assert messages(db)[-1] == "three\nthe cause\nis not indented"


def test_the_hour_that_occurs_twice_goes_on_after_a_restart(db, make_agent, log):
    log.write_text("2026-10-25 02:50:00 INFO first\n2026-10-25 02:10:00 INFO second\n")
    agent = make_agent(db, log_files=[{"path": str(log), "timezone": "Europe/Berlin"}]).start()
    wait_rows(db, 2)
    assert agent.stop() == 0
    add(log, "2026-10-25 02:20:00 INFO second\n")
    agent.start()
    wait_rows(db, 3)
    assert [row[1] for row in db.query(ROWS)] == ["00:50:00", "01:10:00", "01:20:00"]


def test_files_do_not_share_the_order_of_their_times(db, make_agent, tmp_path):
    (tmp_path / "a.log").write_text("2026-10-25 02:50:00 INFO a\n2026-10-25 02:10:00 INFO a second\n")
    (tmp_path / "b.log").write_text("2026-10-25 02:10:00 INFO b\n")
    make_agent(db, log_timezone="Europe/Berlin", log_files=[str(tmp_path / "*.log")]).start()
    wait_rows(db, 3)
    times = {(row[2], row[1]) for row in db.query(ROWS)}
    assert times == {("a", "00:50:00"), ("a second", "01:10:00"), ("b", "00:10:00")}


def test_a_successor_is_read_by_its_own_first_lines(db, make_agent, log, tmp_path):
    """Its program may write otherwise now (an update, another LOG_FORMAT): with what was learnt of the old
    file, all lines of a new form would be one record. And a restart, which learns from the file alone, would
    read other records."""
    log.write_text("".join(RECORDS))
    agent = make_agent(db, log_files=[str(log)]).start()
    wait_rows(db, 4)
    log.rename(log.with_suffix(".log.1"))
    log.write_text("".join(f"level=info msg=line{i}\n" for i in range(5)))
    wait_rows(db, 9)
    assert messages(db)[-5:] == [f"line{i}" for i in range(5)]
    assert agent.stop() == 0


def test_a_rotated_file_keeps_its_settings(db, make_agent, log):
    log.write_text("== one\n== two\n")
    make_agent(db, log_files=[{"path": str(log), "multiline_start": "^=="}]).start()
    wait_rows(db, 2)
    old = log.with_suffix(".log.1")
    log.rename(old)
    log.write_text("== four\n")
    add(old, "== three\nx\n")
    wait_rows(db, 4)
    assert sorted(messages(db)) == ["== four", "== one", "== three\nx", "== two"]


def test_lines_of_past_years_are_stored_and_retention_drops_them(db, make_agent, log):
    """Their times are their own, however old: with a limit of lines per second, too, and with no partition
    for them."""
    log.write_text("".join(f"2021-03-{i % 28 + 1:02} 10:{i // 60 % 60:02}:{i % 60:02} INFO line {i}\n"
                           for i in range(10_000)))
    agent = make_agent(db, log_files=[str(log)], log_lines_per_second=100).start()
    wait_rows(db, 10_000)
    assert db.count("log_entries", "timestamp BETWEEN '2021-03-01Z' AND '2021-03-29Z'") == 10_000
    assert db.count("gaps") == 0
    db.query("SELECT maintain()")
    assert db.count("log_entries") == 0
    add(log, RECORDS[0].replace("2026-11-20", "2022-01-01"))
    wait_rows(db, 1)
    assert agent.stop() == 0
