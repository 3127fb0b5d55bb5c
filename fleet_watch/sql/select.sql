-- $1 the query
SELECT select_values($1)
