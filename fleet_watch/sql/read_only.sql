-- Limits of the session that runs the SELECTs of administrators.
SELECT set_config('default_transaction_read_only', 'on', false), set_config('statement_timeout', '5s', false)
