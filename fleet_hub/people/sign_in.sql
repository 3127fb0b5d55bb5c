-- Is there anybody who could sign in?
SELECT json_build_object('nobody', NOT any_user())
