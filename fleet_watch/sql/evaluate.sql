-- $1 watcher. What it did, whether a rule that took too long has ended it, whether times are left, and the
-- rules that are to be evaluated by themselves.
SELECT r, r ? 'cut_off', (r->>'again')::boolean, (r->>'alone')::bigint
FROM evaluate_alerts(clock_timestamp(), $1) r
