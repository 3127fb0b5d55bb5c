-- Limits of the session that runs the SELECTs of administrators, perhaps seldom.
SELECT set_config('idle_session_timeout', '0', false),
	set_config('default_transaction_read_only', 'on', false), set_config('statement_timeout', '5s', false)
