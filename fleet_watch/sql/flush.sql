-- In how many seconds the next group is due; NULL: none is.
SELECT extract(epoch FROM flush_groups(clock_timestamp()) - clock_timestamp())
