"""Tasks: their files, examples, text forms, mixtures and batches."""
