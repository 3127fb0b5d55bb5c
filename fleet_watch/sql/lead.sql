-- Whoever holds this lock leads. The session's end gives it back. One that holds it may ask again. A leader
-- that was stopped while the database wrote it an answer holds its session as long as it likes: no timeout
-- ends a session that writes. So another watcher ends it.
WITH holder AS MATERIALIZED (SELECT pid FROM pg_locks
	WHERE locktype = 'advisory' AND classid = 1868721011 AND objid = 2002874996 AND objsubid = 2
		AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
SELECT CASE WHEN EXISTS (SELECT FROM holder WHERE pid = pg_backend_pid()) THEN true
		ELSE pg_try_advisory_lock(1868721011, 2002874996) END,
	(SELECT bool_or(pg_terminate_backend(pid)) FROM holder JOIN pg_stat_activity USING (pid)
		WHERE wait_event = 'ClientWrite' AND query_start < clock_timestamp() - interval '6 seconds'
			AND usename = session_user)
