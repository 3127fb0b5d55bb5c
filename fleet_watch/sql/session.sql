-- Limits of the session. A watcher whose machine or network died must lose its lock within 10 s, and an
-- evaluation must not go on for somebody who is gone. The keepalives don't apply to a unix socket.
SELECT set_config('search_path', 'observ, pg_catalog', false),
	set_config('statement_timeout', '60s', false),
	set_config('lock_timeout', '20s', false),
	set_config('tcp_keepalives_idle', '3', false),
	set_config('tcp_keepalives_interval', '1', false),
	set_config('tcp_keepalives_count', '3', false),
	set_config('tcp_user_timeout', '6s', false),
	set_config('client_connection_check_interval', '2s', false)
