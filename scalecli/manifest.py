"""The run manifest, `run.yaml`: everything that a run was, typed, versioned, checked, and written atomically."""

from __future__ import annotations

import datetime
import hashlib
import os
from dataclasses import dataclass, field
from typing import Any, Literal

from scalecli import strict
from scalecli.errors import ConfigurationError
from scalecli.storage.files import read_bytes
from scalecli.storage.layout import MANIFEST, manifest_path
from scalecli.times import parse_time, utc_now

SCHEMA = 1

Scalar = bool | int | float | str


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The run that a run starts from: its path seen from this one, its manifest's SHA-256 then, and the step taken."""

    path: str
    sha256: str
    step: int


@dataclass(frozen=True, kw_only=True)
class ArchitectureFile:
    """The file of a user's own architecture: its name, and the SHA-256 of its bytes, of which the run keeps a copy."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class OriginFile:
    """Size and SHA-256 of one file that was imported."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The checkpoint that a run was imported from.

    Its format, the address that was given, the dtype of its weights, and every file that was read, by its name.
    """

    format: str
    source: str
    precision: str
    files: dict[str, OriginFile]


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Trainable parameters; `total` is `embedding` (every vocabulary-sized table) plus `non_embedding`."""

    total: int
    embedding: int
    non_embedding: int


@dataclass(frozen=True, kw_only=True)
class Flops:
    """Cost in the stated convention: of one forward pass over one batch, and of all training (None: no training)."""

    convention: str
    forward_per_batch: int
    training_total: int | None = None


@dataclass(frozen=True, kw_only=True)
class VocabularyEntry:
    """The SentencePiece model: where it lay, the SHA-256 of its bytes, and its number of pieces.

    Sentinels come after them, unless the model holds its own.
    """

    name: str
    file: str
    sha256: str
    pieces: int


@dataclass(frozen=True, kw_only=True)
class Data:
    """What was read: `identity` is a content hash or a dataset's version, lengths are those of rows, in tokens.

    `documents` and `tokens` count the training examples and their tokens, where that is known before training; `task`
    is a task's definition, or `tasks` those of several by name, and `rates` a mixture's sampling rates by task.
    `unknown` is the share of the tokens that the vocabulary does not know. Of an import, whose data nobody states,
    `identity` is that of the files, and the lengths are those of T5's pretraining.
    """

    name: str
    kind: Literal["text", "embedded", "tfds", "task", "import"]
    identity: str
    inputs_length: int
    targets_length: int
    packed: bool
    vocabulary: VocabularyEntry
    task: dict[str, Any] | None = None
    tasks: dict[str, dict[str, Any]] | None = None
    documents: int | None = None
    tokens: int | None = None
    rates: dict[str, float] | None = None
    unknown: float | None = None


@dataclass(frozen=True, kw_only=True)
class ImageData:
    """Labeled images that were read: `identity` is a hash of them or a dataset's version, `images` how many they are.

    Of an import, whose images nobody states, `identity` is that of the files. `image_size` is that of the square, in
    pixels, that the model sees of an image. `left_out` counts the files that are no images, by what is wrong with them.
    """

    name: str
    kind: Literal["image-folder", "image-dataset", "image-import"]
    identity: str
    image_size: int
    classes: int
    images: int | None = None
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """How devices were used: the kind (such as `one`, `mirrored`, `tpu`), replicas, and a TPU's topology."""

    kind: str
    replicas: int
    topology: str | None = None


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Where checkpoints lie, relative to the run's directory, the steps that are there, and those of them by name."""

    directory: str
    kept: list[int] = field(default_factory=list)
    named: list[int] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best step, and the rule that chose it, such as `highest sst2/accuracy`."""

    step: int
    rule: str


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Speed in steady state; the utilization is a fraction, None where the device's peak is not known."""

    steps_per_s: float
    tokens_per_s: float
    model_flops_utilisation: float | None = None


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The software and the devices; TensorFlow or JAX is None where it is not the backend, git outside a repository."""

    python: str
    scalecli: str
    keras: str | None = None
    tensorflow: str | None = None
    jax: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    devices: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One run. Times are UTC in ISO 8601, `batch` is the global batch of one optimizer step in examples.

    `results` maps steps to figures by name: `validation/negative_log_perplexity` (natural logarithm) is measured on
    held-out text of the pretraining objective, and `task/metric` is a task's score from 0 to 100, higher being better.
    Of images `validation/accuracy` is a percentage of held-out ones, and `few_shot/accuracy` one of an evaluation.
    `throughput` is that of training, `examples_per_s` that of an evaluation, compiling included.
    `warnings` are what a reader of the figures should know, such as that the run was stopped and resumed.

    Raises:
        ConfigurationError: a time or a count that cannot be, an origin of what is no import, or a best step without
            results.
    """

    schema: int = SCHEMA
    kind: Literal["pretrain", "finetune", "eval", "import"]
    name: str
    status: Literal["running", "completed", "failed", "interrupted"]
    created: str
    finished: str | None = None
    command_line: str
    parent: Parent | None = None
    origin: Origin | None = None
    architecture: str
    architecture_file: ArchitectureFile | None = None
    shape: dict[str, Scalar]
    parameters: Parameters
    flops: Flops
    data: Data | ImageData
    objective: dict[str, Scalar] | None = None
    optimizer: dict[str, Scalar] = field(default_factory=dict)
    schedule: dict[str, Scalar] = field(default_factory=dict)
    batch: int
    accumulation: int = 1
    steps: int
    start_step: int = 0
    seed: int
    precision: str
    dropout: float
    z_loss: float
    strategy: Strategy
    checkpoints: Checkpoints
    results: dict[int, dict[str, float]] = field(default_factory=dict)
    best: Best | None = None
    throughput: Throughput | None = None
    examples_per_s: float | None = None
    environment: Environment
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("created", "finished"):
            text = getattr(self, name)
            try:
                is_utc = text is None or parse_time(text).utcoffset() == datetime.timedelta(0)
            except ValueError:
                is_utc = False
            if not is_utc:
                raise ConfigurationError(f"{name}: expected a UTC time such as {utc_now()}, found {text!r}")
        for name, least in (("batch", 1), ("accumulation", 1), ("steps", 0), ("start_step", 0)):
            if getattr(self, name) < least:
                raise ConfigurationError(f"{name}: expected at least {least}, found {getattr(self, name)}")
        if (self.origin is None) == (self.kind == "import"):
            raise ConfigurationError(f"origin: expected where kind is import, and only there; kind is {self.kind}")
        if self.best and self.best.step not in self.results:
            raise ConfigurationError(f"best.step: no results for step {self.best.step}")


def load_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Reads a manifest, or the `run.yaml` in a run's directory.

    Raises:
        MissingError: there is none, or it cannot be read.
        ConfigurationError: it is not valid; names the file and the key.
    """
    file = manifest_path(path)
    return parse_manifest(file, read_bytes(file, strict.MAXIMUM_BYTES))


def parse_manifest(file: str, content: bytes) -> Manifest:
    """The manifest whose bytes were read from `file`.

    Raises:
        ConfigurationError: it is not valid; names the file and the key.
    """
    mapping = strict.parse_yaml(content, file)
    schema = mapping.get("schema")
    if type(schema) is int and schema > SCHEMA:
        raise ConfigurationError(
            f"{file}: schema {schema} was written by a newer scalecli; this one reads up to schema {SCHEMA}"
        )
    if schema != SCHEMA:
        raise ConfigurationError(f"{file}: schema: expected {SCHEMA}, found {schema!r}; is this a run manifest?")
    return strict.from_mapping(Manifest, mapping, file)


def save_manifest(manifest: Manifest, directory: str | os.PathLike[str]) -> str:
    """Writes `run.yaml` into the run's directory, atomically; returns its path.

    Raises:
        ConfigurationError: a value has another type than its field, so that the file could not be read again.
        ScalecliError: the directory cannot be written.
    """
    file = f"{os.fspath(directory).rstrip('/') or '/'}/{MANIFEST}"
    mapping = strict.to_mapping(manifest)
    strict.from_mapping(Manifest, mapping, file)
    strict.write_yaml(file, mapping)
    return file


def manifest_hash(path: str | os.PathLike[str]) -> str:
    """The SHA-256 (hexadecimal) of a manifest's bytes, which a child run keeps as `parent.sha256`."""
    return hashlib.sha256(read_bytes(manifest_path(path), strict.MAXIMUM_BYTES)).hexdigest()
