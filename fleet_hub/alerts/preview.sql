-- When the rule would have fired in the past. $1 its id, $2 for how many days
SELECT preview_rule($1, $2::int)
