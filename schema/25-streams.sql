-- ==== 25-streams: how far the agents have read ==================================================
-- How far each stream is read: a log file, an agent's outbox, a journal, a container's log. The position
-- moves in the transaction that brings the rows. A stream belongs to its source; `cursor` says where that
-- goes on, in the source's own words, where the position alone does not.
CREATE TABLE IF NOT EXISTS log_streams (
	vps_name text NOT NULL,
	app_name text NOT NULL,
	stream_id bigint NOT NULL,
	path text NOT NULL,
	file_id text NOT NULL,
	head_hash text NOT NULL,
	tail_hash text NOT NULL,
	"position" bigint NOT NULL CHECK ("position" >= 0),
	finished boolean NOT NULL,                      -- rotated away and read to its end
	updated_at timestamptz NOT NULL,
	source text NOT NULL DEFAULT 'tail',            -- tail, outbox, journal, container
	cursor text NOT NULL DEFAULT '',
	PRIMARY KEY (vps_name, app_name, stream_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
GRANT SELECT ON log_streams TO observ_hub, observ_watch;

-- Of an application. maintain() keeps finished streams for a year.
CREATE OR REPLACE FUNCTION max_streams() RETURNS bigint LANGUAGE sql IMMUTABLE RETURN 500000;

-- The streams that an agent has: all unfinished ones, and the newest finished ones, whose files may still be
-- there and must not be read again. age_s: how long ago the position was committed; with it the agent can
-- tell whether its machine has booted since.
CREATE OR REPLACE FUNCTION agent_streams(p_vps text, p_app text, p_epoch bigint)
RETURNS TABLE (stream_id bigint, path text, file_id text, head_hash text, tail_hash text, "position" bigint,
	finished boolean, age_s bigint, source text, cursor text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	PERFORM check_writer(p_vps, p_app, 0);
	IF NOT EXISTS (SELECT FROM agents a
			WHERE a.vps_name = p_vps AND a.app_name = p_app AND a.epoch = p_epoch) THEN
		RAISE EXCEPTION 'epoch % of "%" on "%" is not current', p_epoch, p_app, p_vps
			USING ERRCODE = 'OB002';
	END IF;
	RETURN QUERY SELECT s.stream_id, s.path, s.file_id, s.head_hash, s.tail_hash, s."position",
			s.finished, extract(epoch FROM clock_timestamp() - s.updated_at)::bigint,
			s.source, s.cursor
		FROM (SELECT l.*, row_number() OVER (PARTITION BY l.source, l.finished
				ORDER BY l.updated_at DESC) AS nth
			FROM log_streams l WHERE l.vps_name = p_vps AND l.app_name = p_app) s
		WHERE NOT s.finished OR s.nth <= CASE s.source WHEN 'outbox' THEN 1024 ELSE 4096 END
		ORDER BY s.source, s.finished, CASE WHEN s.finished THEN s.nth ELSE s.stream_id END;
END
$$;

-- Compare and set: a batch that was read from another position than the stored one, or whose stream has
-- another source, is refused as a whole. A row: stream, position before, position, source ('': tail), and if
-- they say anything: finished, path (else the source's name), file, head, tail, cursor.
CREATE OR REPLACE FUNCTION push_positions(p_vps text, p_app text, p_rows jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	v_now timestamptz := clock_timestamp();
	v_streams bigint;                       -- counted once, at the first new stream
	r record;
BEGIN
	PERFORM check_writer(p_vps, p_app, pg_column_size(p_rows));
	FOR r IN SELECT (e->>0)::bigint AS id, (e->>1)::bigint AS was, (e->>2)::bigint AS pos,
			left(coalesce(nullif(e->>3, ''), 'tail'), 100) AS source,
			coalesce((e->>4)::boolean, false) AS fin, left(coalesce(e->>5, e->>3), 4096) AS path,
			left(coalesce(e->>6, ''), 200) AS file, left(coalesce(e->>7, ''), 200) AS head,
			left(coalesce(e->>8, ''), 200) AS tail,
			left(coalesce(e->>9, ''), 4096) AS cursor
			FROM jsonb_array_elements(p_rows) e LOOP
		UPDATE log_streams s SET "position" = r.pos, finished = r.fin, path = r.path,
			file_id = r.file, head_hash = r.head, tail_hash = r.tail, cursor = r.cursor,
			updated_at = v_now
			WHERE s.vps_name = p_vps AND s.app_name = p_app AND s.stream_id = r.id
				AND s."position" = r.was AND s.source = r.source;
		CONTINUE WHEN FOUND;
		IF v_streams IS NULL THEN
			SELECT count(*) INTO v_streams FROM log_streams s
				WHERE s.vps_name = p_vps AND s.app_name = p_app;
		END IF;
		IF v_streams >= max_streams() THEN
			RAISE EXCEPTION '"%" on "%" has % log files, and no more are taken',
				p_app, p_vps, max_streams() USING ERRCODE = '54000';
		END IF;
		INSERT INTO log_streams (vps_name, app_name, stream_id, path, file_id, head_hash, tail_hash,
				"position", finished, updated_at, source, cursor)
			SELECT p_vps, p_app, r.id, r.path, r.file, r.head, r.tail, r.pos, r.fin, v_now,
				r.source, r.cursor
			WHERE r.was = 0
			ON CONFLICT (vps_name, app_name, stream_id) DO NOTHING;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'stream % of "%" on "%" is not at position %',
				r.id, p_app, p_vps, r.was USING ERRCODE = 'OB003';
		END IF;
		v_streams := v_streams + 1;
	END LOOP;
END
$$;

SELECT drop_former_functions() \g /dev/null
GRANT EXECUTE ON FUNCTION agent_streams, push_positions TO observ_agent;

