SELECT save_silence($1, nullif($2, ''), $3, $4)
