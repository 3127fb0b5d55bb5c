"""The whole path: samples, a rule, an alert, a route, a message at its peer; and "resolved"."""
import threading

import pytest
from harness import wait_for
from peers import READ, HttpPeer, answer
from watching import Watcher, add_channel, evaluation, say, wait_sent, watch_role

RULE = """INSERT INTO alert_rules (name, kind, metric, op, warning, critical, interval_s, match, summary)
    VALUES ('hot', 'threshold', 'cpu_percent', '>', 80, 95, 1,
        jsonb_build_array(jsonb_build_object('label', 'server', 'op', '=', 'value', %s)),
        'CPU of {{server}} is at {{#f.number}}{{value}}{{/f.number}} %% {{severity}}')"""
SAMPLE = """INSERT INTO vps_metrics ("timestamp", received_at, vps_name, app_name, cpu_percent)
    VALUES (clock_timestamp(), clock_timestamp(), %s, 'shop', %s)"""


def follow_an_alert(db, folder, server):
    """Samples go beyond a rule's value and come back, as a real watcher sees it: the two messages."""
    watch_role(db)
    db.query("UPDATE alert_rules SET is_active = false")
    db.query(RULE, server)
    db.query("""INSERT INTO agents (vps_name, app_name, epoch, first_seen_at, last_seen_at, interval_s)
        VALUES (%s, 'shop', 1, now() - interval '1 day', now(), 60)""", server)
    with HttpPeer() as peer:
        channel = add_channel(db, "hook", "webhook", {"url": peer.url})
        db.query("""UPDATE alert_routes SET channels = ARRAY[%s::uuid], group_wait_s = 0, group_interval_s = 1
            WHERE parent_id IS NULL""", channel)
        watcher = Watcher(folder, db).start()
        try:
            watcher.leads()
            wait_for(lambda: db.query(SAMPLE, server, 97.25) or peer.requests,
                     f"firing; {watcher.said()[-2000:]}", every=0.5)
            firing = peer.requests[0].json
            wait_for(lambda: db.query(SAMPLE, server, 3) or len(peer.requests) > 1, "resolved", every=0.5)
            return firing, peer.requests[-1].json
        finally:
            watcher.kill()


@pytest.mark.smoke
def test_samples_become_a_message_and_its_end(db, tmp_path):
    firing, resolved = follow_an_alert(db, tmp_path / "w", "web-1")
    (alert,) = firing["data"]["alerts"]
    assert firing["type"] == "alerts.firing" and alert["summary"] == "CPU of web-1 is at 97.25 % critical"
    assert alert["subject"]["server"] == "web-1" and alert["threshold"] == 95
    assert resolved["type"] == "alerts.resolved"
    assert resolved["data"]["alerts"][0]["alert_id"] == alert["alert_id"]


def test_patterns_of_log_lines_are_learned_at_each_evaluation(watched, make_watcher):
    watched.query("""INSERT INTO pattern_queue (vps_name, app_name, received_at, levels, times, messages)
        VALUES ('web-1', 'shop', now(), '{4,4}', ARRAY[now(), now()],
            '{"disk 7 is full","disk 8 is full"}')""")
    make_watcher().start()
    watched.wait("SELECT sum(lines) = 2 FROM log_patterns")
    assert watched.count("log_patterns") == 1 and watched.count("pattern_queue") == 0


@pytest.mark.smoke
def test_messages_of_several_groups_go_to_a_webhook_at_once(watched, make_watcher):
    """The peer answers none of them before the fourth has come."""
    together = threading.Barrier(4, timeout=60)
    with HttpPeer(lambda n: [READ, together.wait, answer()] if 0 < n < 5 else [READ, answer()]) as peer:
        add_channel(watched, "hook", "webhook", {"url": peer.url})
        make_watcher(delivery_timeout_s=60).start().leads()
        wait_sent(watched, say(watched, "hook"))        # a channel that has sent nothing yet may do so, too
        for sent in [say(watched, "hook") for _ in range(4)]:
            wait_sent(watched, sent)
    assert len(peer.requests) == 5


def test_a_message_does_not_wait_for_an_evaluation(watched, make_watcher):
    evaluation(watched, "SELECT '{}'::jsonb FROM pg_advisory_xact_lock(7)")
    running = """SELECT count(*) FROM pg_stat_activity
        WHERE query ~ 'evaluate_alerts' AND wait_event = 'advisory'"""
    with watched.connect() as holder, HttpPeer() as peer:
        holder.cursor().execute("SELECT pg_advisory_lock(7)")
        add_channel(watched, "hook", "webhook", {"url": peer.url})
        make_watcher().start()
        watched.wait(f"SELECT ({running}) = 1")
        wait_sent(watched, say(watched, "hook"))
        assert watched.one(running) == 1
