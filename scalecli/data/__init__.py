"""Text, tasks and images, as batches."""

MOST_TOKENS = 2**20  # of an example's inputs, and of its targets
