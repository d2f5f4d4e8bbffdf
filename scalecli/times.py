"""The times that manifests have."""

from __future__ import annotations

import datetime


def utc_now() -> str:
    """The present moment as manifests state it, in whole seconds: `2022-07-21T12:00:00+00:00`."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def parse_time(text: str) -> datetime.datetime:
    """A time of a manifest. Raises ValueError where it is none."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))  # other tools write Z; Python 3.10 has none
