SELECT save_window($1, nullif($2, ''), $3, $4)
