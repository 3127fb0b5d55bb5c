-- Is the database there, is the schema one that this hub reads, and does maintain() run?
SELECT json_build_object('status', CASE WHEN jobs = 'ok' THEN 'ok' ELSE 'bad' END, 'timestamp', now(),
	'service', 'observ', 'database', 'ok', 'schema_version', version, 'jobs', jobs,
	'agents', (SELECT count(*) FROM agents))
FROM (SELECT max(version) AS version, max(applied_at) AS applied_at FROM schema_version) s,
	LATERAL (SELECT CASE
		WHEN last.ok THEN CASE WHEN last.started_at > now() - interval '36 hours' THEN 'ok'
			ELSE 'maintain() has not run since ' || to_char(last.started_at,
				'YYYY-MM-DD HH24:MI') END
		WHEN NOT last.ok THEN 'maintain() failed: ' || left(last.result, 500)
		WHEN applied_at > now() - interval '36 hours' THEN 'ok'
		ELSE 'maintain() has never run' END AS jobs
		FROM (SELECT 1) one LEFT JOIN (SELECT * FROM job_runs WHERE job = 'maintain'
			ORDER BY started_at DESC LIMIT 1) last ON true) j
