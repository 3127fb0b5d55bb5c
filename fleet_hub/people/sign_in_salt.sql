-- How to make the key of the password of user $1. Counts as a try of this address.
SELECT sign_in_salt($1)
