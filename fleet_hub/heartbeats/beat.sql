-- $1 the hash of the token, $2 start, done or failed; NULL: done, $3 a note or NULL
SELECT beat_by_token($1, $2, left($3, 2000))
