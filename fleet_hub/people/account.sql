-- Who shows $1, with sessions and tokens.
SELECT account($1)
