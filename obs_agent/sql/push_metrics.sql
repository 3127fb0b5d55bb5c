SELECT observ.push_metrics($1,$2,$3)
