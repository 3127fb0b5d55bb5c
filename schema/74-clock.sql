-- ==== 74-clock: lines of cron and recurring windows, in a time zone ===============================
-- A clock that is set forward skips times, and one that is set back repeats them. The first three functions
-- know how; the others ask them.

-- How far the clocks of a zone are ahead of UTC at an instant.
CREATE OR REPLACE FUNCTION zone_offset(p_at timestamptz, p_zone text) RETURNS interval
LANGUAGE sql STABLE RETURN p_at AT TIME ZONE p_zone - p_at AT TIME ZONE 'UTC';

-- The instants at which clocks of a zone show this time: none if it is skipped, two if it is repeated.
CREATE OR REPLACE FUNCTION instants_of(p_local timestamp, p_zone text) RETURNS timestamptz[]
LANGUAGE sql STABLE
RETURN (SELECT coalesce(array_agg(DISTINCT i ORDER BY i), '{}')
	FROM (VALUES (interval '-1 day'), ('1 day')) v(d),
		LATERAL (SELECT (p_local - zone_offset(p_local AT TIME ZONE 'UTC' + d, p_zone))
			AT TIME ZONE 'UTC' AS i) x
	WHERE i AT TIME ZONE p_zone = p_local);

-- The first of these instants; of a skipped time the end of the gap.
CREATE OR REPLACE FUNCTION instant_of(p_local timestamp, p_zone text) RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
	ret timestamptz[] := observ.instants_of(p_local, p_zone);
BEGIN
	WHILE ret = '{}' LOOP
		p_local := date_trunc('minute', p_local) + interval '1 minute';
		ret := observ.instants_of(p_local, p_zone);
	END LOOP;
	RETURN ret[1];
END
$$;

-- Is a time inside a window? It begins at `start` of each of its days, and lasts equally long on all of them.
CREATE OR REPLACE FUNCTION in_window(p_window quiet_windows, p_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE
RETURN p_window.enabled AND EXISTS (SELECT
	FROM generate_series(0, p_window.duration_s / 86400 + 1) ago,
		LATERAL (SELECT (p_at AT TIME ZONE p_window.time_zone)::date - ago AS day) d,
		LATERAL (SELECT instant_of(day + p_window.start, p_window.time_zone) AS since) s
	WHERE (p_window.days = '{}' OR to_char(day, 'dy') = ANY (p_window.days))
		AND p_at >= since AND p_at < since + make_interval(secs => p_window.duration_s));

-- ---- cron ----------------------------------------------------------------------------------------
-- The fields of a line, seconds first. There is NULL in a line of five.
CREATE OR REPLACE FUNCTION cron_fields(p_schedule text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v_line CONSTANT text := upper(btrim(p_schedule, E' \t'));
	ret CONSTANT text[] := regexp_split_to_array(coalesce((SELECT line FROM (VALUES
		('@HOURLY', '0 * * * *'), ('@DAILY', '0 0 * * *'), ('@MIDNIGHT', '0 0 * * *'),
		('@WEEKLY', '0 0 * * 0'), ('@MONTHLY', '0 0 1 * *'), ('@YEARLY', '0 0 1 1 *'),
		('@ANNUALLY', '0 0 1 1 *')) v(name, line) WHERE name = v_line), v_line), '[ \t]+');
BEGIN
	IF length(p_schedule) <= 256 AND cardinality(ret) IN (5, 6) THEN
		RETURN CASE cardinality(ret) WHEN 5 THEN NULL::text || ret ELSE ret END;
	END IF;
	RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('"%s" is not a line of cron: minute, hour, '
		'day, month and day of the week, such as "30 4 * * 1-5".', left(p_schedule, 256));
END
$$;

CREATE OR REPLACE FUNCTION cron_number(p_text text, p_names text[], p_min int) RETURNS int
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN p_text ~ '^[0-9]+$' THEN p_text::int ELSE array_position(p_names, p_text) + p_min - 1 END;

-- The values of a field: a list of *, A or A-B, each of them with /STEP. A/STEP goes on to p_max. Items that
-- match p_but are left out.
CREATE OR REPLACE FUNCTION cron_values(p_what text, p_field text, p_min int, p_max int,
	p_names text[] DEFAULT '{}', p_but text DEFAULT NULL) RETURNS int[]
LANGUAGE plpgsql IMMUTABLE SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_word CONSTANT text := '([0-9]{1,2}|[A-Z]{3})';
	v_item text;
	m text[];
	v_from int;
	v_to int;
	ret int[] := '{}';
BEGIN
	FOREACH v_item IN ARRAY string_to_array(p_field, ',') LOOP
		CONTINUE WHEN v_item ~ p_but;
		m := regexp_match(v_item,
			'^(?:\*|' || v_word || '(?:-' || v_word || ')?)(?:/([0-9]{1,4}))?$');
		v_from := CASE WHEN m[1] IS NULL THEN p_min ELSE cron_number(m[1], p_names, p_min) END;
		v_to := CASE WHEN m[2] IS NOT NULL THEN cron_number(m[2], p_names, p_min)
			WHEN m[1] IS NULL OR m[3] IS NOT NULL THEN p_max ELSE v_from END;
		IF (m IS NOT NULL AND v_from >= p_min AND v_to BETWEEN v_from AND p_max
				AND coalesce(m[3]::int, 1) > 0) IS NOT true THEN
			RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('"%s" is no %s of a line '
				'of cron: numbers are %s to %s, with "-", "," and "/" between.', p_field,
				p_what, p_min, p_max);
		END IF;
		ret := ret || ARRAY(SELECT generate_series(v_from, v_to, coalesce(m[3]::int, 1)));
	END LOOP;
	RETURN ret;
END
$$;

-- Does a line run on this day? p_days: of the month, 32 for its last one, 33 for its last weekday. p_week:
-- 0-7 for each Sunday to each Sunday, 33 for the third Tuesday, 69 for the last Friday. p_both: it needs both
-- of them, not one.
CREATE OR REPLACE FUNCTION cron_day(p_day date, p_days int[], p_week int[], p_both boolean) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v_day CONSTANT int := extract(day FROM p_day);
	v_dow CONSTANT int := extract(dow FROM p_day);
	v_last CONSTANT int := extract(day FROM date_trunc('month', p_day) + interval '1 month -1 day');
	v_by_day CONSTANT boolean := v_day = ANY (p_days) OR v_day = v_last AND 32 = ANY (p_days)
		OR 33 = ANY (p_days) AND v_dow BETWEEN 1 AND 5
			AND (v_day = v_last OR v_dow = 5 AND v_day > v_last - 3);
	v_by_week CONSTANT boolean := v_dow = ANY (p_week) OR v_dow = 0 AND 7 = ANY (p_week)
		OR v_dow * 10 + 10 + (v_day + 6) / 7 = ANY (p_week)
		OR v_day + 7 > v_last AND v_dow * 10 + 19 = ANY (p_week);
BEGIN
	RETURN CASE WHEN p_both THEN v_by_day AND v_by_week ELSE v_by_day OR v_by_week END;
END
$$;

-- The first of some seconds of an hour that is after p_from. p_once: a skipped time is the end of the gap, a
-- repeated one its first. Else a skipped time is left out, and a repeated one counts twice.
CREATE OR REPLACE FUNCTION cron_in_hour(p_hour timestamp, p_seconds int[], p_zone text, p_once boolean,
	p_from timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_before CONSTANT interval := zone_offset(p_hour AT TIME ZONE 'UTC' - interval '1 day', p_zone);
	v_after CONSTANT interval := zone_offset(p_hour AT TIME ZONE 'UTC' + interval '1 day', p_zone);
	v_hour CONSTANT timestamptz := (p_hour - v_before) AT TIME ZONE 'UTC';
BEGIN
	IF v_hour + interval '26 hours' <= p_from THEN
		RETURN NULL;
	ELSIF v_before = v_after THEN
		RETURN v_hour + make_interval(secs => (SELECT min(s) FROM unnest(p_seconds) s
			WHERE s > extract(epoch FROM p_from - v_hour)));
	ELSIF p_once THEN
		RETURN (SELECT min(i) FROM unnest(p_seconds) s,
				LATERAL (SELECT instant_of(p_hour + make_interval(secs => s), p_zone) AS i) x
			WHERE i > p_from);
	END IF;
	RETURN (SELECT min(i) FROM unnest(p_seconds) s, (VALUES (v_before), (v_after)) o(ahead),
			LATERAL (SELECT p_hour + make_interval(secs => s) AS t) l,
			LATERAL (SELECT (t - ahead) AT TIME ZONE 'UTC' AS i) x
		WHERE i > p_from AND i AT TIME ZONE p_zone = t);
END
$$;

-- The next time of a line of cron after p_from; NULL if there is none within 50 years. A line with seconds,
-- or whose minute or hour begins with *, follows the clock on the wall. Any other job runs once where the
-- clock shows its time twice, and at the end of the gap where the clock does not show it. The days of month
-- and week must both match if one of these fields begins with *, else one of them: as Debian's cron has it.
CREATE OR REPLACE FUNCTION next_cron(p_schedule text, p_zone text, p_from timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	f CONSTANT text[] := cron_fields(p_schedule);
	v_week CONSTANT text[] := '{SUN,MON,TUE,WED,THU,FRI,SAT}';
	v_nth CONSTANT text := '^([0-7]|' || array_to_string(v_week, '|') || ')(?:#([1-5])|(L))$';
	v_months CONSTANT int[] := cron_values('month', f[5], 1, 12,
		'{JAN,FEB,MAR,APR,MAY,JUN,JUL,AUG,SEP,OCT,NOV,DEC}');
	v_days CONSTANT int[] := cron_values('day', f[4], 1, 31, '{}', '^LW?$')
		|| ARRAY(SELECT CASE i WHEN 'L' THEN 32 ELSE 33 END FROM string_to_table(f[4], ',') i
			WHERE i IN ('L', 'LW'));
	v_dows CONSTANT int[] := cron_values('day of the week', f[6], 0, 7, v_week, v_nth)
		|| ARRAY(SELECT cron_number(m[1], v_week, 0) % 7 * 10 + 10 + coalesce(m[2], '9')::int
			FROM string_to_table(f[6], ',') i, regexp_match(i, v_nth) m WHERE m IS NOT NULL);
	v_hours CONSTANT int[] := cron_values('hour', f[3], 0, 23);
	v_seconds CONSTANT int[] := ARRAY(SELECT 60 * m + s FROM unnest(cron_values('minute', f[2], 0, 59)) m,
		unnest(cron_values('second', coalesce(f[1], '0'), 0, 59)) s);
	v_both CONSTANT boolean := left(f[4], 1) = '*' OR left(f[6], 1) = '*';
	v_once CONSTANT boolean := f[1] IS NULL AND left(f[2], 1) <> '*' AND left(f[3], 1) <> '*';
	v_local CONSTANT timestamp := p_from AT TIME ZONE p_zone - interval '1 day';
	v_day date := v_local;
	v_end CONSTANT date := v_day + interval '50 years';
	v_hour int;
	ret timestamptz;
BEGIN
	WHILE v_day < v_end LOOP
		IF extract(month FROM v_day)::int <> ALL (v_months) THEN
			v_day := date_trunc('month', v_day + interval '1 month');
			CONTINUE;
		END IF;
		IF cron_day(v_day, v_days, v_dows, v_both) THEN
			FOR v_hour IN SELECT DISTINCT h FROM unnest(v_hours) h ORDER BY h LOOP
				ret := cron_in_hour(v_day + make_interval(hours => v_hour), v_seconds, p_zone,
					v_once, p_from);
				IF ret IS NOT NULL THEN
					RETURN ret;
				END IF;
			END LOOP;
		END IF;
		v_day := v_day + 1;
	END LOOP;
	RETURN NULL;
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION zone_offset, instants_of, instant_of, in_window, cron_fields, cron_number,
	cron_values, cron_day, cron_in_hour, next_cron TO observ_hub, observ_watch;

