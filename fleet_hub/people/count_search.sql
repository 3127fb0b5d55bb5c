-- One more search of who shows $1; null: of this address.
SELECT count_search($1)
