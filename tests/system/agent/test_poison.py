"""R6: a record that the server refuses stops nothing; the agent finds it and keeps it with its bytes and the
reason."""
import json
import os
import signal
import struct
import time

from writer import Writer


def refuse(db, table, condition):
    """The database refuses rows for which the condition holds (23514), like a value that the parser should
    not have passed."""
    db.query(f"ALTER TABLE {table} ADD CONSTRAINT poison CHECK (NOT ({condition}))")


def test_refused_lines_go_to_rejects_and_all_others_arrive(db, make_agent, tmp_path):
    log = tmp_path / "app.log"
    refuse(db, "log_entries", "(context->>'n')::int IN (0, 777, 778, 4999, 12345, 19999)")
    agent = make_agent(db, log_files=[str(log)])
    writer = Writer(log, rate=20000)
    for _ in range(20):
        writer.write_some(1000)
    agent.start()
    db.wait("SELECT count(*) = 6 FROM rejects", timeout=60)
    db.wait("SELECT count(*) = 19994 FROM log_entries", timeout=30)
    assert db.one("SELECT count(DISTINCT (stream_id, stream_offset)) FROM log_entries") == 19994
    rejects = db.query("SELECT convert_from(raw, 'UTF8')::jsonb->'context'->>'n', sqlstate, reason "
                       "FROM rejects ORDER BY stream_offset")
    assert [r[0] for r in rejects] == ["0", "777", "778", "4999", "12345", "19999"]
    assert all(r[1] == "23514" and "poison" in r[2] for r in rejects)
    lines = log.read_bytes()
    for offset, raw in db.query("SELECT stream_offset, raw FROM rejects"):
        assert lines[offset:offset + len(raw)] == bytes(raw) and lines[offset + len(raw)] == 10
    writer.write_some(1000)
    db.wait("SELECT count(*) = 20994 FROM log_entries")
    assert db.count("gaps") == 0
    assert agent.stop() == 0


def test_refused_samples_go_to_rejects_and_lines_arrive_meanwhile(db, make_agent, tmp_path):
    log = tmp_path / "app.log"
    refuse(db, "vps_metrics", "backfill IS NOT NULL")
    log.write_text("".join(f"line {i}\n" for i in range(100)))
    agent = make_agent(db, log_files=[str(log)]).start()
    db.wait("SELECT count(*) = 100 FROM log_entries", timeout=30)
    db.wait("SELECT count(*) >= 1 FROM rejects", timeout=30)
    reason, raw = db.query("SELECT reason, convert_from(raw, 'UTF8') FROM rejects LIMIT 1")[0]
    assert "poison" in reason and raw.startswith(",")
    db.query("ALTER TABLE vps_metrics DROP CONSTRAINT poison")
    db.wait("SELECT count(*) >= 1 FROM vps_metrics")
    assert agent.stop() == 0


def test_a_kill_while_halving_loses_and_doubles_nothing(db, make_agent, tmp_path):
    log = tmp_path / "app.log"
    refuse(db, "log_entries", "(context->>'n')::int % 1000 = 500")
    agent = make_agent(db, log_files=[str(log)])
    writer = Writer(log, rate=1)
    for _ in range(8):
        writer.write_some(1000)
    for n in (1, 4, 7):
        agent.start()
        db.wait("SELECT count(*) >= %s FROM rejects", n, timeout=30)
        agent.process.send_signal(signal.SIGKILL)
        agent.process.wait()
    agent.start()
    db.wait("SELECT count(*) = 8 FROM rejects", timeout=60)
    db.wait("SELECT count(*) = 7992 FROM log_entries", timeout=30)
    assert db.one("SELECT count(DISTINCT (context->>'n')::int) FROM log_entries") == 7992
    assert db.one("SELECT count(DISTINCT stream_offset) FROM rejects") == 8
    assert db.count("gaps") == 0


def test_lines_that_are_read_again_are_no_flood(db, make_agent, tmp_path):
    """Fifty lines a second, a limit of a hundred: halving reads lines several times, but drops none."""
    log = tmp_path / "app.log"
    refuse(db, "log_entries", "(context->>'n')::int = 777")
    began = time.time() - 600
    log.write_text("".join(json.dumps({"ts": began + n / 50, "message": "m", "context": {"n": n}}) + "\n"
                           for n in range(1000)))
    make_agent(db, log_files=[str(log)], log_lines_per_second=100).start()
    db.wait("SELECT count(*) = 999 FROM log_entries", timeout=30)
    assert (db.count("rejects"), db.count("gaps")) == (1, 0)


def test_a_gap_in_a_batch_that_is_refused_comes_again(db, make_agent, tmp_path):
    log, other = tmp_path / "app.log", tmp_path / "other.log"
    refuse(db, "log_entries", "message = 'bad'")
    log.write_text("one\n" + "x" * 500)
    other.write_text("two\n")
    make_agent(db, log_files=[str(log), str(other)]).start()
    db.wait("SELECT count(*) = 2 FROM log_entries")
    db.wait("SELECT count(*) = 1 FROM agents WHERE last_seq >= 1")
    os.truncate(log, 4)
    with open(other, "a") as f:
        f.write("bad\n")
    db.wait("SELECT count(*) = 1 FROM rejects", timeout=30)
    db.wait("SELECT count(*) = 1 FROM gaps WHERE kind = 'truncated' AND bytes = 500")


def test_a_sample_with_an_impossible_time_stops_nothing(db, make_agent, tmp_path):
    """The clock showed 1999 when the sample was taken: its row is refused, but the row about the refusal must
    not be."""
    log = tmp_path / "app.log"
    log.write_text("one\n")
    agent = make_agent(db, log_files=[str(log)])
    row = b',"u",null,null,true,null,null,null,null,null,null,null,1'
    rest = struct.pack("<IqIHBB", len(row), 915148800000000, 0, 0x4F52, 1, 0) + row
    name = f"outbox-{1:016x}-{77:016x}-{0:016x}"
    (tmp_path / "agent1" / "state" / name).write_bytes(struct.pack("<I", crc32c(rest)) + rest)
    agent.start()
    db.wait("SELECT count(*) = 1 FROM rejects", timeout=20)
    db.wait("SELECT count(*) = 1 FROM log_entries", timeout=20)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
