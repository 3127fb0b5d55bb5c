-- $1 how long a statement of this session may take from now on
SELECT set_config('statement_timeout', $1, false)
