-- The users of the hub.
SELECT json_build_object('users', coalesce(json_agg(json_build_object('email', rpad(u ->> 'email', 32),
	'role', rpad(u ->> 'role', 8), 'disabled', (u ->> 'disabled')::boolean,
	'seen', coalesce(left(replace(u ->> 'last_sign_in_at', 'T', ' '), 16), 'never'),
	'tokens', u -> 'tokens')), '[]'))
FROM json_array_elements(list_users('shell', NULL, 1000) -> 'items') u
