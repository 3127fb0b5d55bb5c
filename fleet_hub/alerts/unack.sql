SELECT unack_alert($1, $2)
