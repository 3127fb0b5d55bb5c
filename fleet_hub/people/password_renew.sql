-- The password of session $1 with another salt and cost, $3; its key so far is $2.
SELECT renew_password($1, $2, $3)
