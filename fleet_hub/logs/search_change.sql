-- The saved search $2 changes as the body $3 says.
SELECT change_search($1, $2, $3)
