"""`chai cache`: commands that look into the cache, ask it, warm it, purge it."""
