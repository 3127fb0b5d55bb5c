-- A payload that a server posts becomes rows.
-- $1 hash of the server's token, $2 payload, $3 its log lines as ingest_lines() takes them,
-- $4 Idempotency-Key
SELECT ingest($1::bytea, $2::jsonb, $4, $3::jsonb)
