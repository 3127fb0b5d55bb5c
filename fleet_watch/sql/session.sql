-- Limits of the session. The session of a watcher that died with its machine or network, or that hangs, must
-- end within 10 s: one that lives asks for the lead each second. An evaluation must not go on for somebody
-- who is gone. The keepalives don't apply to a unix socket.
SELECT set_config('search_path', 'observ, pg_catalog', false),
	set_config('statement_timeout', '60s', false),
	set_config('lock_timeout', '20s', false),
	set_config('idle_session_timeout', '6s', false),
	set_config('tcp_keepalives_idle', '3', false),
	set_config('tcp_keepalives_interval', '1', false),
	set_config('tcp_keepalives_count', '3', false),
	set_config('tcp_user_timeout', '6s', false),
	set_config('client_connection_check_interval', '2s', false)
