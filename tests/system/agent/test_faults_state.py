"""Faults of the state folder, in which metrics, checks and gaps wait for the database: full, read-only,
removed."""
import contextlib
import shutil

import pytest
from harness import run, wait_for
from oracle import judge, record, rows_again
from writer import Writer

CHECKS = [{"url": f"http://127.0.0.1:1/{i}", "interval": 1, "timeout": 1, "retries": 0} for i in range(3)]


def results(agent):
    return agent.status()["check"]["results"]


def make_full(folder):
    with contextlib.suppress(OSError), open(folder / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))


def make_read_only(folder):
    run("mount", "-o", "remount,ro", folder)


@pytest.mark.parametrize("fault", [make_full, make_read_only, shutil.rmtree],
                         ids=["full", "read-only", "gone"])
def test_fault_15_state_folder(own_cluster, make_agent, tmp_path, small_disk, fault):
    """The database is away, too. Logs wait in their files, samples in memory; both arrive when it is back."""
    db, log = own_cluster.new_database(), tmp_path / "app.log"
    folder = tmp_path / "gone" if fault is shutil.rmtree else small_disk(1)
    folder.mkdir(exist_ok=True)
    fault(folder)
    agent = make_agent(db, log_files=[str(log)], health_checks=CHECKS,
                       environment={"STATE_DIRECTORY": str(folder)}).start()
    writer = Writer(log, 2000).start()
    rows_again(db)
    db.close()
    own_cluster.stop("fast")
    before = results(agent)
    wait_for(lambda: results(agent) > before + 6, "checks continue while the database is away")
    state = agent.status()
    assert not state["connected"] and state["pending"] >= 6
    agent.wait_said("state folder not usable")
    doctor = agent.run("doctor").stdout
    assert "FAIL the running agent can't write to its state folder (" in doctor
    assert fault is shutil.rmtree or f"FAIL state folder {folder} can't be written (" in doctor
    own_cluster.start()
    recovery = rows_again(db, 0)
    judge(15, db, writer.stop(), recovery=recovery, note="state folder full, read-only, gone")
    assert agent.stop() == 0
    assert state["lost"] == 0 and db.count("gaps") == 0
    made, distinct = db.query("SELECT count(*), count(DISTINCT (url, timestamp)) FROM health_checks")[0]
    assert made == distinct and made > before + 6
    assert db.count("health_checks", "backfill") >= 6


def test_fault_15_state_folder_removed_while_it_is_in_use(own_cluster, make_agent, tmp_path):
    """Then the agent is killed: it loses the samples in the folder, and reports that."""
    db, log = own_cluster.new_database(), tmp_path / "app.log"
    agent = make_agent(db, log_files=[str(log)], health_checks=CHECKS).start()
    writer = Writer(log, 2000).start()
    rows_again(db)
    db.wait("SELECT count(*) > 0 FROM health_checks")
    db.close()
    own_cluster.stop("fast")
    before = results(agent)
    wait_for(lambda: results(agent) > before + 6, "checks continue while the database is away")
    shutil.rmtree(agent.environment["STATE_DIRECTORY"])
    before = results(agent)
    wait_for(lambda: results(agent) > before + 3, "checks continue without the folder")
    agent.kill()
    own_cluster.start()
    agent.start()
    recovery = rows_again(db, 0)
    judge(15, db, writer.stop(), recovery=recovery)
    db.wait("SELECT count(*) = 1 FROM gaps WHERE kind = 'outbox_gone'")
    assert agent.stop() == 0


def test_fault_15_a_process_killed_in_an_outage_leaves_its_samples_to_the_next(own_cluster, make_agent,
                                                                               tmp_path):
    """Also when it is killed again and again: each sample of the outbox arrives once."""
    db = own_cluster.new_database()
    agent = make_agent(db, health_checks=CHECKS).start()
    db.wait("SELECT count(*) > 0 FROM health_checks")
    samples = "(SELECT count(*) FROM health_checks) + (SELECT count(*) FROM vps_metrics)"
    before = db.one(f"SELECT {samples}")
    db.close()
    own_cluster.stop("immediate")
    waiting = 0
    for _ in range(3):
        began = agent.status()["pending"]
        assert began >= waiting
        waiting = wait_for(lambda: (waits := agent.status()["pending"]) >= began + 4 and waits,
                           "samples wait")
        agent.kill()
        agent.start()
        agent.status()
    own_cluster.start()
    db.wait(f"SELECT {samples} >= %s", before + waiting, timeout=30)
    assert agent.stop() == 0
    made, distinct = db.query("SELECT count(*), count(DISTINCT (url, timestamp)) FROM health_checks")[0]
    assert made == distinct
    assert db.count("gaps") == 0


@pytest.mark.parametrize("how", ["pwritev:error=ENOSPC:when=3+2", "pwritev:error=EIO:when=2+3", "half"])
def test_fault_16_the_outbox_is_written_badly(own_cluster, make_agent, tmp_path, shim, how):
    """A write to the outbox fails (also where memory takes its place), or writes half of a record: what was
    made while the database was away comes, once, or is counted as lost."""
    db = own_cluster.new_database()
    agent = make_agent(db, health_checks=CHECKS)
    if how == "half":
        agent.environment |= {"LD_PRELOAD": shim, "SHIM_SHORT": "2"}
    under = [] if how == "half" else ["strace", "-D", "-f", "-qq", "-o", tmp_path / "trace",
                                      "-e", "trace=pwritev", "-e", f"inject={how}"]
    agent.start(under=under)
    db.wait("SELECT count(*) > 0 FROM health_checks")
    db.close()
    own_cluster.stop("fast")
    before = results(agent)
    wait_for(lambda: results(agent) > before + 9, "checks continue while the database is away", 15)
    made = results(agent)
    own_cluster.start()
    lost = "(SELECT coalesce(sum(lines), 0) FROM gaps WHERE kind = 'outbox_full')"
    db.wait(f"SELECT count(*) + {lost} >= %s FROM health_checks", made, timeout=30)
    assert agent.stop() == 0
    assert how == "half" or "(INJECTED)" in (tmp_path / "trace").read_text(errors="replace")
    rows, distinct = db.query("SELECT count(*), count(DISTINCT (url, timestamp)) FROM health_checks")[0]
    assert rows == distinct
    lost = int(db.one(f"SELECT {lost}"))
    assert how != "half" or lost == 0
    assert db.count("gaps", "kind <> 'outbox_full'") == 0
    record(row=16, seed=1, written=rows + lost, delivered=rows, in_gaps=lost, good=True,
           note="samples of the outbox")


def test_fault_16_the_outbox_is_read_badly(own_cluster, make_agent, tmp_path):
    """Reads of the outbox fail: each sample arrives once, or a gap says how many bytes could not be read."""
    db = own_cluster.new_database()
    agent = make_agent(db, health_checks=CHECKS).start()
    db.wait("SELECT count(*) > 0 FROM health_checks")
    db.close()
    own_cluster.stop("fast")
    wait_for(lambda: results(agent) > 20, "checks continue while the database is away", 20)
    agent.kill()
    files = list((agent.folder / "state").iterdir())
    waiting = sum(f.stat().st_size for f in files)
    agent.start(under=["strace", "-D", "-f", "-qq", *(part for f in files for part in ("-P", f)),
                       "-o", tmp_path / "trace", "-e",
                       "trace=pread64", "-e", "inject=pread64:error=EIO:when=9+9"])
    own_cluster.start()
    db.wait("SELECT count(*) > 0 FROM log_streams WHERE finished AND path = 'outbox'", timeout=30)
    assert agent.stop() == 0
    assert waiting > 0 and "(INJECTED)" in (tmp_path / "trace").read_text(errors="replace")
    rows, distinct = db.query("SELECT count(*), count(DISTINCT (url, timestamp)) FROM health_checks")[0]
    assert rows == distinct
    lost = int(db.one("SELECT coalesce(sum(bytes), 0) FROM gaps WHERE kind = 'outbox_damaged'"))
    assert db.count("gaps", "kind <> 'outbox_damaged'") == 0
    # The record of a failed check has about 130 bytes.
    assert lost > 0 or db.count("health_checks", "backfill") >= 18
    assert lost < waiting


def test_one_round_by_hand_does_not_disturb_the_service(own_cluster, make_agent):
    """--once while the service is stopped does not touch the samples in its state folder; while
    the agent runs, a second one by hand refuses, with and without --once: it would fence that agent off."""
    db = own_cluster.new_database()
    agent = make_agent(db, health_checks=CHECKS).start()
    db.wait("SELECT count(*) > 0 FROM health_checks", timeout=20)
    for option in (("--once",), ()):
        refused = agent.run(*option)
        assert refused.returncode == 69 and "is running" in refused.stderr and agent.running()
    db.close()
    own_cluster.stop("fast")
    wait_for(lambda: agent.status()["pending"] >= 12, "samples wait")
    waiting = agent.status()["pending"]
    agent.kill()
    own_cluster.start()
    before = db.count("health_checks", "backfill")
    by_hand = make_agent(db, health_checks=CHECKS)
    del by_hand.environment["STATE_DIRECTORY"]
    done = by_hand.run("--once", timeout=70)
    assert done.returncode == 0, done.stderr
    agent.start()
    db.wait("SELECT (SELECT count(*) FROM health_checks WHERE backfill) + (SELECT count(*) FROM vps_metrics "
            "WHERE backfill) >= %s",
            before + waiting, timeout=30)
    assert db.count("gaps") == 0
