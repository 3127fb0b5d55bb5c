-- Enrolls a new server with the token that this session logged in with.
SELECT role_name, password FROM observ.bootstrap_enroll($1)
