-- A login for a server, or a new password for the one that it has. `quoted` is the name for a shell.
SELECT json_build_object('server', $1::text, 'role', role_name, 'password', password, 'database', current_database(),
	'quoted', $q$'$q$ || replace($1, $q$'$q$, $q$'\''$q$) || $q$'$q$) FROM enroll($1)
