-- $1 watcher, $2 how many, $3 seconds of the lease
SELECT take_notifications($1, $2, $3, clock_timestamp())
