-- The outbox: who gets which message when, and what becomes of it. Time is a parameter: hours pass at once.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = error;

CREATE TEMP TABLE t (at timestamptz);
INSERT INTO t VALUES ('2026-03-01 12:00:00+00');
CREATE FUNCTION pg_temp.at(s float8) RETURNS timestamptz LANGUAGE sql AS $$
	SELECT at + make_interval(secs => s) FROM pg_temp.t $$;
CREATE FUNCTION pg_temp.id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
	SELECT md5(n::text)::uuid $$;
-- A message about some alerts, all firing, of the group g.
CREATE FUNCTION pg_temp.say(n int, channel text, g int, s float8, alerts int[] DEFAULT '{1}',
	says text DEFAULT 'firing') RETURNS void LANGUAGE sql AS $$
	INSERT INTO notifications (notification_id, channel_id, group_id, kind, content, made_at, not_before)
		SELECT pg_temp.id(n), channel_id, pg_temp.id(1000 + g), says, jsonb_build_object('alerts',
				(SELECT jsonb_agg(jsonb_build_object('alert_id', a, 'status', says))
				FROM unnest(alerts) a)), pg_temp.at(s), pg_temp.at(s)
			FROM channels c WHERE c.name = channel $$;
CREATE FUNCTION pg_temp.take(who text, s float8, n int DEFAULT 10, lease float8 DEFAULT 45)
RETURNS int[] LANGUAGE sql AS $$
	SELECT coalesce(array_agg(i ORDER BY i), '{}') FROM take_notifications(who, n, lease, pg_temp.at(s)) j
		JOIN generate_series(1, 400) i ON pg_temp.id(i)::text = j ->> 'notification_id' $$;
CREATE FUNCTION pg_temp.fail(n int, who text, what text, s float8, after float8 DEFAULT NULL)
RETURNS void LANGUAGE sql AS $$
	SELECT notification_failed(pg_temp.id(n), who, what, 'status 500', after, '{}', pg_temp.at(s)) $$;
CREATE FUNCTION pg_temp.sent(n int, s float8) RETURNS void LANGUAGE sql AS $$
	SELECT notification_sent(pg_temp.id(n), '{}', NULL, pg_temp.at(s)) $$;

INSERT INTO channels (channel_id, name, kind) VALUES (pg_temp.id(901), 'hook', 'webhook'),
	(pg_temp.id(902), 'mail', 'mail'), (pg_temp.id(903), 'pager', 'pagerduty');
UPDATE channels SET fallback_id = pg_temp.id(902) WHERE name = 'hook';

-- ---- who leads ------------------------------------------------------------------------------------
SELECT is(lead_watch('a', pg_temp.at(0)), true, 'the first one leads');
SELECT is(lead_watch('b', pg_temp.at(1)), false, 'and no other one');
SELECT is(lead_watch('a', pg_temp.at(1)), true, 'it goes on');
SELECT is((SELECT until FROM watch_lead), pg_temp.at(6), 'without a write each second');
SELECT is(lead_watch('a', pg_temp.at(3)), true, 'but before its time is over');
SELECT is(lead_watch('b', pg_temp.at(8.9)), false, 'so it may hang for some seconds');
SELECT is(lead_watch('b', pg_temp.at(9)), true, 'then another one leads');
SELECT is(lead_watch('a', pg_temp.at(9.5)), false, 'and is not led by the one that wakes up');
UPDATE watch_lead SET pid = 0;
SELECT is(lead_watch('a', pg_temp.at(10)), true, 'who has no session any more loses the lead at once');

-- ---- leases ------------------------------------------------------------------------------------
SELECT pg_temp.say(1, 'hook', 1, 0), pg_temp.say(2, 'hook', 1, 1), pg_temp.say(3, 'mail', 1, 2);
SELECT is(pg_temp.take('a', 5), '{1,3}', 'of a group one message at a time, the oldest');
SELECT is(pg_temp.take('b', 6), '{}', 'what a watcher has, another one does not get');
SELECT is(notification_progress(pg_temp.id(1), 'a', '{"accepted": ["0"]}', 45, pg_temp.at(7)), true,
	'a watcher renews its lease with what was accepted');
SELECT is(pg_temp.take('b', 51), '{3}', 'until the lease has run out');
SELECT is(pg_temp.take('b', 53), '{1}', 'and a renewed one later');
SELECT is(notification_progress(pg_temp.id(1), 'a', '{}', 45, pg_temp.at(54)), false,
	'a watcher whose message another one has taken is told so');
SELECT is((SELECT progress FROM notifications WHERE notification_id = pg_temp.id(1)), '{"accepted": ["0"]}',
	'and changes nothing');
SELECT is((SELECT count(*) FROM take_notifications('b', 5, 45, pg_temp.at(55), NULL, ARRAY[pg_temp.id(1)])),
	1::bigint, 'what a watcher took but never saw, because the answer was lost, it gets again');
SELECT pg_temp.fail(1, 'a', 'channel', 52);
SELECT is((SELECT disabled_at FROM channels WHERE name = 'hook'), NULL,
	'who has lost the lease changes nothing by a failure');
SELECT pg_temp.sent(1, 53);
SELECT is((SELECT sent_at FROM notifications WHERE notification_id = pg_temp.id(1)), pg_temp.at(53),
	'accepted is accepted, whoever says it');
SELECT pg_temp.sent(3, 53);
SELECT is(pg_temp.take('a', 54), '{2}', 'then the next one of the channel');
SELECT pg_temp.sent(2, 55);

SELECT pg_temp.say(4, 'hook', 20, 60), pg_temp.take('a', 61), pg_temp.say(5, 'hook', 21, 62);
SELECT is(pg_temp.take('b', 120, 1), '{4}', 'what a watcher left when it died goes before what came later');
SELECT pg_temp.sent(4, 121), pg_temp.take('b', 121), pg_temp.sent(5, 121);
UPDATE channel_state SET retry_at = NULL;

-- ---- order ----------------------------------------------------------------------------------------
SELECT pg_temp.say(10, 'hook', 3, 100), pg_temp.say(11, 'hook', 3, 101, '{1}', 'resolved'),
	pg_temp.say(12, 'hook', 4, 102);
SELECT is(pg_temp.take('a', 110, 1), '{10}', 'firing first');
SELECT pg_temp.fail(10, 'a', 'retry', 111);
SELECT is(pg_temp.take('a', 112), '{}', 'a channel that fails is left alone for a while');
SELECT is(pg_temp.take('a', 117), '{12}',
	'then what was tried least goes first: one bad message does not block the others');
SELECT pg_temp.sent(12, 118);
SELECT is(pg_temp.take('a', 119), '{10}', 'resolved does not overtake the firing of its group');
SELECT pg_temp.sent(10, 120);
SELECT is(pg_temp.take('a', 121), '{11}', 'and follows it');
SELECT pg_temp.sent(11, 122);

-- ---- FAULTS 41: down for an hour ------------------------------------------------------------------
SELECT pg_temp.say(100 + i, 'hook', 10 + i % 30, 1000 + i * 60) FROM generate_series(0, 59) i;
CREATE TEMP TABLE tries (s float8, n int);
DO $$
DECLARE
	v_n int;
BEGIN
	FOR s IN 1000 .. 4600 BY 4 LOOP
		FOREACH v_n IN ARRAY pg_temp.take('a', s) LOOP
			INSERT INTO tries VALUES (s, v_n);
			PERFORM pg_temp.fail(v_n, 'a', 'retry', s + 0.5);
		END LOOP;
	END LOOP;
END
$$;
SELECT cmp_ok((SELECT count(*) FROM tries), '<=', 22::bigint, 'an hour: a few tries for all, not for each');
SELECT cmp_ok((SELECT count(*) FROM tries), '>=', 10::bigint, 'but it is tried');
SELECT is((SELECT count(*) FROM notifications WHERE group_id IS NOT NULL AND sent_at IS NULL
	AND dead_at IS NULL), 30::bigint, 'what a later message says again is left out: a message a group');
SELECT is((SELECT count(*) FROM notifications WHERE replaced_by IS NOT NULL), 30::bigint,
	'and names that one');
TRUNCATE tries;
DO $$
DECLARE
	v_n int;
BEGIN
	FOR s IN 4605 .. 5300 LOOP
		FOREACH v_n IN ARRAY pg_temp.take('a', s) LOOP
			INSERT INTO tries VALUES (s, v_n);
			PERFORM pg_temp.sent(v_n, s + 0.5);
		END LOOP;
	END LOOP;
END
$$;
SELECT is((SELECT count(DISTINCT n) FROM tries), 30::bigint, 'back: each group is told');
SELECT is((SELECT count(*) FROM tries), 30::bigint, 'once');
SELECT cmp_ok((SELECT max(s) - min(s) FROM tries), '<=', 40::float8, 'soon after the first is accepted');
SELECT is((SELECT count(*) FROM tries WHERE s = (SELECT min(s) FROM tries)), 1::bigint, 'one tries alone');
SELECT is((SELECT max(c) FROM (SELECT count(*) c FROM tries GROUP BY s) x), 5::bigint,
	'then several at once, in half of the places of the watcher');

-- ---- several at once ------------------------------------------------------------------------------
SELECT pg_temp.say(320 + i, 'hook', 300 + i, 5400 + i) FROM generate_series(0, 19) i;
SELECT pg_temp.say(340, 'mail', 330, 5430);
SELECT is(pg_temp.take('a', 5440, 8), '{320,321,322,340}', 'the first of each channel, then further ones, '
	'while half of the places stay free');
SELECT is(pg_temp.take('a', 5441, 64), '{323,324,325,326,327}', 'of a channel as many as its kind allows');
SELECT pg_temp.fail(320 + i, 'a', 'retry', 5442 + i) FROM generate_series(0, 2) i;
SELECT is(failures, 1, 'what fails together is one failure') FROM channel_state
	WHERE channel_id = pg_temp.id(901);
SELECT is(pg_temp.take('a', 5460, 64), '{}', 'none while others are under way and the channel fails');
SELECT is((SELECT count(*) FROM exchange_notifications('a', (SELECT jsonb_agg(jsonb_build_object('id',
	pg_temp.id(n), 'what', 'sent', 'progress', '{}'::jsonb)) FROM generate_series(323, 327) n)
	|| jsonb_build_array(jsonb_build_object('id', pg_temp.id(340), 'what', 'retry', 'why', 'away',
		'retry_after_s', 30, 'progress', '{}'::jsonb)), 64, 45, '{}', pg_temp.at(5461))), 8::bigint,
	'a watcher tells what became of several, and gets the next ones');
SELECT is((SELECT array_agg(sent_at IS NOT NULL ORDER BY i) FROM generate_series(323, 327) i
	JOIN notifications ON notification_id = pg_temp.id(i)), '{t,t,t,t,t}', 'they were sent');
SELECT is((SELECT last_error FROM notifications WHERE notification_id = pg_temp.id(340)), 'away',
	'and one was not');
SELECT is((SELECT count(*) FROM exchange_notifications('a', '[]', 0, 45, '{}', pg_temp.at(5462))), 0::bigint,
	'who wants none gets none');
UPDATE notifications SET sent_at = pg_temp.at(5463) WHERE sent_at IS NULL AND dead_at IS NULL;
UPDATE channel_state SET failures = 0, retry_at = NULL;

-- ---- Retry-After --------------------------------------------------------------------------------------
SELECT pg_temp.say(200, 'hook', 50, 6000), pg_temp.say(201, 'hook', 51, 6000);
SELECT pg_temp.take('a', 6001);
SELECT pg_temp.fail(200, 'a', 'retry', 6001, 900), pg_temp.fail(201, 'a', 'retry', 6001, 900);
SELECT is(pg_temp.take('a', 6900), '{}', 'not before the peer wants it');
SELECT is(array_length(pg_temp.take('a', 6902), 1), 1, 'then again');
SELECT pg_temp.sent(200, 6903), pg_temp.sent(201, 6903);
SELECT pg_temp.say(202, 'hook', 50, 7000);
SELECT pg_temp.take('a', 7001);
SELECT pg_temp.fail(202, 'a', 'retry', 7001, 1e9);
SELECT is(pg_temp.take('a', 7001 + 86401), '{202}', 'a day at most, whatever it asks');

-- ---- 75 hours --------------------------------------------------------------------------------------
SELECT pg_temp.fail(202, 'a', 'retry', 7001 + 75 * 3600);
SELECT is((SELECT dead_at IS NOT NULL AND last_error ~ '^given up after 75 hours: status 500'
	FROM notifications WHERE notification_id = pg_temp.id(202)), true,
	'after 75 hours it is a dead letter');
SELECT is((SELECT channel_id FROM notifications WHERE content ? 'via'), pg_temp.id(902),
	'whose copy goes to the fallback');
UPDATE notifications SET sent_at = now() WHERE sent_at IS NULL AND dead_at IS NULL;
UPDATE channel_state SET failures = 0, retry_at = NULL;

-- ---- refusals -----------------------------------------------------------------------------------------
SELECT pg_temp.say(210, 'hook', 60, 300000), pg_temp.say(211, 'hook', 61, 300001);
SELECT pg_temp.take('a', 300002);
SELECT pg_temp.fail(210, 'a', 'channel', 300003);
SELECT is((SELECT disabled_reason FROM channels WHERE name = 'hook'), 'status 500',
	'a permanent refusal disables the channel, with the reason');
SELECT is((SELECT count(*) FROM notifications WHERE channel_id = pg_temp.id(901) AND sent_at IS NULL
	AND dead_at IS NULL), 0::bigint, 'nothing waits there');
SELECT is((SELECT array_agg(kind ORDER BY kind) FROM notifications WHERE channel_id = pg_temp.id(902)
	AND sent_at IS NULL AND dead_at IS NULL), '{channel,firing,firing}',
	'its messages go to the fallback, and the news that it is disabled');
SELECT pg_temp.say(212, 'hook', 62, 300010);
SELECT pg_temp.take('a', 300011);
SELECT is((SELECT count(*) FROM notifications WHERE content ->> 'instead_of' = 'hook'
	AND group_id = pg_temp.id(1062)), 1::bigint, 'and so do later ones');
SELECT disable_channel(pg_temp.id(902), 'status 410', pg_temp.at(300020));
SELECT is((SELECT content ->> 'channel' FROM notifications WHERE channel_id = pg_temp.id(903)
	AND kind = 'channel'), 'mail', 'without a fallback another channel is told');
SELECT is((SELECT count(*) FROM notifications WHERE sent_at IS NULL AND dead_at IS NULL
	AND channel_id <> pg_temp.id(903)), 0::bigint, 'what nobody can send is a dead letter, not lost');
UPDATE channels SET fallback_id = pg_temp.id(901), disabled_at = NULL WHERE name = 'mail';
UPDATE channels SET disabled_at = NULL WHERE name = 'hook';
SELECT pg_temp.say(213, 'mail', 63, 300030);
SELECT pg_temp.take('a', 300031);
SELECT pg_temp.fail(213, 'a', 'message', 300032);
SELECT is((SELECT channel_id FROM notifications WHERE group_id = pg_temp.id(1063) AND dead_at IS NULL),
	pg_temp.id(901), 'one message refused: the channel stays, the fallback has the copy');
SELECT is(bury_notification(notification_id, 'x', pg_temp.at(300033))::text, '') FROM notifications
	WHERE group_id = pg_temp.id(1063) AND dead_at IS NULL;
SELECT is((SELECT count(*) FROM notifications WHERE group_id = pg_temp.id(1063)), 2::bigint,
	'fallbacks in a circle end');

-- ---- tests --------------------------------------------------------------------------------------------
UPDATE channels SET disabled_at = now() WHERE name = 'hook';
SELECT isnt(test_channel('hook', 'me', pg_temp.at(400000)), NULL);
SELECT is((SELECT count(*) FROM take_notifications('a', 5, 45, pg_temp.at(400001))
	WHERE take_notifications ->> 'kind' = 'test'), 1::bigint, 'a test goes to a disabled channel, too');
SELECT throws_ok($$SELECT test_channel('nope', 'me', now())$$, 'OB404', 'there is no channel "nope"');
SELECT is(delivery_backoff_s(f, r), s, format('back-off after %s failures', f))
	FROM (VALUES (1, 1.0, 5.0::float8), (2, 1, 10), (3, 0, 10), (8, 1, 600), (99, 1, 600), (0, 1, 5))
	v (f, r, s);

SELECT * FROM finish();
ROLLBACK;
