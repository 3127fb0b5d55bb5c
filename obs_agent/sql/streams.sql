SELECT stream_id, path, file_id, head_hash, tail_hash, "position", finished, age_s, source, cursor
FROM observ.agent_streams($1,$2,$3)
