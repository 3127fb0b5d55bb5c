-- The session or token $1 ends.
SELECT sign_out($1)
