-- What the watcher's doctor looks at, as one row.
SELECT EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'observ'::regnamespace
		AND proname = 'take_notifications' AND has_function_privilege(oid, 'EXECUTE')) AS may_take,
	EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'observ'::regnamespace
		AND proname = 'evaluate_alerts' AND has_function_privilege(oid, 'EXECUTE')) AS may_evaluate,
	EXISTS (SELECT FROM observ.watch_lead WHERE until > clock_timestamp()) AS leads,
	(SELECT extract(epoch FROM clock_timestamp() - evaluated_until)::bigint
		FROM observ.alert_clock) AS age_s,
	(SELECT watcher FROM observ.alert_clock) AS watcher,
	(SELECT string_agg(format('%s (%s)', name, disabled_reason), '; ' ORDER BY name) FROM observ.channels
		WHERE disabled_at IS NOT NULL) AS disabled,
	(SELECT string_agg(format('%s (%s, for the last %s)', name, s.last_error, CASE s.failures
			WHEN 1 THEN 'try' ELSE s.failures || ' tries' END), '; ' ORDER BY name)
		FROM observ.channels JOIN observ.channel_state s USING (channel_id)
		WHERE disabled_at IS NULL AND s.failures > 0) AS failing,
	(SELECT count(*) FROM observ.channels WHERE disabled_at IS NULL) AS channels,
	(SELECT count(*) FROM observ.notifications WHERE dead_at > now() - interval '1 day'
		AND replaced_by IS NULL) AS dead,
	(SELECT count(*) FROM observ.notifications WHERE sent_at IS NULL AND dead_at IS NULL
		AND made_at < now() - interval '10 minutes') AS late,
	(SELECT string_agg(format('%s (%s)', r.name, problem), '; ' ORDER BY r.name)
		FROM observ.alert_rules r, observ.rule_problem(r.rule_id) problem
		WHERE r.is_active AND problem IS NOT NULL) AS failed_rules
