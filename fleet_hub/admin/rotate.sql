-- A second login for a server; the first stays valid for so many days.
SELECT json_build_object('server', $1::text, 'role', role_name, 'password', password, 'database', current_database(),
	'quoted', $q$'$q$ || replace($1, $q$'$q$, $q$'\''$q$) || $q$'$q$, 'days', coalesce($2, '7')) FROM rotate_server($1, make_interval(days => coalesce($2, '7')::int))
