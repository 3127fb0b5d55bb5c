-- Makes a second login for a server. The first one stays valid for $2 days.
SELECT json_build_object('server', $1::text, 'role', role_name, 'password', password,
	'database', current_database(), 'days', coalesce($2, '7'),
	'quoted', $q$'$q$ || replace($1, $q$'$q$, $q$'\''$q$) || $q$'$q$)
FROM rotate_server($1, make_interval(days => coalesce($2, '7')::int))
