-- A server that is new, with the token that this session logged in with: its login.
SELECT role_name, password FROM observ.bootstrap_enroll($1)
