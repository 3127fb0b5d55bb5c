"""fleet_watch doctor names what keeps alerts from being delivered."""
from peers import READ, HttpPeer, answer
from watching import add_channel, say, wait_sent, wait_tried


def test_the_doctor_names_what_is_wrong(watched, make_watcher):
    watcher = make_watcher()
    done = watcher.run("doctor")
    assert done.returncode == 1 and "FAIL no watcher leads; systemctl enable" in done.stdout
    assert "FAIL 0 channels are enabled" in done.stdout and "alerts were never evaluated yet" in done.stdout
    with HttpPeer() as good, HttpPeer([[READ, answer(500, "boom")]]) as bad:
        add_channel(watched, "good", "webhook", {"url": good.url})
        watcher.start().leads()
        watched.query("UPDATE alert_clock SET evaluated_until = now(), watcher = 'me'")
        wait_sent(watched, say(watched, "good"))
        done = watcher.run("doctor")
        assert done.returncode == 0 and "ok   a watcher leads" in done.stdout, done.stdout
        assert "by me" in done.stdout and "warn messages have no links" in done.stdout
        add_channel(watched, "bad", "webhook", {"url": bad.url})
        wait_tried(watched, say(watched, "bad"))
        watched.query("INSERT INTO channels (name, kind, disabled_at, disabled_reason) "
                      "VALUES ('old', 'slack', now(), 'status 410')")
        done = watcher.run("doctor")
    assert done.returncode == 1
    assert "FAIL failing: bad (the webhook answered with status 500: boom)" in done.stdout
    assert "warn disabled: old (status 410)" in done.stdout


def test_the_doctor_says_that_there_is_no_database(watched, make_watcher):
    watcher = make_watcher(database_url="postgresql://watch:geheim@127.0.0.1:1/x")
    done = watcher.run("doctor")
    assert done.returncode == 1 and "FAIL database postgresql://watch:***@127.0.0.1:1/x" in done.stdout
    assert "geheim" not in done.stdout
