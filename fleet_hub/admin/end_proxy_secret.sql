-- The secret of the proxy $1 ends.
SELECT json_build_object('name', $1::text, 'nothing', NOT ended)
FROM end_proxy_secret($1) ended
