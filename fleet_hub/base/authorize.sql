-- Who shows that session or token, if the role $2 is among his rights; and what each page tells: how many
-- alerts
-- fire. Refuses otherwise.
SELECT authorize($1, $2)::jsonb || open_alerts()
