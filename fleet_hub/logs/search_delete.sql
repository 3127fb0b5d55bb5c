-- The saved search $2 ends.
SELECT delete_search($1, $2)
