-- The API tokens of all users: $3 of them, behind $2. $1 is who asks.
SELECT list_api_tokens($1, $2, $3::int)
