-- How long ago the database heard from this agent, in seconds; NULL: never. An error: the role may not write as this server.
SELECT observ.agent_silence($1, $2)
