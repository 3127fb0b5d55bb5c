SELECT FROM observ.agent_take_over($1,$2)
