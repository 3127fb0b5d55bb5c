SELECT ack_alert($1, $2, $3)
