-- Lines of cron and recurring windows: what a line may say, and what is refused. The times themselves are
-- cases of tests/alerts.
BEGIN;
SELECT no_plan();

CREATE FUNCTION pg_temp.next(p_line text, p_from text DEFAULT '2026-01-01', p_n int DEFAULT 1) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	t timestamptz := p_from || 'Z';
	ret text[] := '{}';
BEGIN
	FOR n IN 1..p_n LOOP
		t := next_cron(p_line, 'UTC', t);
		ret := ret || to_char(t AT TIME ZONE 'UTC', 'FMMM-FMDD HH24:MI');
	END LOOP;
	RETURN array_to_string(ret, ', ');
END $$;

SELECT is(pg_temp.next(line, p_n => n), times, line) FROM (VALUES
	('* * * * *', 2, '1-1 00:01, 1-1 00:02'),
	('5,10 3 * * *', 3, '1-1 03:05, 1-1 03:10, 1-2 03:05'),
	('10-30/10 3-4 * * *', 4, '1-1 03:10, 1-1 03:20, 1-1 03:30, 1-1 04:10'),
	('50/5 0 * * *', 3, '1-1 00:50, 1-1 00:55, 1-2 00:50'),
	('0 0 * feb-mar/1 *', 2, '2-1 00:00, 2-2 00:00'),
	('0 0 L * *', 3, '1-31 00:00, 2-28 00:00, 3-31 00:00'),
	('0 0 15,L * *', 3, '1-15 00:00, 1-31 00:00, 2-15 00:00'),
	('0 0 * * fri#2', 2, '1-9 00:00, 2-13 00:00'),
	('0 0 * * 5L', 2, '1-30 00:00, 2-27 00:00'),
	('0 0 * * 7', 2, '1-4 00:00, 1-11 00:00'),
	('0 0 * * 0', 2, '1-4 00:00, 1-11 00:00'),
	('0 0 * * 6-7', 3, '1-3 00:00, 1-4 00:00, 1-10 00:00'),
	('0 0 13 * 5', 3, '1-2 00:00, 1-9 00:00, 1-13 00:00'),    -- one of the two
	('0 0 */7 * 5', 2, '5-1 00:00, 5-8 00:00'),               -- both, since one begins with *
	('0 0 31 4,5 *', 1, '5-31 00:00'),
	('0 0 29 2 *', 1, '2-29 00:00'),
	('30 0 12 * * *', 2, '1-1 12:00, 1-2 12:00'),
	('@hourly', 2, '1-1 01:00, 1-1 02:00'), ('@Daily', 1, '1-2 00:00'), ('@weekly', 1, '1-4 00:00'),
	('@monthly', 1, '2-1 00:00'), ('@yearly', 1, '1-1 00:00'),
	(E' 0\t4  * * * ', 1, '1-1 04:00')) v(line, n, times);
SELECT is(next_cron('0 0 31 2 *', 'UTC', '2026-01-01Z'), NULL, 'a day that never comes');
SELECT is(next_cron('* * * * * *', 'UTC', '2026-01-01 00:00:00.5Z'), '2026-01-01 00:00:01Z', 'seconds');
SELECT is(next_cron('0 4 * * *', 'UTC', '2026-01-01 04:00Z'), '2026-01-02 04:00Z', 'after, not at');
SELECT is(next_cron('0 12 30 12 *', 'Pacific/Apia', '2011-12-01Z'), '2011-12-30 10:00Z',
	'a day that a zone has left out ends at its midnight');

SELECT throws_ok(format('SELECT next_cron(%L, ''UTC'', now())', line), '22023', NULL, line) FROM (VALUES
	(''), ('* * * *'), ('* * * * * * *'), ('60 * * * *'), ('* 24 * * *'), ('* * 0 * *'), ('* * 32 * *'),
	('* * * 13 *'), ('* * * * 8'), ('*/0 * * * *'), ('5-1 * * * *'), ('1,,2 * * * *'), ('-1 * * * *'),
	('a * * * *'), ('* * * foo *'), ('* * * * fo'), ('* * * * mon#6'), ('* * L-1 * *'), ('@reboot'),
	('1.5 * * * *'), ('99999999999 * * * *'), ('* * * * * 0x1'),
	(repeat('1,', 200) || '1 * * * *')) v(line);
SELECT throws_like($$SELECT next_cron('61 * * * *', 'UTC', now())$$,
	'"61" is no minute of a line of cron: numbers are 0 to 59, with "-", "," and "/" between.',
	'the sentence says what is wrong');
SELECT throws_ok($$SELECT next_cron('* * * * *', 'Nowhere/City', now())$$, '22023',
	'time zone "Nowhere/City" not recognized', 'a zone that is none');

-- ---- windows -------------------------------------------------------------------------------------
CREATE FUNCTION pg_temp.inside(p_days text, p_start text, p_s int, p_zone text, p_at text) RETURNS boolean
LANGUAGE sql AS $$
	SELECT in_window(ROW(gen_random_uuid(), 'w', true, p_zone, p_days, p_start, p_s)::quiet_windows,
		p_at::timestamptz) $$;
SELECT is(pg_temp.inside(d, s, n, z, t), want, format('%s %s + %s s in %s at %s', d, s, n, z, t)) FROM (VALUES
	('{}', '22:00', 3600, 'UTC', '2026-01-01 22:00Z', true),
	('{}', '22:00', 3600, 'UTC', '2026-01-01 21:59:59Z', false),
	('{}', '22:00', 3600, 'UTC', '2026-01-01 22:59:59Z', true),
	('{}', '22:00', 3600, 'UTC', '2026-01-01 23:00Z', false),
	('{fri}', '22:00', 36000, 'UTC', '2026-01-03 07:59Z', true),            -- Saturday, but of Friday
	('{sat}', '22:00', 36000, 'UTC', '2026-01-03 07:59Z', false),
	('{fri}', '20:00', 208800, 'UTC', '2026-01-05 05:59Z', true),           -- to Monday, 6:00
	('{fri}', '20:00', 208800, 'UTC', '2026-01-05 06:00Z', false),
	('{sun}', '00:00', 604800, 'UTC', '2026-01-10 23:59Z', true),
	('{}', '14:30', 86400, 'UTC', '2026-01-05 14:15Z', true),
	('{}', '02:30', 3600, 'Europe/Berlin', '2026-03-29 01:00Z', true),      -- skipped: from 3:00 on
	('{}', '02:30', 3600, 'Europe/Berlin', '2026-03-29 00:59Z', false),
	('{}', '02:30', 3600, 'Europe/Berlin', '2026-03-29 02:00Z', false),
	('{}', '02:30', 3600, 'Europe/Berlin', '2026-10-25 00:30Z', true),      -- twice: the first one
	('{}', '02:30', 3600, 'Europe/Berlin', '2026-10-25 01:30Z', false),
	('{}', '22:00', 3600, 'Europe/Berlin', '2026-03-29 20:30Z', true),
	('{}', '22:00', 3600, 'Europe/Berlin', '2026-10-25 21:30Z', true)) v(d, s, n, z, t, want);

SELECT * FROM finish();
ROLLBACK;
