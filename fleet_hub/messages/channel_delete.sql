SELECT delete_channel($1, $2, $3)
