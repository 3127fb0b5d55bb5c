-- Makes a token: a login that may enroll $1 new servers within $2 hours.
SELECT json_build_object('role', role_name, 'password', password, 'database', current_database(),
	'uses', coalesce($1, '1'), 'hours', coalesce($2, '24'))
FROM make_token(coalesce($1, '1')::int, make_interval(hours => coalesce($2, '24')::int))
