-- User $2 changes as the body $3 says; $4 is how a new password is kept, or null.
SELECT change_user($1, $2, $3, $4)
