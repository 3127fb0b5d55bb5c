SELECT delete_rule($1, $2, $3)
