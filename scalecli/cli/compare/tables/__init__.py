"""The tables of what `scalecli compare` works out from its rows."""
