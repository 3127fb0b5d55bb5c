-- User $1 may sign in again.
SELECT change_user('shell', $1, '{"disabled": false}', NULL)
