SELECT test_channel_for($1, $2)
