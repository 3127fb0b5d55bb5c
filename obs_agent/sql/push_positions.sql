SELECT observ.push_positions($1,$2,$3)
