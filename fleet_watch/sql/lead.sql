-- Whoever holds this lock leads. The session's end gives it back.
SELECT pg_try_advisory_lock(1868721011, 2002874996)
