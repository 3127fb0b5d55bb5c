-- The slot of the lease $1 is free again.
SELECT give_hash_slot($1)
