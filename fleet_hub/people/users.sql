-- The users, by email: $3 of them, behind $2. $1 is who asks.
SELECT list_users($1, $2, $3::int)
