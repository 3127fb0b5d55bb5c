-- Who shows that session or token, if the role $2 is among his rights, and what each page tells: how many
-- alerts fire. Refuses otherwise.
SELECT json_build_object('me', authorize($1, $2), 'open', open_alerts())
