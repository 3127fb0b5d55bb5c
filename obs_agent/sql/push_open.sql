SELECT observ.push_open($1,$2,$3,$4,$5)
