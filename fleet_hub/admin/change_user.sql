-- Another role, $2, for user $1, whose sessions end.
SELECT change_user('shell', $1, jsonb_build_object('role', $2::text), NULL)
