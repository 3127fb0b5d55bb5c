-- $1 watcher
SELECT evaluate_alerts(clock_timestamp(), $1)
