SELECT save_patch($1, NULL, $2, $3)
