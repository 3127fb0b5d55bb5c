SELECT FROM observ.push($1)
