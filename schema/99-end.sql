-- ==== 99-end: the version is recorded =========================================================
DROP FUNCTION want_index(text, text), want_column(text, text, text, text), on_all_nodes(text),
	drop_former_functions();
INSERT INTO schema_version (version) VALUES (:version) ON CONFLICT DO NOTHING;
COMMENT ON SCHEMA observ IS :'version';        -- for logins that may not read tables: obs_agent doctor
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN
		RAISE WARNING 'this database has Citus: run citus.sql now' USING HINT = 'templates/citus.sql';
	END IF;
END
$$;
COMMIT;
