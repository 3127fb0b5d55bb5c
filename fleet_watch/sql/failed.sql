-- $1 notification_id, $2 watcher, $3 what is refused, $4 why, $5 seconds that the peer asks for, $6 what was
-- accepted
SELECT notification_failed($1, $2, $3, $4, $5, $6, clock_timestamp())
