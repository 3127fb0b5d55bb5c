-- The tokens of servers, and those that enroll new ones.
SELECT json_build_object(
	'servers', (SELECT json_agg(json_build_object('name', rpad(t->>'server', 24),
		'made', to_char((t->>'made_at')::timestamptz, 'YYYY-MM-DD HH24:MI'), 'by', t->>'made_by',
		'until', to_char((t->>'valid_until')::timestamptz, 'YYYY-MM-DD HH24:MI')) ORDER BY n)
		FROM jsonb_array_elements(list_server_tokens('shell')) WITH ORDINALITY v(t, n)),
	'bootstrap', (SELECT json_agg(json_build_object('role', rpad(role, 24), 'used', used, 'uses', uses,
		'made', to_char(made_at, 'YYYY-MM-DD HH24:MI'),
		'until', to_char(expires_at, 'YYYY-MM-DD HH24:MI'),
		'ended', used >= uses OR expires_at <= now()) ORDER BY made_at) FROM bootstrap_tokens))
