-- One more search of who shows $1.
SELECT count_search($1)
