SELECT import_rules($1, $2)
