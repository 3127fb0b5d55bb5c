-- User $2 goes, with sessions and tokens.
SELECT delete_user($1, $2)
