-- User $2, by number or email, with sessions and tokens. $1 is who asks.
SELECT one_user($1, $2)
