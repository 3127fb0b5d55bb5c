-- The session that evaluates may have nothing to do for an hour.
SELECT set_config('idle_session_timeout', '0', false)
