SELECT end_silence($1, $2, $3)
