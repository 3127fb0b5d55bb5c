SELECT observ.push_gaps($1,$2,$3)
