-- All tokens of the server $1 end now.
SELECT json_build_object('name', $1::text, 'n', n, 'nothing', n = 0)
FROM end_server_tokens('shell', $1) n
