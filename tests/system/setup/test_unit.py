"""The unit under a real systemd: a minimal Debian 12, booted with systemd-nspawn, with `make install` in it.
"""
import json
import os
import re
import time

import pytest
from harness import wait_for
from machine import booted, make_install
from oracle import judge, rows_again
from writer import Writer


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    with booted(tmp_path_factory.mktemp("machine"), make_install) as machine:
        machine.run("systemd-sysusers")
        yield machine


@pytest.fixture
def my_app(machine):
    """The folder of application my-app, whose agent runs with the usual configuration."""
    folder = machine.deploy("my-app")
    if machine.show("my-app", "ActiveState") == "active":
        machine.systemctl("reload", "obs-agent@my-app")
    else:
        machine.start("my-app")
    return folder


def test_enable_now_brings_rows_and_lines(machine):
    folder = machine.deploy("my-app")
    machine.systemctl("enable", "--now", "obs-agent@my-app")
    assert machine.show("my-app", "ActiveState") == "active"
    machine.db.wait("SELECT count(*) > 0 FROM vps_metrics WHERE app_name = 'my-app'")
    assert machine.show("my-app", "StatusText") != ""
    with open(folder / "logs/app.log", "a", encoding="utf-8") as log:
        log.write('{"timestamp":"2026-01-01T00:00:00.000000Z","level":"ERROR","logger":"t","message":"by '
                  'group adm"}\n')
    machine.db.wait("SELECT count(*) = 1 FROM log_entries WHERE app_name = 'my-app' "
                    "AND message = 'by group adm'")


@pytest.mark.usefixtures("my_app")
def test_metrics_of_the_machine_pass_the_sandbox(machine):
    """The hardening must not hide files that the agent reads."""
    row = machine.db.wait("""SELECT row_to_json(m) FROM vps_metrics m WHERE app_name = 'my-app'
                              AND cpu_percent IS NOT NULL ORDER BY timestamp DESC LIMIT 1""", timeout=25)
    missing = [k for k in ("memory_mb", "disk_gb", "load_avg_1m", "uptime_s", "processes", "tcp_connections",
                           "cpu_count")
               if row[k] is None]
    assert missing == []


@pytest.mark.usefixtures("my_app")
def test_process_has_no_rights(machine):
    status = machine.run("cat", f"/proc/{machine.show('my-app', 'MainPID')}/status").stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(fields["CapEff"], 16) == 0 and int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"
    assert fields["Uid"].split()[0] != "0"


@pytest.mark.usefixtures("my_app")
def test_reload_keeps_the_process_and_takes_the_new_configuration(machine):
    pid = machine.show("my-app", "MainPID")
    folder = machine.deploy("my-app", log_files=["/opt/deployments/{app}/logs/app.log",
                                                 "/opt/deployments/{app}/logs/two.log"])
    (folder / "logs/two.log").write_text("INFO second file\n")
    machine.systemctl("reload", "obs-agent@my-app")
    machine.db.wait("SELECT count(*) = 1 FROM log_entries WHERE app_name = 'my-app' "
                    "AND message ~ 'second file'")
    assert machine.show("my-app", "ActiveState") == "active"
    assert machine.show("my-app", "MainPID") == pid


@pytest.mark.usefixtures("my_app")
def test_reload_of_a_broken_configuration_changes_nothing(machine):
    pid = machine.show("my-app", "MainPID")
    folder = machine.deploy("my-app", text="monitoring:\n  vps_name: machine\n  collection_intervall: 10\n  "
                                           "log_files: [a.log]\n")
    assert machine.systemctl("reload", "obs-agent@my-app", check=False).returncode != 0
    for place in ("3:3: ", "4:15: "):
        assert f"config.yml:{place}" in machine.said("my-app"), \
            "each mistake is in the journal when systemctl returns"
    by_hand = machine.run("obs_agent", "reload", "--app", "my-app", check=False)
    assert by_hand.returncode == 78 and re.search(r"config\.yml:3:3: .*\n.*config\.yml:4:15: ",
                                                  by_hand.stderr)
    for_others = machine.run("setpriv", "--reuid=nobody", "--clear-groups", "obs_agent", "reload",
                             "--app", "my-app", check=False)
    assert for_others.returncode == 69 and "Permission denied" in for_others.stderr
    wait_for(lambda: "the last reload was refused: /opt/deployments/my-app/config.yml:3:3: "
             in machine.show("my-app", "StatusText"), "the refusal in systemctl status")
    assert machine.show("my-app", "ActiveState") == "active"
    assert machine.show("my-app", "MainPID") == pid
    with open(folder / "logs/app.log", "a", encoding="utf-8") as log:
        log.write("INFO still followed\n")
    machine.db.wait("SELECT count(*) = 1 FROM log_entries WHERE message ~ 'still followed'")
    machine.deploy("my-app")
    machine.systemctl("reload", "obs-agent@my-app")
    wait_for(lambda: "refused" not in machine.show("my-app", "StatusText"), "a status without the refusal")


@pytest.mark.usefixtures("my_app")
@pytest.mark.parametrize("change", [{"vps_name": "another"}, {"enabled": False},
                                    {"postgres_url": "host=/run/database user=agents dbname=x"}])
def test_reload_of_what_needs_a_restart_fails_and_says_so(machine, change):
    machine.deploy("my-app", **change)
    assert machine.systemctl("reload", "obs-agent@my-app", check=False).returncode != 0
    assert (f"{list(change)[0]} has changed, and that needs a restart: systemctl restart obs-agent@my-app"
            in machine.said("my-app"))
    assert machine.show("my-app", "ActiveState") == "active"
    machine.deploy("my-app")
    machine.systemctl("reload", "obs-agent@my-app")


@pytest.mark.usefixtures("my_app")
def test_journal_entries_have_priorities(machine):
    """`journalctl -p err` finds an error, and its message has no priority prefix."""
    machine.deploy("my-app", text="monitoring:\n  vps_name: machine\n  collection_intervall: 10\n")
    assert machine.systemctl("reload", "obs-agent@my-app", check=False).returncode != 0
    levels = {"INFO": "6", "WARNING": "4", "ERROR": "3", "CRITICAL": "2"}
    entries = [(e["PRIORITY"], json.loads(e["MESSAGE"])) for e in machine.journal("my-app")]
    assert [(p, m) for p, m in entries if p != levels[m["level"]]] == []
    assert any(m["level"] == "INFO" for _, m in entries)
    assert any("config.yml:3:" in json.dumps(m) for p, m in entries if p == "3")


@pytest.mark.usefixtures("my_app")
def test_watchdog_is_armed_and_fed(machine):
    assert machine.show("my-app", "WatchdogUSec") == "30s"
    first = int(machine.show("my-app", "WatchdogTimestampMonotonic"))
    assert first > 0
    wait_for(lambda: int(machine.show("my-app", "WatchdogTimestampMonotonic")) > first,
             "the watchdog being fed", 20)


def restarts(machine, app):
    """A machine that stands still longer than a short watchdog allows also has its agents restarted."""
    return int(machine.show(app, "NRestarts"))


def test_killed_agent_is_started_again(machine, my_app):
    """No line written meanwhile is missing or there twice."""
    before = restarts(machine, "my-app")
    machine.systemctl("kill", "--signal=KILL", "obs-agent@my-app")
    with open(my_app / "logs/app.log", "a", encoding="utf-8") as log:
        log.write("INFO while it was down\n")
    wait_for(lambda: restarts(machine, "my-app") == before + 1, "the restart", 15)
    machine.db.wait("SELECT count(*) = 1 FROM log_entries WHERE message ~ 'while it was down'", timeout=15)


def test_fault_03_hung_agent_is_restarted_by_the_watchdog(machine):
    """The agent stays in SIGSTOP; a drop-in sets a watchdog of 2 s."""
    machine.deploy("hung")
    drop_in = machine.tree / "etc/systemd/system/obs-agent@hung.service.d"
    drop_in.mkdir(parents=True)
    (drop_in / "quick.conf").write_text("[Service]\nWatchdogSec=2\nRestartSec=100ms\n")
    machine.systemctl("daemon-reload")
    machine.start("hung")
    epoch = machine.db.one("SELECT epoch FROM agents WHERE app_name = 'hung'")
    before = restarts(machine, "hung")
    machine.systemctl("kill", "--signal=STOP", "obs-agent@hung")
    machine.db.wait("SELECT epoch > %s FROM agents WHERE app_name = 'hung'", epoch)
    assert restarts(machine, "hung") > before
    machine.systemctl("stop", "obs-agent@hung")


@pytest.mark.usefixtures("my_app")
def test_stops_within_5_seconds(machine):
    began = time.monotonic()
    machine.systemctl("stop", "obs-agent@my-app")
    assert time.monotonic() - began < 5
    assert machine.show("my-app", "Result") == "success"
    assert machine.show("my-app", "ActiveState") == "inactive"


def test_a_disabled_agent_says_so_and_stays_down(machine):
    """enabled: false is no failure: start succeeds, exit status 0, no restart."""
    machine.deploy("off", enabled=False)
    machine.systemctl("start", "obs-agent@off")
    wait_for(lambda: machine.show("off", "ActiveState") == "inactive", "inactive")
    assert machine.show("off", "Result") == "success"
    assert machine.show("off", "ExecMainStatus") == "0"
    assert machine.show("off", "NRestarts") == "0"
    assert "enabled" in machine.said("off")


def test_broken_configuration_is_not_tried_again(machine):
    machine.deploy("broken", text="monitoring:\n  enabled: true\n  postgres_url: [\n")
    assert machine.systemctl("start", "obs-agent@broken", check=False).returncode != 0
    assert machine.show("broken", "ActiveState") == "failed"
    assert machine.show("broken", "ExecMainStatus") == "78"
    assert machine.show("broken", "NRestarts") == "0"
    entries = machine.journal("broken")
    assert [e["PRIORITY"] for e in entries if re.search(r"config\.yml:\d+:\d+: ", str(e["MESSAGE"]))] == ["2"]


def test_each_mistake_of_a_broken_configuration_is_in_the_journal(machine):
    machine.deploy("mistakes", text="monitoring:\n  enabled: yes\n  colour: red\n  collection_interval: 1\n  "
                                    "log_files: [a, b]\n")
    assert machine.systemctl("start", "obs-agent@mistakes", check=False).returncode != 0
    assert machine.show("mistakes", "ExecMainStatus") == "78"
    assert re.findall(r"config\.yml:(\d+):", machine.said("mistakes")) == ["2", "3", "4", "5", "5"]
    assert "not started: /opt/deployments/mistakes/config.yml:2:" in machine.show("mistakes", "StatusText")


@pytest.fixture(scope="module")
def fenced(machine):
    """Another agent took over the identity of application twice."""
    machine.deploy("twice")
    machine.start("twice")
    machine.db.query("""SELECT * FROM observ.agent_hello('machine', 'twice', 1, NULL, 'another', 10,
        clock_timestamp())""")
    with open(machine.tree / "opt/deployments/twice/logs/app.log", "a", encoding="utf-8") as log:
        log.write("INFO something to send\n")
    wait_for(lambda: machine.show("twice", "ActiveState") in ("inactive", "failed"),
             "the end of the fenced agent", 20)


@pytest.mark.usefixtures("fenced")
def test_fenced_agent_stays_down(machine):
    """A restart would only take the identity back."""
    assert machine.show("twice", "ExecMainStatus") == "76"
    assert machine.show("twice", "NRestarts") == "0"


def test_fault_03_a_stopped_process_is_started_again(machine):
    """The agent stays in SIGSTOP: the watchdog notices, systemd starts another one, and each line is there
    once."""
    drop_in = machine.tree / "etc/systemd/system/obs-agent@stopped.service.d/fast.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[Service]\nWatchdogSec=3\nRestartSec=1\n")
    machine.systemctl("daemon-reload")
    db = machine.server.new_database()
    folder = machine.deploy("stopped", postgres_url=f"host=/run/database user=agents dbname={db.name}")
    writer = Writer(folder / "logs/app.log", 1000).start()
    machine.systemctl("start", "obs-agent@stopped")
    db.wait("SELECT count(*) > 0 FROM log_entries")
    starts = restarts(machine, "stopped")
    machine.systemctl("kill", "--signal=STOP", "obs-agent@stopped")
    began = time.monotonic()
    before = db.count("log_entries")
    wait_for(lambda: restarts(machine, "stopped") > starts, "another start")
    rows_again(db, before)
    recovery = time.monotonic() - began
    judge(3, db, writer.stop(), recovery=recovery, note="by the watchdog, 3 s instead of 30")
    machine.systemctl("stop", "obs-agent@stopped")
    db.close()


def drop_in(machine, app, text):
    path = machine.tree / f"etc/systemd/system/obs-agent@{app}.service.d/test.conf"
    path.parent.mkdir(parents=True)
    path.write_text("[Service]\n" + text)
    machine.systemctl("daemon-reload")


def test_only_the_agent_can_read_a_credential(machine):
    """A file of root, which systemd passes to the agent; it is in no environment and never shown."""
    secret = machine.tree / "etc/observ.password"
    secret.write_text("it's hunter2\n")
    secret.chmod(0o600)
    machine.deploy("credential", postgres_url=f"host=/run/database user=agents dbname={machine.db.name} "
                                              f"password=${{CRED:db}}")
    assert machine.systemctl("start", "obs-agent@credential", check=False).returncode != 0
    assert ("needs the credential db, which the unit was not given; write it into "
            "/etc/credstore/obs-agent.credential.db" in machine.said("credential"))
    drop_in(machine, "credential", "LoadCredential=db:/etc/observ.password\n")
    machine.start("credential")
    by_hand = machine.run("obs_agent", "--app", "credential", "--print-config").stdout
    assert "password=***" in by_hand, "root's shell is shown the same, from the running unit"
    pid = machine.show("credential", "MainPID")
    assert ("hunter2" not in machine.run("cat", f"/proc/{pid}/environ").stdout + by_hand
            + machine.said("credential"))
    doctor = machine.run("obs_agent", "doctor", "--app", "credential", check=False).stdout
    assert "ok   credential db is in /etc/observ.password\n" in doctor
    machine.systemctl("stop", "obs-agent@credential")


@pytest.mark.usefixtures("fenced")
def test_doctor_uses_the_rights_of_the_unit(machine):
    """doctor as root: it uses the unit's rights, names settings that hide files, and shows the agents' state
    and end."""
    folder = machine.deploy("eyes", log_files=["/opt/deployments/eyes/logs/app.log",
                                               "/opt/deployments/eyes/logs/closed.log",
                                              "/home/me/a.log", "/srv/b.log", "/tmp/c.log"])
    for path in (folder / "logs/closed.log", machine.tree / "home/me/a.log", machine.tree / "srv/b.log"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (folder / "logs/closed.log").chmod(0o600)
    machine.run("touch", "/tmp/c.log")
    drop_in(machine, "eyes", "InaccessiblePaths=/srv\n")

    def doctor(app="eyes"):
        done = machine.run("obs_agent", "doctor", "--app", app, check=False)
        return done.returncode, done.stdout

    status, said = doctor()
    assert status == 1
    assert "ok   runs as root; files are looked at as the unit's user obs-agent\n" in said
    assert "ok   /opt/deployments/eyes/logs/app.log is readable\n" in said
    assert "FAIL /opt/deployments/eyes/logs/closed.log: permission denied" in said
    for path, setting in (("/home/me/a.log", "ProtectHome=yes"), ("/srv/b.log", "InaccessiblePaths=/srv"),
                          ("/tmp/c.log", "PrivateTmp=yes")):
        assert (f"FAIL {path}: the unit's sandbox ({setting}) hides this from the agent; show it: systemctl "
                "edit obs-agent@eyes, then" in said)
    assert ("note the agent has not been started yet; start it: systemctl enable --now obs-agent@eyes\n"
            in said)

    machine.deploy("eyes")
    machine.start("eyes")
    wait_for(lambda: "ok   the agent runs, and wrote its last row " in doctor()[1], "a row that is written")
    status, said = doctor()
    assert (status, said.splitlines()[-1]) == (0, "All is well."), said
    machine.systemctl("stop", "obs-agent@eyes")
    assert "FAIL the agent does not run (dead); systemctl enable --now obs-agent@eyes\n" in doctor()[1]
    assert ("FAIL the agent ended because another one took its name over (76); two agents have"
            in doctor("twice")[1])


def test_doctor_finds_nothing_wrong_on_the_documented_path(machine):
    """Before the first start there are no logs and no agent; a mistake still fails."""
    folder = machine.deploy("early", log_files=["/opt/deployments/early/logs/*.log",
                                                "/opt/deployments/early/other.log"])
    (folder / "logs/app.log").unlink()
    said = machine.run("obs_agent", "doctor", "--app", "early").stdout
    assert "FAIL" not in said and said.splitlines()[-1] == "All is well."
    assert ("note the agent has not been started yet; start it: systemctl enable --now obs-agent@early\n"
            in said)
    machine.deploy("early", log_files=["relative.log"])
    broken = machine.run("obs_agent", "doctor", "--app", "early", check=False)
    assert broken.returncode == 1 and "\n1 of these needs attention.\n" in broken.stdout


def test_doctor_names_the_group_of_a_log_that_only_its_group_may_read(machine):
    """A log as logcore creates it: 0640, with the application's group."""
    machine.run("groupadd", "--force", "shop")
    folder = machine.deploy("grouped")
    log = folder / "logs/app.log"
    machine.run("chgrp", "shop", "/opt/deployments/grouped/logs/app.log")
    log.chmod(0o640)
    done = machine.run("obs_agent", "doctor", "--app", "grouped", check=False)
    remedy = ("add its group to the unit: systemctl edit obs-agent@grouped, then [Service] "
              "SupplementaryGroups=shop\n")
    assert done.returncode == 1 and remedy in done.stdout
    machine.start("grouped")
    machine.db.wait("SELECT state->'tail'->'troubles'->0->>'path' = '/opt/deployments/grouped/logs/app.log' "
                    "FROM agents "
                    "WHERE app_name = 'grouped'")
    drop_in(machine, "grouped", "SupplementaryGroups=shop\n")
    machine.systemctl("restart", "obs-agent@grouped")
    machine.db.wait("SELECT state->'tail'->'troubles' = '[]' FROM agents WHERE app_name = 'grouped'")
    assert "/logs/app.log is readable\n" in machine.run("obs_agent", "doctor", "--app", "grouped",
                                                        check=False).stdout
    machine.systemctl("stop", "obs-agent@grouped")


def test_a_release_is_switched_and_a_planted_link_is_not_followed_in_the_sandbox(machine):
    """PrivateUsers=yes shows other users as one: `current` works, a way out of its folder does not."""
    folder = machine.deploy("links", log_files=["/opt/deployments/links/current/app.log",
                                                "/opt/deployments/links/logs/*.log"])
    for owned in (folder / "releases/1", folder / "releases/2"):
        owned.mkdir(parents=True)
        (owned / "app.log").write_text(f"INFO release {owned.name}\n")
    (folder / "current").symlink_to("releases/1")
    (machine.tree / "etc/secret.log").write_text("INFO of another user\n")
    os.chown(machine.tree / "etc/secret.log", 5678, 5678)
    (folder / "logs/evil.log").symlink_to("/etc/secret.log")
    for path in [folder, *folder.rglob("*")]:
        if path.name not in ("app.log", ".env.production", "config.yml") or "releases" in str(path):
            os.chown(path, 4567, 4567, follow_symlinks=False)
    machine.start("links")
    machine.db.wait("SELECT count(*) = 1 FROM log_entries WHERE message ~ 'release 1'")
    (folder / "new").symlink_to("releases/2")
    os.chown(folder / "new", 4567, 4567, follow_symlinks=False)
    os.rename(folder / "new", folder / "current")
    machine.db.wait("SELECT count(*) = 1 FROM log_entries WHERE message ~ 'release 2'")
    assert "/evil.log leads to what its owner" in machine.said("links")
    assert machine.db.count("log_entries", "message ~ 'of another user'") == 0
    machine.systemctl("stop", "obs-agent@links")
