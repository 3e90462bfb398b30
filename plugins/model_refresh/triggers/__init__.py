"""What waits in the triggerer, where waiting costs no worker slot."""
