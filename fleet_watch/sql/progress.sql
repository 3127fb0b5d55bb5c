-- $1 notification_id, $2 watcher, $3 what was accepted so far, $4 seconds of the lease. Is it still ours?
SELECT notification_progress($1, $2, $3, $4, clock_timestamp())
