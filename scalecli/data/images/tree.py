"""Which image files there are, by split and class, in a folder that has a folder for each class."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from scalecli.data.sources import content_stamp
from scalecli.errors import MissingError
from scalecli.storage.files import is_remote, locate, one_line_errors

_SUFFIXES = (".jpg", ".jpeg", ".png")
_TRAINING, _HELD_OUT = "train", ("validation", "val", "test")
_EVERY = 10  # of each class, where no folder says which are held out
OTHER_FILES, EMPTY = "files that are neither JPEG nor PNG", "classes without an image"
UNREADABLE = ""  # the stamp of a link to nowhere, a pipe (who reads it waits), or what may not be read


@dataclass(frozen=True)
class ImageFiles:
    """The image files of one split by class, as paths below `root`; `stamps` change with their content."""

    root: str
    name: str
    by_class: dict[str, list[str]]
    stamps: dict[str, str]
    left_out: dict[str, int]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in order."""
        return tuple(sorted(self.by_class))

    def path(self, file: str) -> bytes:
        """Where a file lies, for TensorFlow."""
        return os.fsencode(f"{self.root.rstrip('/')}/{file}")


@dataclass(frozen=True)
class ImageTree:
    """A folder with all that is in it: files by their paths below it, with their stamps, and folders."""

    root: str
    files: dict[str, str]
    folders: tuple[str, ...]

    @classmethod
    def of(cls, root: str) -> ImageTree:
        """Lists a folder, here or in a bucket; names that begin with a dot are passed over. Raises MissingError."""
        with one_line_errors(root):
            entries = _remote_entries(root) if is_remote(root) else _local_entries(os.path.expanduser(root))
            if entries is None:
                raise MissingError(f"{root}: no such folder")
            shown = {name: stamp for name, stamp in entries if not any(part[0] == "." for part in name.split("/"))}
        files = {name: stamp for name, stamp in shown.items() if stamp is not None}
        folders = tuple(name for name, stamp in shown.items() if stamp is None)
        return cls(root if is_remote(root) else os.path.expanduser(root), files, folders)

    def splits(self, training: str | None, held_out: str | None) -> tuple[ImageFiles, ImageFiles]:
        """The images to train on and the held-out ones; see `scalecli.data.images.source.ImageSource`.

        Raises:
            MissingError: there are none, or only one class, or no such folder of classes.
        """
        usual = _TRAINING if self._holds_classes(_TRAINING) else ""
        learned = self._split(usual if training is None else training)
        if len(learned.by_class) == 1:
            raise MissingError(f"{learned.name}: one class, {learned.classes[0]!r}; two or more are accepted")
        folder = held_out or next((name for name in _HELD_OUT if usual and self._holds_classes(name)), None)
        if folder is not None:
            return learned, self._split(folder)
        return _cut_in_two(learned)

    def _holds_classes(self, folder: str) -> bool:
        return any(file.startswith(f"{folder}/") and file.count("/") > 1 + folder.count("/") for file in self.files)

    def _split(self, folder: str) -> ImageFiles:
        prefix = f"{folder}/" if folder else ""
        name = f"{self.root.rstrip('/')}/{folder}" if folder else self.root
        left_out: Counter[str] = Counter()
        by_class: dict[str, list[str]] = {}
        for file in self.files:
            class_name, slash, _ = file.removeprefix(prefix).partition("/")
            if not file.startswith(prefix) or not slash:
                continue
            if file.lower().endswith(_SUFFIXES):
                by_class.setdefault(class_name, []).append(file)
            else:
                left_out[OTHER_FILES] += 1
        if not by_class:
            raise MissingError(
                f"{name}: no images; expected a folder for each class, such as {name.rstrip('/')}/cat/1.png"
            )
        folders = [path.removeprefix(prefix) for path in self.folders if path.startswith(prefix)]
        left_out[EMPTY] = sum("/" not in path and path not in by_class for path in folders)
        ordered = {class_name: in_order(by_class[class_name]) for class_name in sorted(by_class)}
        return ImageFiles(self.root, name, ordered, self.files, dict(+left_out))


def in_order(files: list[str]) -> list[str]:
    """Files in a pseudorandom order that follows from their names."""
    return sorted(files, key=lambda file: hashlib.sha256(os.fsencode(file)).digest())


def _cut_in_two(files: ImageFiles) -> tuple[ImageFiles, ImageFiles]:
    """All but every tenth image of each class, and every tenth."""

    def part(is_held_out: bool) -> dict[str, list[str]]:
        chosen = {
            name: [file for n, file in enumerate(members, start=1) if (n % _EVERY == 0) == is_held_out]
            for name, members in files.by_class.items()
        }
        return {name: members for name, members in chosen.items() if members}

    if not part(True):
        raise MissingError(
            f"{files.name}: no class has {_EVERY} images, of which one is held out; "
            f"give folders {_TRAINING} and {_HELD_OUT[0]} of classes"
        )
    return (
        ImageFiles(files.root, files.name, part(False), files.stamps, files.left_out),
        ImageFiles(files.root, f"{files.name}, every tenth image", part(True), files.stamps, {}),
    )


def _local_entries(root: str) -> Iterable[tuple[str, str | None]] | None:
    """Every file below a folder with its stamp, and every folder with None; links are followed, but not in circles."""
    if not os.path.isdir(root):
        return None
    entries: list[tuple[str, str | None]] = []
    seen = {os.path.realpath(root)}

    def refuse(error: OSError) -> None:
        raise error

    for folder, folders, files in os.walk(root, followlinks=True, onerror=refuse):
        below = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if below == "." else f"{below}/"
        folders[:] = [name for name in folders if os.path.realpath(f"{folder}/{name}") not in seen]
        seen |= {os.path.realpath(f"{folder}/{name}") for name in folders}
        entries += [(f"{prefix}{name}", None) for name in folders]
        entries += [(f"{prefix}{name}", _stamp(f"{folder}/{name}")) for name in files]
    return entries


def _stamp(file: str) -> str:
    try:
        about = os.stat(file)
    except OSError:
        return UNREADABLE
    can_be_read = stat.S_ISREG(about.st_mode) and os.access(file, os.R_OK)
    return f"{about.st_size} {about.st_mtime_ns}" if can_be_read else UNREADABLE


def _remote_entries(root: str) -> Iterable[tuple[str, str | None]] | None:
    """The same of a folder in a bucket."""
    system, path = locate(root)
    if not system.isdir(path):
        return None
    entries = system.find(path, withdirs=True, detail=True).items()
    return [
        (
            name[len(path) :].strip("/"),
            None if about["type"] == "directory" else content_stamp(about) or str(about.get("size")),
        )
        for name, about in entries
        if name.rstrip("/") != path.rstrip("/")
    ]
