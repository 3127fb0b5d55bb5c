-- Drops a token.
SELECT json_build_object('server', $1::text, 'nothing', NOT ended,
	'roles', CASE WHEN ended THEN json_build_array($1::text) ELSE '[]' END)
FROM revoke_token($1) ended
