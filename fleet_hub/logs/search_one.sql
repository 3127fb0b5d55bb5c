-- The saved search $2.
SELECT one_search($1, $2)
