-- What was refused counts, too: $1 is who asked, $2 the limit.
SELECT charge_refusal($1, $2)
