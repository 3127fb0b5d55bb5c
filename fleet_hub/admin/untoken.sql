-- Ends a token.
SELECT json_build_object('server', $1::text, 'roles', CASE WHEN revoke_token($1) THEN json_build_array($1::text) ELSE '[]' END)
