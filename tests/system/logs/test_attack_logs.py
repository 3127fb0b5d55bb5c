"""An attacker with write access to the folder of logs tries to read files that only the agent may read: no
byte of them gets into the database, and the agent keeps following the honest files. The agent runs as root
here, which may read everything."""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from harness import wait_for

ATTACKER = 61234                                # a uid that nothing else has
SECRET = "only-root-may-know-this"

# Switch names that the agent opens to the secret and back, as fast as possible.
RACE = """
import os, sys
folder, secret = sys.argv[1:]
os.chdir(folder)
print("running", flush=True)
while True:
    for name, target in (("race.log", secret), ("swapped/app.log", None)):
        if target:
            os.symlink(target, "new")
            os.rename("new", name)              # the secret
            os.rename("race.honest", name)      # an honest file of his
            os.link(name, "race.honest")
        else:
            os.rename("swapped", "was")         # the folder
            os.symlink(os.path.dirname(secret), "swapped")
            os.unlink("swapped")
            os.rename("was", "swapped")
"""


@pytest.fixture
def place():
    """place/logs belongs to the attacker, place/secret/app.log to root alone."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be somebody else")
    folder = Path(tempfile.mkdtemp(prefix="obs-"))
    folder.chmod(0o755)
    (folder / "logs" / "swapped").mkdir(parents=True)
    (folder / "secret").mkdir()
    (folder / "secret" / "app.log").write_text(f"{SECRET}\n" * 10)
    (folder / "secret" / "app.log").chmod(0o600)
    for name in ("race.honest", "swapped/app.log", "honest.log"):
        (folder / "logs" / name).write_text(f"honest line of {name}\n")
    for path in (folder / "logs").rglob("*"):
        os.chown(path, ATTACKER, ATTACKER)
    os.chown(folder / "logs", ATTACKER, ATTACKER)
    yield folder
    shutil.rmtree(folder)


def as_attacker(*command, **options):
    return subprocess.Popen(list(map(str, command)), user=ATTACKER, group=ATTACKER, extra_groups=[],
                            **options)


def plant(place):
    """Plants all other kinds of links out of the folder."""
    logs, secret = place / "logs", place / "secret" / "app.log"
    script = f"""cd {logs} && ln -s {secret} link.log && ln -s ../secret/app.log relative.log &&
        ln -s {secret.parent} folder && ln -s link.log twice.log && ln -s /proc/self/environ environ.log &&
        ln -s /dev/zero zero.log && mkfifo fifo.log &&
        ln -s {secret} app.log.1 && ln -s . here && ln -s {secret} honest.log.1"""
    assert as_attacker("sh", "-c", script).wait(60) == 0
    # with fs.protected_hardlinks=0 the attacker makes the hard link
    os.link(secret, logs / "hard.log")
    os.link(secret, logs / "honest.log.2")
    os.mknod(logs / "device.log", 0o20666, os.makedev(1, 5))


def honest_lines(db, name):
    return db.count("log_entries", "message = %s", f"honest line of {name}")


def test_planted_links_are_not_read(db, make_agent, place):
    plant(place)
    logs = place / "logs"
    agent = make_agent(db,
                       log_files=[str(logs / "*.log"), str(logs / "*" / "app.log"), str(logs / "link.log"),
                                  "/proc/self/environ"], environment={"AGENT_SECRET": SECRET}).start()
    wait_for(lambda: honest_lines(db, "honest.log") == 1 and honest_lines(db, "swapped/app.log") == 1,
             "the honest files are read")
    # the agent searches its folder for later files
    os.rename(logs / "honest.log", logs / "honest.log.3")
    (logs / "honest.log").write_text("honest line of another\n")
    os.chown(logs / "honest.log", ATTACKER, ATTACKER)
    wait_for(lambda: honest_lines(db, "another") == 1, "the new honest file is read")
    troubles = {Path(t["path"]).name: t["why"] for t in agent.status()["tail"]["troubles"]}
    for name in ("link.log", "relative.log", "twice.log", "environ.log"):
        assert "does not own: not followed" in troubles[name] or "not a regular file" in troubles[name], \
            troubles
    assert "hard links" in troubles["hard.log"]
    assert "holds no log files" in troubles["environ"]
    assert "not a regular file" in troubles["fifo.log"] and "not a regular file" in troubles["device.log"]
    said = agent.said()
    assert said.count("/hard.log: the file has 3 names") == 1, "said once, with the reason"
    doctor = agent.run("doctor")
    assert doctor.returncode == 1 and "hard.log: the file has 3 names (hard links)" in doctor.stdout
    assert db.count("log_entries", "message LIKE %s OR context::text LIKE %s", f"%{SECRET}%",
                    f"%{SECRET}%") == 0
    assert db.count("log_entries") == 3


def test_names_that_change_between_check_and_open(db, make_agent, place):
    logs = place / "logs"
    race = as_attacker(sys.executable, "-c", RACE, logs, place / "secret" / "app.log", stdout=subprocess.PIPE,
                       text=True)
    assert race.stdout.readline() == "running\n"
    agent = make_agent(db, log_files=[str(logs / "race.log"), str(logs / "swapped" / "app.log"),
                                      str(logs / "honest.log")]).start()
    try:
        wait_for(lambda: honest_lines(db, "honest.log") == 1, "the honest file is read")
        for i in range(8):                     # each rotation makes the agent look at once
            with open(logs / "honest.log", "a") as f:
                f.write(f"honest line of {i}\n")
            os.rename(logs / "honest.log", logs / f"honest.log.{i}")
            (logs / "honest.log").touch()
            wait_for(lambda i=i: honest_lines(db, i) == 1, f"line {i}")
        assert race.poll() is None, "the attacker is still at it"
    finally:
        race.kill()
        race.wait()
    assert db.count("log_entries", "message LIKE %s", f"%{SECRET}%") == 0
    assert agent.running()
