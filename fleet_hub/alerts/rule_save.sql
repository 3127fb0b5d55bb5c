-- $1 who, $2 the rule's id, or '' for a new one, $3 the body, $4 If-Match
SELECT save_rule($1, nullif($2, ''), $3, $4)
