"""Stacks of blocks: sublayers with their residuals, and one block scanned over stacked weights."""
