"""A stream that is no file: its source goes on from a cursor, beside a log that is followed."""
from harness import BUILD, wait_for

LINES = 600


TOY = BUILD / "tests/toy_agent"         # with a toy in place of the source of metrics (toy_source.c)


def as_toy(agent):
    command = agent.command
    agent.command = lambda *arguments: [str(TOY), *command(*arguments)[1:]]
    return agent


def journal(db):
    return db.query("SELECT source, cursor, position, finished FROM log_streams WHERE stream_id = 4242")


def test_a_stream_with_a_cursor_survives_kills_beside_a_log(db, make_agent, tmp_path):
    log = tmp_path / "app.log"
    agent = as_toy(make_agent(db, log_files=[str(log)], environment={"TOY_LINES": str(LINES)}))
    for kill in range(4):
        with open(log, "a") as f:
            f.writelines(f"line {kill} {i}\n" for i in range(50))
        agent.start()
        db.wait("SELECT count(*) > %s FROM log_entries WHERE logger = 'toy'", kill * 40)
        agent.kill()
    if log.exists():
        # what the tail knows is gone is told a gap; a journal is not
        log.rename(tmp_path / "app.log.1")
        log.write_text("the last line\n")
    agent.start()
    db.wait("SELECT count(*) >= %s FROM log_entries WHERE logger = 'toy'", LINES)
    db.wait("SELECT count(*) > 0 FROM log_entries WHERE message = 'the last line'")
    agent.stop()
    rows = [message for message, in db.query("SELECT message FROM log_entries WHERE logger = 'toy' "
                                             "ORDER BY stream_offset")]
    assert rows == [f"entry {i}" for i in range(LINES)]
    assert db.count("log_entries", "message LIKE 'line %%'") == 200
    assert journal(db) == [("journal", f"n={LINES}", LINES, False)] and db.count("gaps") == 0


def test_a_stream_that_no_source_knows_is_left_alone(db, make_agent, tmp_path):
    """Of a later version, say: the tail does not take it for a file that is missing, nor the outbox for its
    own."""
    log = tmp_path / "app.log"
    log.write_text("one\n")
    agent = make_agent(db, log_files=[str(log)]).start()
    db.wait("SELECT count(*) > 0 FROM log_entries")
    agent.stop()
    db.query("""INSERT INTO log_streams SELECT vps_name, app_name, n, 'outbox', log_streams.file_id,
                head_hash, tail_hash, 9, n = 3,
                now() - interval '2 days', CASE n WHEN 1 THEN 'journal' ELSE 'later' END, 'c' || n
                FROM log_streams, generate_series(1, 3) n WHERE source = 'tail'""")
    of_others = ("SELECT stream_id, source, cursor, position, finished, updated_at FROM log_streams "
                 "WHERE stream_id < 4 ORDER BY 1")
    before = db.query(of_others)
    for line in ("two", "three"):
        with open(log, "a") as f:
            f.write(line + "\n")
        agent.start()
        db.wait("SELECT count(*) > 0 FROM log_entries WHERE message = %s", line)
        agent.stop()
    assert len(before) == 3 and db.query(of_others) == before
    assert db.count("log_entries") == 3 and db.count("gaps") == 0
    wait_for(lambda: db.count("log_streams", "source = 'outbox'") >= 1, "the outbox has its own")
