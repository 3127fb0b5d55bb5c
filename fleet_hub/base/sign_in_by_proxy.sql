-- The session $3 of the user $2 is open, if $1 is the secret of a proxy. Each is a hash, but for the name.
SELECT sign_in_by_proxy($1, $2, $3)
