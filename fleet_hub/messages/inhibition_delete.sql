SELECT delete_inhibition($1, $2)
