"""`scalecli shape`."""
