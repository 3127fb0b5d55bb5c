-- The tokens that enroll new servers.
SELECT json_build_object('tokens', coalesce((SELECT json_agg(json_build_object('id', role, 'made_at', made_at,
	'expires_at', expires_at, 'uses', uses, 'used', used, 'ended', used >= uses OR expires_at <= now())
	ORDER BY made_at DESC) FROM bootstrap_tokens), '[]'))
