-- Is the database there, and is the schema one that this hub reads?
SELECT json_build_object('status', 'ok', 'schema_version', (SELECT max(version) FROM schema_version),
	'agents', (SELECT count(*) FROM agents), 'time', now())
