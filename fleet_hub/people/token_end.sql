-- The API token $2 ends.
SELECT end_api_token($1, $2)
