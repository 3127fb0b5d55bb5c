-- A login for a server, or a new password for the one that it has.
SELECT json_build_object('server', $1::text, 'role', role_name, 'password', password, 'database', current_database()) FROM enroll($1)
