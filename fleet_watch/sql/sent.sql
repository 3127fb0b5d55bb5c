-- $1 notification_id, $2 what was accepted, $3 what was not, or NULL
SELECT notification_sent($1, $2, $3, clock_timestamp())
