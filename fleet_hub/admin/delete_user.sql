-- User $1 goes, with sessions and tokens; the audit log stays.
SELECT json_build_object('email', $1::text, 'deleted', (delete_user('shell', $1) ->> 'ok')::boolean)
