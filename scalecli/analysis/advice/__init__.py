"""Which shapes to take, and which to train next."""
