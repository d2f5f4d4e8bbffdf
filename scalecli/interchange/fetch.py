"""Checkpoints that are elsewhere: fetched from buckets and from Hugging Face's hub into the cache, and checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from scalecli.errors import MissingError, ScalecliError
from scalecli.storage.buckets import BucketFolder, Report, Transfer, digest
from scalecli.storage.files import are_plain

_HUB_SECONDS = 10.0


def fetch(source: str, cache_directory: Path, choose: Callable[[list[str]], list[str]], report: Report) -> Path:
    """Fetches files of a folder in a public bucket (`gs://BUCKET/FOLDER`, or one file) and returns where they lie.

    `choose` gets the names in the folder, with `/` where they have folders of their own, and picks some. Files that are
    in the cache are used when their hashes are the bucket's. What was fetched of a file that could not be finished
    stays, and the next call goes on from there.

    Raises:
        UsageError: `source` is not in a bucket of Google Cloud Storage.
        MissingError: there is no such bucket or folder, it can't be read, or a file came damaged (it is removed).
        ScalecliError: the cache cannot be written.
    """
    bucket = BucketFolder(source, anonymous=True)
    objects = bucket.objects()
    if not objects:
        raise MissingError(f"{source}: {bucket.describe_missing()}")
    name, first = next(iter(objects.items()))
    folder = cache_directory.joinpath("checkpoints", *first.path.removesuffix(f"/{name}").split("/"))
    chosen = choose(sorted(objects))
    progress = Transfer(sum(objects[name].bytes for name in chosen), report)
    for name in chosen:
        if not are_plain(name.split("/")):
            raise MissingError(f"{source}: has an object named {name!r}, which can't be the name of a file here")
        bucket.download(objects[name], folder / name, progress)
    return folder


def hub_snapshot(name: str, cache_directory: Path, report: Report) -> Path:
    """Fetches a model from Hugging Face's hub (`google/t5-v1_1-small`) and returns the folder with its files.

    Raises:
        MissingError: huggingface_hub is not installed, there is no such model, it can't be read, or came damaged.
    """
    from scalecli.interchange import formats

    try:
        import huggingface_hub as hub
    except ImportError as error:
        raise MissingError(f"hf:{name} needs huggingface_hub; install it by: pip install 'scalecli[hub]'") from error
    if not are_plain(name.split("/")):
        raise MissingError(f"hf:{name}: no name on the hub; hf:OWNER/MODEL is accepted")
    folder = cache_directory.joinpath("hub", *name.split("/"))
    try:
        model = hub.HfApi().model_info(name, files_metadata=True, timeout=_HUB_SECONDS)
        files = {file.rfilename: file for file in model.siblings or []}
        chosen = formats.select_files([file for file in sorted(files) if are_plain(file.split("/"))], None)
        progress = Transfer(sum(files[file].size or 0 for file in chosen), report)
        for file in chosen:
            size, large, before = files[file].size or 0, files[file].lfs, progress.done
            hub.hf_hub_download(name, file, revision=model.sha, local_dir=folder, tqdm_class=_silent_bar(progress))
            progress.add(before + size - progress.done, fetched=False)  # it says nothing of what it needn't fetch
            if large and digest(folder / file, "sha256") != large.sha256:
                (folder / file).unlink()
                raise MissingError(f"hf:{name}: {file} came damaged and was removed; fetch it again")
    except ScalecliError:
        raise
    except Exception as error:  # the hub's own classes, those of its HTTP client, and of the disk
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise MissingError(f"hf:{name}: cannot be fetched ({reason})") from error
    return folder


def _silent_bar(progress: Transfer) -> Any:
    """A class of progress bars that show nothing, and report."""
    from tqdm import tqdm

    class Silent(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:
            progress.add(int(n or 0))

    return Silent
