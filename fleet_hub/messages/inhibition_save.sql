SELECT save_inhibition($1, nullif($2, ''), $3, $4)
