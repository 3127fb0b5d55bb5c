-- A search is saved as the body $2 says.
SELECT save_search($1, $2)
