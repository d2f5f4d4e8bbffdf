"""Importing: a checkpoint of another library becomes a run, which others start from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from scalecli.architectures import IMAGE_ARCHITECTURES, build_spec
from scalecli.costs import batch_of, flops
from scalecli.data.text.span_corruption import SpanCorruption
from scalecli.data.text.vocabulary import T5_PIECES, Vocabulary, load_vocabulary
from scalecli.errors import ConfigurationError, MissingError, UsageError
from scalecli.interchange import formats
from scalecli.interchange.fetch import fetch, hub_snapshot
from scalecli.interchange.imported import Imported
from scalecli.manifest import (
    Checkpoints,
    Data,
    Flops,
    ImageData,
    Manifest,
    Origin,
    OriginFile,
    Strategy,
    save_manifest,
)
from scalecli.released import ReleasedCheckpoint, released_by_name, released_checkpoints
from scalecli.runs.directory import keep_vocabulary, prepared_directory, resumed_manifest, vocabulary_entry
from scalecli.runs.recipe import environment, parameter_counts
from scalecli.runs.text.pretraining import objective_entry
from scalecli.runs.verifying import check, log_likelihood
from scalecli.shape import HUGGING_FACE_PREFIX, shape_name
from scalecli.storage import layout
from scalecli.storage.files import is_remote
from scalecli.storage.holding import holding
from scalecli.storage.run_storage import RunStorage
from scalecli.times import utc_now
from scalecli.training import checkpoints
from scalecli.training.reporting import Reporter

HUB = "hf:"
_VALIDATION_EXAMPLES = 512


@dataclass(frozen=True)
class Source:
    """The address of a checkpoint, and what is known of it if it is a released one.

    An address is a path, a bucket's (`gs://...`), or a name on Hugging Face's hub behind `hf:`.
    """

    address: str
    released: ReleasedCheckpoint | None = None

    @classmethod
    def of(cls, text: str) -> Source:
        """The source that a user names: an address, a released name (`small-nl24`), or the hub's (`google/t5-small`).

        An existing path counts as a path. Of released checkpoints the hub's names mean the originals, and with `hf:`
        before them the hub's copies.

        Raises:
            UsageError: a released name that two folders have, or a run.
            MissingError: nothing of that name.
        """
        if text.startswith(HUB):
            return cls(text)
        if is_remote(text):
            return cls(text, _released_folder(text))
        if (path := Path(text).expanduser()).exists():
            if (path / layout.MANIFEST).is_file():
                raise UsageError(f"{text} is a run already; pretrain, finetune, eval and compare take it as it is")
            return cls(text)
        if "/" in text and not text.lower().startswith(HUGGING_FACE_PREFIX):
            if text.count("/") == 1 and not text.startswith((".", "~", "/")):
                return cls(f"{HUB}{text}")
            raise MissingError(f"{text}: no such folder")
        try:
            released = released_by_name(text)
        except MissingError as error:
            raise MissingError(f"{error}; a folder, gs://..., or hf:NAME on Hugging Face is accepted, too") from None
        if len(released) > 1:
            addresses = " and ".join(checkpoint.url for checkpoint in released)
            raise UsageError(f"{text!r} has {len(released)} trainings: {addresses}; give one of the addresses")
        return cls(released[0].url, released[0])

    @property
    def name(self) -> str:
        """The default name of a run of it."""
        if self.released:
            return self.released.name
        return Path(self.address.removeprefix(HUB).rstrip("/")).name

    def folder(self, step: int | None, cache_directory: Path, reporter: Reporter) -> Path:
        """The folder with the checkpoint's files, which are fetched into the cache unless they are local.

        Raises:
            MissingError: they can't be had.
        """
        if self.address.startswith(HUB):
            return hub_snapshot(self.address.removeprefix(HUB), cache_directory, reporter.fetched)
        if is_remote(self.address):
            return fetch(self.address, cache_directory, partial(formats.select_files, step=step), reporter.fetched)
        return Path(self.address).expanduser()


@dataclass(frozen=True)
class Importing:
    """The settings of an import. `vocabulary` is a file or `t5`; None is the checkpoint's own, else `t5`.

    With `optimizer` the optimizer's state is imported, too; `verify` compares a log-likelihood with the original's.
    """

    source: Source
    directory: Path
    step: int | None
    optimizer: bool
    vocabulary: str | None
    verify: bool
    cache_directory: Path
    command_line: str

    def read(self, reporter: Reporter) -> tuple[Imported, Vocabulary | None]:
        """Fetches and reads the checkpoint and its vocabulary, None where it reads images; verifies them if asked to.

        Raises:
            ScalecliError: of the kind that says what is wrong (see `errors`).
        """
        folder = self.source.folder(self.step, self.cache_directory, reporter)
        reporter.message(f"reading {folder}")
        imported = formats.read(folder, step=self.step, optimizer=self.optimizer)
        if imported.architecture in IMAGE_ARCHITECTURES:
            for flag, given in (("--vocabulary", self.vocabulary), ("--verify", self.verify)):
                if given:
                    raise UsageError(f"{flag}: {self.source.address} is a model of images; leave it out")
            return imported, None
        file = self.vocabulary or (str(imported.vocabulary) if imported.vocabulary else _t5_for(imported))
        vocabulary = load_vocabulary(file, cache_directory=self.cache_directory)
        if vocabulary.size > imported.shape.vocabulary:
            raise ConfigurationError(
                f"{file}: {vocabulary.content} for an embedding of {imported.shape.vocabulary} rows; "
                "--vocabulary takes another"
            )
        if self.verify:
            name = self.source.released.name if self.source.released else None
            reporter.message(check(log_likelihood(imported, vocabulary), name, imported.step))
        return imported, vocabulary


def import_run(job: Importing, imported: Imported, vocabulary: Vocabulary | None, reporter: Reporter) -> Manifest:
    """Makes a run of what `job` has read; the same files once more change nothing. Returns the run's manifest.

    Raises:
        ScalecliError: of the kind that says what is wrong (see `errors`); then there is no run, or the one that was.
    """
    storage, folder = RunStorage(job.directory), job.directory / layout.CHECKPOINTS
    with prepared_directory(job.directory), holding(storage.holder_record(), storage.address, reporter.message):
        manifest = resumed_manifest(_manifest(job, imported, vocabulary), storage)
        if manifest.status == "completed" and imported.step in checkpoints.checkpoint_steps(folder):
            reporter.message(f"{job.directory}: already imported")
            return manifest
        reporter.message(f"writing {job.directory}")
        if vocabulary is not None:
            keep_vocabulary(vocabulary, job.directory)
        shape, optimizer = imported.shape.to_dict(), imported.optimizer or {}
        checkpoints.save_checkpoint(folder, imported.step, imported.weights, optimizer, imported.architecture, shape)
        kept = Checkpoints(directory=layout.CHECKPOINTS, kept=checkpoints.checkpoint_steps(folder))
        manifest = replace(manifest, status="completed", finished=utc_now(), checkpoints=kept)
        save_manifest(manifest, job.directory)
    return manifest


def warnings(job: Importing, imported: Imported) -> list[str]:
    """What a reader of the run should know."""
    lines = list(imported.notes)
    if not job.vocabulary and not imported.vocabulary and imported.architecture not in IMAGE_ARCHITECTURES:
        lines.append("no vocabulary lies beside the checkpoint; it is taken to be T5's")
    if job.source.released and job.source.released.shape != imported.shape:
        lines.append(f"the checkpoint is {shape_name(imported.shape, imported.architecture)}, unlike its name")
    return lines


def _t5_for(imported: Imported) -> str:
    """`t5`, for a checkpoint without a vocabulary whose embedding has as many rows as T5's."""
    t5 = Vocabulary(Path(), "", T5_PIECES)
    if not t5.size <= imported.shape.vocabulary <= t5.rows:
        raise MissingError(
            f"no vocabulary lies beside the checkpoint, and its embedding has {imported.shape.vocabulary:,} rows, not "
            f"T5's {t5.rows:,}; --vocabulary FILE says which it has"
        )
    return "t5"


def _data(
    job: Importing, imported: Imported, vocabulary: Vocabulary | None, objective: SpanCorruption
) -> Data | ImageData:
    """The manifest's entry for the data, of which an import knows only the model's lengths or classes."""
    listed = "".join(f"{file.sha256}  {file.name}\n" for file in imported.files)
    identity = f"sha256:{hashlib.sha256(listed.encode()).hexdigest()}"
    if vocabulary is None:
        shape = imported.shape
        assert shape.image_size is not None and shape.classes is not None
        return ImageData(
            name=job.source.name,
            kind="image-import",
            identity=identity,
            image_size=shape.image_size,
            classes=shape.classes,
        )
    name = job.vocabulary or (imported.vocabulary.name if imported.vocabulary else "t5")
    return Data(
        name=job.source.name,
        kind="import",
        identity=identity,
        inputs_length=objective.inputs_length,
        targets_length=objective.targets_length,
        packed=False,
        vocabulary=vocabulary_entry(vocabulary, name),
    )


def _manifest(job: Importing, imported: Imported, vocabulary: Vocabulary | None) -> Manifest:
    """The manifest of an import. FLOPs are of one image, or of one example of T5's pretraining.

    How it was trained is not known.
    """
    objective = SpanCorruption()
    spec = build_spec(imported.architecture, imported.shape)
    lengths = {"inputs": objective.inputs_length, "targets": objective.targets_length} if vocabulary else {}
    batch = batch_of(spec, "forward", sequences=1, **lengths)
    return Manifest(
        kind="import",
        name=job.directory.name,
        status="running",
        created=utc_now(),
        command_line=job.command_line,
        origin=Origin(
            format=imported.format,
            source=job.source.address,
            precision=imported.precision,
            files={file.name: OriginFile(bytes=file.bytes, sha256=file.sha256) for file in imported.files},
        ),
        architecture=imported.architecture,
        shape=dict(imported.shape.to_dict()),
        parameters=parameter_counts(spec),
        flops=Flops(convention="forward", forward_per_batch=sum(flops(spec, batch, "forward").values())),
        data=_data(job, imported, vocabulary, objective),
        objective=objective_entry(objective, _VALIDATION_EXAMPLES) if vocabulary else None,
        optimizer={"name": "adafactor"} if imported.optimizer else {},
        batch=batch.sequences,
        steps=imported.step,
        seed=0,
        precision="float32",
        dropout=0.0,
        z_loss=0.0,
        strategy=Strategy(kind="one", replicas=1),
        checkpoints=Checkpoints(directory=layout.CHECKPOINTS),
        environment=environment(),
        warnings=warnings(job, imported),
    )


def _released_folder(address: str) -> ReleasedCheckpoint | None:
    return next((known for known in released_checkpoints() if known.url == address.rstrip("/")), None)
