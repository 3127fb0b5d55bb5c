-- $1 channel, $2 who asks, $3 watcher, $4 seconds of the lease
WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
SELECT take_notifications($3, 1, $4, now, test_channel($1, $2, now)) FROM clock
