-- Another token with which the server $1 posts to the hub. Former ones stay valid for $2 days.
SELECT renew_server_token('shell', $1, NULL, make_interval(days => least(coalesce($2, '7')::int, 3650)))
	|| jsonb_build_object('days', least(coalesce($2, '7')::int, 3650))
