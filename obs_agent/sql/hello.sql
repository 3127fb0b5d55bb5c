SELECT epoch, last_seq, (extract(epoch FROM server_time) * 1000000)::bigint, schema_version
FROM observ.agent_hello($1,$2,$3,$4,$5,$6,$7,$8)
