-- The searches in the menu of the page /logs. $1 is who asks. The menu has 100, the page /logs/saved all.
SELECT json_build_object('saved', list_searches($1, NULL, 100)->'items')
