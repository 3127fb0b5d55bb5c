-- A session with the hash $3 for user $1, if the key $2 is right. $4: the browser, $5: the session it had.
SELECT sign_in($1, $2, $3, $4, $5)
