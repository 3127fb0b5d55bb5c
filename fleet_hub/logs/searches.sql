-- The saved searches: $3 of them, behind $2. $1 is who asks.
SELECT list_searches($1, $2, $3::int)
