-- A login with which servers enroll themselves.
SELECT json_build_object('role', role_name, 'password', password, 'database', current_database(), 'uses', coalesce($1, '1'),
	'hours', coalesce($2, '24')) FROM make_token(coalesce($1, '1')::int, make_interval(hours => coalesce($2, '24')::int))
