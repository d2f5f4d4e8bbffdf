"""Runs on tasks."""
