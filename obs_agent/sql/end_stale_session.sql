SELECT FROM observ.end_stale_session($1,$2)
