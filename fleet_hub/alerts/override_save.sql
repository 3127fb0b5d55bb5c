-- $1 who, $2 the rule, $3 the body
SELECT save_patch($1, $2, NULL, $3)
