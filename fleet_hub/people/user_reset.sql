-- Another password for user $2; $3 is how it is kept.
SELECT change_user($1, $2, '{}', $3)
