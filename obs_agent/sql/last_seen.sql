-- How long ago the database heard from this agent, in seconds, and the agent's state. No row: never. It fails
-- if the role may not write as this server.
SELECT age_s, state FROM observ.agent_last_seen($1, $2)
