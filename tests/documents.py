"""What commands print as JSON for programs."""

import json


def tables(out):
    """The rows of each table of a document by its key."""
    return json.loads(out)["tables"]


def models(out):
    """The rows of its first table."""
    return next(iter(tables(out).values()))
