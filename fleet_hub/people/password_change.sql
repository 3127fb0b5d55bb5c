-- Another password for the user of session $1: $2 is the key of the one so far, $3 how the new one is kept,
-- $4 the hash of the session that goes on, $5 the browser.
SELECT change_password($1, $2, $3, $4, $5)
