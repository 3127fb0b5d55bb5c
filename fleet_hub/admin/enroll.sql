-- Makes the login of a server, or a new password for it. `quoted`: its name for a shell. `again`: it had one.
SELECT json_build_object('server', $1::text, 'role', role_name, 'password', password,
	'database', current_database(),
	'again', coalesce((SELECT state IN ('enrolled', 'rotating') FROM v_servers WHERE vps_name = $1),
		false),
	'quoted', $q$'$q$ || replace($1, $q$'$q$, $q$'\''$q$) || $q$'$q$)
FROM enroll($1)
