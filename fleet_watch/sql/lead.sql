-- $1 watcher. Does it lead?
SELECT lead_watch($1, clock_timestamp())
