-- ==== 99-end: the version is recorded =========================================================
DROP FUNCTION want_index(text, text), want_column(text, text, text), drop_former_functions();
INSERT INTO schema_version (version) VALUES (:version) ON CONFLICT DO NOTHING;
COMMENT ON SCHEMA observ IS :'version';        -- for logins that may not read tables: obs_agent doctor
COMMIT;
