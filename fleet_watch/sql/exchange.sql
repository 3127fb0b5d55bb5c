-- $1 watcher, $2 outcomes, $3 how many to take, $4 seconds of the lease, $5 the ids of those under way
SELECT exchange_notifications($1, $2, $3, $4, $5, clock_timestamp())
