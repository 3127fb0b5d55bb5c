-- User $1 can't sign in any more, and the sessions end; the tokens are dead.
SELECT change_user('shell', $1, '{"disabled": true}', NULL)
