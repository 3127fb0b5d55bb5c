-- Another password for user $1: $2 is how it is kept. The sessions end.
SELECT change_user('shell', $1, '{}', $2)
