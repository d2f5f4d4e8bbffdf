"""Files of the cache, believed only as far as their seals go: each has one beside it that says its format and hash.

What is damaged, unfinished or of another version counts as absent, is said so, and is made anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scalecli.errors import ScalecliError
from scalecli.storage.files import Say, read_bytes, sha256_of, write_atomically

_FORMAT = 1
_SEAL_BYTES = 16 << 20


def seal(file: Path, facts: dict[str, Any]) -> None:
    """Seals a file that is whole, with facts about it that JSON can hold.

    Raises:
        ScalecliError: the seal can't be written.
    """
    content = {"format": _FORMAT, "bytes": file.stat().st_size, "sha256": sha256_of(file), "facts": facts}
    write_atomically(_seal_of(file), json.dumps({**content, "seal": _hash(content)}))


def sealed(file: Path, say: Say) -> dict[str, Any] | None:
    """The facts about a file that is as it was sealed, all of which is read for that; None where it is to be made.

    `say` is called with a line about one that is there and can't be used.
    """
    if not file.exists() and not _seal_of(file).exists():
        return None
    try:
        content = json.loads(read_bytes(_seal_of(file), _SEAL_BYTES))
        is_whole = (
            content.pop("seal") == _hash(content)
            and content["format"] == _FORMAT
            and file.stat().st_size == content["bytes"]
            and sha256_of(file) == content["sha256"]
        )
    except (OSError, ScalecliError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        is_whole = False
    if is_whole:
        return content["facts"]
    say(f"{file}: damaged, unfinished or from another version of scalecli; made anew")
    return None


def cached_text(file: Path, make: Callable[[], str], say: Say) -> str:
    """A text from the cache, or as `make` makes it; a cache that can't be written costs making it each time."""
    if sealed(file, say) is not None:
        return file.read_text("utf-8")
    text = make()
    try:
        write_atomically(file, text)
        seal(file, {})
    except ScalecliError as error:
        say(f"{error}; going on without it")
    return text


def _seal_of(file: Path) -> Path:
    return file.with_suffix(".seal")


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
