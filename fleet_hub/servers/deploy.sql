-- A release of an application.
-- $1 hash of the server's token, $2 {"app", "release", "note"?, "timestamp"?}
SELECT record_deploy($1::bytea, $2::jsonb)
