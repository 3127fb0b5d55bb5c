SELECT evaluate_alerts(clock_timestamp())
