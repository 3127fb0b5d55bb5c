-- $4 the hub's own address, for the URL that the job calls
SELECT save_heartbeat($1, nullif($2, ''), $3, $4, $5)
