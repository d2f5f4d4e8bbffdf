"""`scalecli compare`."""
