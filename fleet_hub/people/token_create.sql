-- An API token with the hash $3, as the body $2 says.
SELECT create_api_token($1, $2, $3)
