"""Pretraining: span corruption on a corpus, validated by negative log-perplexity."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from scalecli.architectures import build_spec
from scalecli.data.corpora import Corpus
from scalecli.data.span_corruption import (
    SpanCorruption,
    pretraining_batches,
    unigram_cross_entropy,
    validation_batches,
)
from scalecli.data.tokens import TokenStore
from scalecli.data.vocabulary import SENTINELS, Vocabulary, count_pieces, load_vocabulary, train_vocabulary
from scalecli.errors import ConfigurationError, MissingError
from scalecli.manifest import FILE_NAME, Data, Manifest, Scalar
from scalecli.references import ModelReference
from scalecli.runs.directory import (
    VOCABULARY_FILE,
    keep_vocabulary,
    open_trained,
    prepare_directory,
    take_up,
    vocabulary_entry,
)
from scalecli.runs.recipe import Recipe, build_model, new_manifest, require_tensorflow
from scalecli.shape import Shape
from scalecli.strict import from_mapping
from scalecli.training.checkpoints import Saving

if TYPE_CHECKING:
    from scalecli.training.loop import Reporter

NEGATIVE_LOG_PERPLEXITY = "validation/negative_log_perplexity"
_FEWEST_PIECES = 10
UNIGRAM = "validation/unigram_negative_log_perplexity"


@dataclass(frozen=True)
class TextSource:
    """Where text comes from: files, or a TensorFlow dataset, or with neither the embedded docstrings.

    `validation` are files of held-out text; without them every 50th document is held out, or a TensorFlow dataset's
    own validation split taken.
    """

    text: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    dataset: str | None = None
    data_dir: str | None = None

    def __post_init__(self) -> None:
        if self.text and self.dataset:
            raise ConfigurationError("--text and --dataset are two sources; give one")
        if self.validation and not self.text:
            raise ConfigurationError("--validation-text goes with --text")
        if self.data_dir and not self.dataset:
            raise ConfigurationError("--data-dir goes with --dataset")

    @property
    def kind(self) -> Literal["text", "tfds", "embedded"]:
        """As manifests name it."""
        return "text" if self.text else "tfds" if self.dataset else "embedded"

    def corpora(self, cache_directory: Path) -> tuple[Corpus, Corpus]:
        """The corpora of training and of validation."""
        if self.dataset:
            return (
                Corpus.from_dataset(self.dataset, "train", self.data_dir),
                Corpus.from_dataset(self.dataset, "validation", self.data_dir),
            )
        if self.validation:
            return Corpus.from_text(self.text, "all"), Corpus.from_text(self.validation, "all")
        if self.text:
            return Corpus.from_text(self.text, "train"), Corpus.from_text(self.text, "validation")
        return Corpus.embedded(cache_directory, "train"), Corpus.embedded(cache_directory, "validation")


@dataclass(frozen=True)
class Pretraining:
    """All that a pretraining run is told. `vocabulary` is a file, `t5`, or `train:N` for N pieces of the corpus.

    `validation_examples` is how many segments of the held-out text are measured, or all if there are fewer.
    """

    model: ModelReference
    source: TextSource
    vocabulary: str
    objective: SpanCorruption
    recipe: Recipe
    saving: Saving
    validation_examples: int
    directory: Path
    cache_directory: Path
    command_line: str
    peak_flops: float | None = None

    def __post_init__(self) -> None:
        if self.validation_examples < 1:
            raise ConfigurationError(f"validation_examples is {self.validation_examples}; 1 or more is accepted")

    def planned_shape(self) -> Shape:
        """The shape that the run will have, with the rows that its vocabulary takes; without TensorFlow.

        Raises:
            MissingError: the vocabulary's file, or the checkpoint of the run to start from, is not there.
            ConfigurationError: the vocabulary can't be, or the shape file's rows are too few for it.
        """
        if self.model.run:
            return open_trained(self.model.run).shape
        is_trained = self.vocabulary.startswith("train:")
        pieces = trained_pieces(self.vocabulary) if is_trained else count_pieces(self.vocabulary)
        return _with_rows_for(self.model, Vocabulary(Path(), "", pieces))


def trained_pieces(vocabulary: str) -> int:
    """N of `train:N`.

    Raises:
        ConfigurationError: it is no number, or too small a one: three pieces are special, and characters take some.
    """
    number = vocabulary.removeprefix("train:")
    if not re.fullmatch("[0-9]{1,9}", number) or int(number) < _FEWEST_PIECES:
        accepted = f"train:N takes a number of pieces from {_FEWEST_PIECES} on, such as train:8000"
        raise ConfigurationError(f"vocabulary {vocabulary!r}: {accepted}")
    return int(number)


def pretrain(job: Pretraining, reporter: Reporter) -> Manifest:
    """Carries out a pretraining run, or goes on with it, in its directory; returns the finished manifest.

    A model that is itself a run gives its weights to start from, and its vocabulary.

    Raises:
        ScalecliError: of the kind that says what is wrong (see `errors`); a run that was under way is saved as far as
            its last checkpoint.
    """
    from scalecli.training.loop import Job, train

    require_tensorflow()
    prepare_directory(job.directory)
    parent = open_trained(job.model.run) if job.model.run else None
    train_corpus, validation_corpus = job.source.corpora(job.cache_directory)
    if parent:
        vocabulary, vocabulary_name = parent.vocabulary(job.cache_directory), parent.manifest.data.vocabulary.name
    else:
        vocabulary, vocabulary_name = _vocabulary(job, train_corpus, reporter), job.vocabulary
    shape = job.model.shape if parent else _with_rows_for(job.model, vocabulary)

    def build_store(corpus: Corpus) -> TokenStore:
        reporter.message(f"reading {corpus.name} ({corpus.split})")
        cache, on_progress = job.cache_directory, reporter.documents
        return TokenStore.build(corpus, vocabulary, cache_directory=cache, on_progress=on_progress)

    train_store, validation_store = build_store(train_corpus), build_store(validation_corpus)
    batches = partial(
        pretraining_batches,
        train_store,
        job.objective,
        vocabulary_size=vocabulary.size,
        batch=job.recipe.batch,
        seed=job.recipe.seed,
    )
    try:
        held_out = validation_batches(
            validation_store,
            job.objective,
            vocabulary_size=vocabulary.size,
            batch=job.recipe.batch // job.recipe.accumulation,
            examples=job.validation_examples,
        )
    except MissingError as error:
        way_out = "; --validation-text takes held-out text from files" if validation_corpus.split != "all" else ""
        raise MissingError(f"{error}{way_out}") from error
    batches(start_step=0)  # a corpus with too few tokens is found before anything else is done
    spec = build_spec(job.model.architecture, shape)
    manifest = new_manifest(
        "pretrain",
        name=job.directory.name,
        spec=spec,
        shape=shape,
        data=Data(
            name=train_corpus.name,
            kind=job.source.kind,
            identity=f"{train_corpus.identity}+{validation_corpus.identity}",
            inputs_length=job.objective.inputs_length,
            targets_length=job.objective.targets_length,
            packed=False,
            vocabulary=vocabulary_entry(vocabulary, vocabulary_name),
            documents=train_store.documents,
            tokens=train_store.tokens,
        ),
        recipe=job.recipe,
        command_line=job.command_line,
        parent=parent.as_parent(job.directory) if parent else None,
        objective=objective_entry(job.objective, job.validation_examples),
    )
    manifest = take_up(manifest, job.directory)
    if manifest.status == "completed":
        reporter.message(f"{job.directory}: already complete")
        return manifest
    keep_vocabulary(vocabulary, job.directory)
    model = build_model(spec, job.recipe)
    if parent:
        parent.load_into(model)

    from scalecli.evaluation.cross_entropy import CrossEntropy

    cross_entropy = CrossEntropy(model)
    unigram = unigram_cross_entropy(
        (batch["targets"] for batch in held_out.as_numpy_iterator()),
        train_store,
        job.objective,
        vocabulary_size=vocabulary.size,
    )

    def validate() -> dict[str, float]:
        return {NEGATIVE_LOG_PERPLEXITY: -cross_entropy(held_out), UNIGRAM: -unigram}

    return train(
        Job(
            manifest=manifest,
            model=model,
            schedule=job.recipe.schedule,
            saving=job.saving,
            batches=lambda step: batches(start_step=step),
            validate=validate,
            best=NEGATIVE_LOG_PERPLEXITY,
            tokens_per_step=job.recipe.batch * (job.objective.inputs_length + job.objective.targets_length),
            peak_flops=job.peak_flops,
        ),
        job.directory,
        reporter,
    )


def objective_entry(objective: SpanCorruption, examples: int) -> dict[str, Scalar]:
    """What a manifest says of the objective, and of how many segments of the held-out text it is measured on."""
    return {"name": "span corruption", **asdict(objective), "validation_examples": examples}


def objective_from_entry(entry: Mapping[str, Scalar], source: str) -> SpanCorruption:
    """The objective that `objective_entry` describes.

    Raises:
        ConfigurationError: it is none, with `source` and the key.
    """
    of_entry = ("name", "validation_examples")
    return from_mapping(SpanCorruption, {key: value for key, value in entry.items() if key not in of_entry}, source)


def _with_rows_for(model: ModelReference, vocabulary: Vocabulary) -> Shape:
    """The shape with the embedding rows that the vocabulary takes, or with those that a shape file states itself.

    Raises:
        ConfigurationError: the shape file's rows are too few.
    """
    if not model.states_vocabulary:
        return replace(model.shape, vocabulary=vocabulary.rows)
    if model.shape.vocabulary < vocabulary.size:
        raise ConfigurationError(
            f"the shape file's vocabulary of {model.shape.vocabulary} rows is too small for {vocabulary.size} ids "
            f"({vocabulary.pieces} pieces and {SENTINELS} sentinels); leave it out, or state {vocabulary.rows}"
        )
    return model.shape


def _vocabulary(job: Pretraining, corpus: Corpus, reporter: Reporter) -> Vocabulary:
    """The vocabulary that the run is told to use, trained first if need be."""
    if not job.vocabulary.startswith("train:"):
        return load_vocabulary(job.vocabulary, cache_directory=job.cache_directory)
    pieces, file = trained_pieces(job.vocabulary), job.directory / VOCABULARY_FILE
    # Of this run's earlier life; another run's is found out when manifests are compared. Without a manifest it is what
    # an attempt that failed has left, maybe on other text.
    if file.is_file() and (job.directory / FILE_NAME).is_file():
        return load_vocabulary(str(file), cache_directory=job.cache_directory)
    reporter.message(f"training a vocabulary of {pieces:,} pieces on {corpus.name}")
    return train_vocabulary(corpus.documents(), pieces, file)
