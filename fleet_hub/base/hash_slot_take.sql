-- A slot for a password that goes through argon2id.
SELECT take_hash_slot()
