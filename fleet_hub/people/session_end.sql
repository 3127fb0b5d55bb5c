-- The session $2 ends.
SELECT end_session($1, $2)
