SELECT delete_patch($1, $2)
