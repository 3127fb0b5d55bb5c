-- The channels without their secrets. $1 who, $2 the kind that channel_form.sql is for
SELECT list_channels($1) FROM (SELECT $2::text) form
