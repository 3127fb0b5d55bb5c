-- The rule that took too long with the others and waits longest. How many are left.
SELECT evaluate_alone(clock_timestamp())
