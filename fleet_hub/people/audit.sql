-- Who did what: the newest $4 rows before row $3 that have $2 in them.
SELECT list_audit($1, $2, $3, $4::int)
