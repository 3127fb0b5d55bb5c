SELECT epoch, last_seq, server_time, schema_version FROM observ.agent_hello($1,$2,$3,$4,$5,$6)
