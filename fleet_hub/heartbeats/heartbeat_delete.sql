SELECT delete_heartbeat($1, $2)
