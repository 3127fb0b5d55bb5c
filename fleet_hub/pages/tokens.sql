-- The API tokens of all users.
SELECT list_api_tokens($1)
