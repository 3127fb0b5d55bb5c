-- A secret for the proxy $1, which signs users in.
SELECT json_build_object('name', $1::text, 'secret', make_proxy_secret($1))
