-- $1 rule, $2 at, $3 rows, or NULL, $4 why there are none, or NULL
SELECT external_values($1, $2, $3, $4)
