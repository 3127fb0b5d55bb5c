-- The channels without their secrets. $1 who
SELECT list_channels($1)
