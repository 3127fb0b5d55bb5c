-- Who shows that session or token, if the role $2 is among his rights. Refuses otherwise.
SELECT authorize($1, $2)
