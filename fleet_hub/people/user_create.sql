-- A new user of the body $2; $3 is how the password is kept.
SELECT create_user($1, $2, $3)
