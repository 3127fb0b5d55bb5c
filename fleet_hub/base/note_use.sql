-- The session or token $1 is in use.
SELECT note_use($1)
