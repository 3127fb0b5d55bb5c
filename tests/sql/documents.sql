-- What documents say of tables is what the tables have.
BEGIN;
SELECT no_plan();
\set doc `cat docs/alert-kinds.md`
\set query `cat scripts/alert_kinds.sql`
CREATE FUNCTION pg_temp.printed(p_query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	ret text;
BEGIN
	EXECUTE p_query INTO ret;
	RETURN ret;
END
$$;
SELECT is(split_part(split_part(:'doc', 'scripts/alert_kinds.sql -->' || chr(10), 2),
	chr(10) || '<!-- end', 1), pg_temp.printed(:'query'),
	'docs/alert-kinds.md has the kinds of rules as alert_kinds has them');
SELECT is_empty(format($$SELECT metric FROM alert_metrics() WHERE NOT metric = ANY (metric_columns())
	AND strpos(%L, '`' || metric || '`') = 0$$, :'doc'), 'and names the metrics that are no columns');
SELECT is_empty(format($$SELECT agg
	FROM alert_kinds k, jsonb_array_elements_text(params #> '{agg,values}') agg
	WHERE k.kind = 'threshold' AND strpos(%L, '`' || agg || '`') = 0$$, :'doc'), 'and each agg');
SELECT * FROM finish();
ROLLBACK;
