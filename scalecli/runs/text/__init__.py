"""Runs on text."""
