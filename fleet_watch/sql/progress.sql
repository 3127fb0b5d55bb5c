-- $1 notification_id, $2 what was accepted so far, $3 seconds of the lease
SELECT notification_progress($1, $2, $3, clock_timestamp())
