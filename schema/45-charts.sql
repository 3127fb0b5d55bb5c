-- ==== 45-charts: the points of the charts of a server ===========================================
-- Of each application, metric and slot of p_step seconds from p_since on: the sum of the samples, their
-- number, the least and the greatest. Slots without a value are left out. Steps of an hour or more read the
-- roll-ups of an hour, those of five minutes or more the others, up to the newest bucket of an application,
-- and raw rows behind it: charts are right also where maintain() has not run.
--
-- Each application's rows are found by its name, since the planner can't know from a time alone how few they
-- are. Rows become slots before they become metrics: one row of a table has all of these.
CREATE OR REPLACE FUNCTION chart_points(p_vps text, p_since timestamptz, p_until timestamptz, p_step int,
	p_metrics text[])
RETURNS TABLE (app_name text, metric text, slot int, total float8, samples float8, low float8, high float8)
LANGUAGE plpgsql STABLE ROWS 5000 SET search_path = observ, pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
	rollup text := CASE WHEN p_step >= 3600 THEN 'metrics_1h' WHEN p_step >= 300 THEN 'metrics_5m' END;
	v_sql text;
BEGIN
	SELECT format('SELECT a.app_name, m.* FROM agents a
		CROSS JOIN LATERAL (SELECT coalesce((%s), $2) AS edge OFFSET 0) e
		CROSS JOIN LATERAL (SELECT floor(extract(epoch FROM "timestamp" - $2) / $4)::int AS slot, %s
			FROM (%s SELECT "timestamp", 1::float8 AS n, %s FROM vps_metrics t
				WHERE t.vps_name = $1 AND t.app_name = a.app_name
				AND t."timestamp" >= edge AND t."timestamp" < $3) rows GROUP BY 1) s
		CROSS JOIN LATERAL (VALUES %s) m (metric, slot, total, samples, low, high)
		WHERE a.vps_name = $1 AND m.samples > 0',
		CASE WHEN rollup IS NULL THEN 'NULL' ELSE format('SELECT "timestamp" FROM %I t
			WHERE t.vps_name = $1 AND t.app_name = a.app_name AND t."timestamp" >= $2
			AND t."timestamp" < $3 ORDER BY "timestamp" DESC LIMIT 1', rollup) END,
		string_agg(format('sum(%1$I * n) AS t%2$s, sum(n) FILTER (WHERE %1$I IS NOT NULL) AS n%2$s, '
			'min(l%2$s) AS l%2$s, max(h%2$s) AS h%2$s', c, i), ', '),
		CASE WHEN rollup IS NOT NULL
			THEN format('SELECT "timestamp", samples::float8 AS n, %s FROM %I t
			WHERE t.vps_name = $1 AND t.app_name = a.app_name AND t."timestamp" >= $2
			AND t."timestamp" < edge UNION ALL',
			string_agg(format('%I AS %I, %I AS l%s, %I AS h%4$s',
			c || '_avg', c, c || '_min', i, c || '_max'), ', '), rollup) END,
		string_agg(format('%1$I, %1$I AS l%2$s, %1$I AS h%2$s', c, i), ', '),
		string_agg(format('(%L, s.slot, s.t%2$s, s.n%2$s, s.l%2$s, s.h%2$s)', c, i), ', '))
		INTO v_sql FROM unnest(p_metrics) WITH ORDINALITY u(c, i);
	RETURN QUERY EXECUTE v_sql USING p_vps, p_since, p_until, p_step;
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION chart_points TO observ_hub;
