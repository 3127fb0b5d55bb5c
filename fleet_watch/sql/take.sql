-- $1 watcher, $2 how many, $3 seconds of the lease, $4 the ids of those under way
SELECT take_notifications($1, $2, $3, clock_timestamp(), NULL, $4)
