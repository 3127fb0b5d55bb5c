SELECT delete_route($1, $2)
