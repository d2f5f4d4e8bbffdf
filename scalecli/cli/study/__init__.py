"""`scalecli study`."""
