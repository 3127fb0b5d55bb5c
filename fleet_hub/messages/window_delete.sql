SELECT delete_window($1, $2)
