-- How to make the key of the password of the user who shows $1.
SELECT password_salt($1)
