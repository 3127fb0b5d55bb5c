SELECT observ.push_rejects($1,$2,$3)
