"""Checks for the author of an architecture."""
