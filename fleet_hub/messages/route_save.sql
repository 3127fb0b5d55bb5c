SELECT save_route($1, nullif($2, ''), $3, $4)
