-- Refuses the hash $1 if it is that of no token with which a server may post.
SELECT admit_server($1)
