"""Runs on labeled images."""
