"""Labeled images, from folders and datasets."""
