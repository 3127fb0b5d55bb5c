-- A user of the hub: $1 the email, $2 the role, $3 how the password is kept.
SELECT create_user('shell', jsonb_build_object('email', $1::text, 'role', coalesce($2::text, 'viewer')), $3)
