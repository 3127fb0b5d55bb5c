-- PostgreSQL of this machine listens to others, with the hub's certificate, of which it has a copy. Gives the
-- file of access rules, the port, whether it listens only after a restart, and the folder for the copy.
ALTER SYSTEM SET ssl_cert_file = 'observ.crt';
ALTER SYSTEM SET ssl_key_file = 'observ.key';
ALTER SYSTEM SET ssl = on;
SELECT current_setting('listen_addresses') IN ('', 'localhost', '127.0.0.1') AS closed \gset
\if :closed
ALTER SYSTEM SET listen_addresses = '*';
\endif
SELECT current_setting('hba_file'), current_setting('port'), :'closed', current_setting('data_directory');
