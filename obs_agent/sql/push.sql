SELECT FROM observ.push($1,$2,$3,$4,$5,$6,$7)
