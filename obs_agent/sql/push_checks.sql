SELECT observ.push_checks($1,$2,$3)
