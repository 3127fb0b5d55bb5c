SELECT save_channel($1, nullif($2, ''), $3, $4)
