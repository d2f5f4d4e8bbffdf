"""Pretraining: span corruption on a corpus, validated by negative log-perplexity."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalecli.architectures import build_text_spec
from scalecli.data.datasets import readable
from scalecli.data.sources import Remarks
from scalecli.data.text.corpora import Corpus
from scalecli.data.text.span_corruption import SpanCorruption, unigram_cross_entropy, validation_batches
from scalecli.data.text.streams import TextStream
from scalecli.data.text.tokens import TokenStore
from scalecli.data.text.vocabulary import Vocabulary, load_vocabulary, planned_vocabulary, unknown_warning
from scalecli.data.text.vocabulary_training import CHARACTERS, train_vocabulary
from scalecli.devices import Devices
from scalecli.errors import ConfigurationError, MissingError
from scalecli.manifest import Data, Scalar
from scalecli.references import ModelReference
from scalecli.results import NEGATIVE_LOG_PERPLEXITY, UNIGRAM_NEGATIVE_LOG_PERPLEXITY
from scalecli.runs.directory import VOCABULARY_FILE, keep_vocabulary, vocabulary_entry
from scalecli.runs.pretraining_job import PretrainingJob
from scalecli.runs.text.source import (
    TextSource,
    TrainingText,
    open_training_text,
    open_validation_text,
    vocabulary_text,
)
from scalecli.runs.trained import Trained
from scalecli.runs.training import TrainingInputs
from scalecli.shape import Shape
from scalecli.storage.cache import seal, sealed
from scalecli.storage.layout import MANIFEST
from scalecli.strict import from_mapping

if TYPE_CHECKING:
    from scalecli.training.reporting import Reporter

_FEWEST_PIECES = 10
_DOCUMENTS_BETWEEN_REPORTS = 256


@dataclass(frozen=True, kw_only=True)
class Pretraining(PretrainingJob):
    """A run on text. `vocabulary` is a file, `t5`, or `train:N` for N pieces of the corpus."""

    source: TextSource
    vocabulary: str
    objective: SpanCorruption

    @property
    def source_name(self) -> str:
        """The files or the dataset."""
        return " ".join(self.source.text) or self.source.dataset or "embedded docstrings"

    def lengths(self) -> tuple[int, int]:
        """Tokens of an example's inputs and targets."""
        return self.objective.inputs_length, self.objective.targets_length

    def check_source(self) -> None:
        """Checks that the text is there. Raises as `TextSource.check` does."""
        self.source.check()

    def planned_shape(self) -> Shape:
        """The shape with the rows that its vocabulary takes.

        Raises:
            MissingError: the vocabulary's file, or the checkpoint of the run to start from, is not there.
            ConfigurationError: the vocabulary can't be, or the shape file's rows are too few for it.
        """
        if initial := self.initial():
            return initial.shape
        if self.vocabulary.startswith("train:"):
            return _with_rows_for(self.model, Vocabulary(Path(), "", trained_pieces(self.vocabulary)))
        return _with_rows_for(self.model, planned_vocabulary(self.vocabulary))

    def open(self, initial: Trained | None, devices: Devices, reporter: Reporter) -> TrainingInputs:
        """Opens training and held-out text; a run to start from gives its vocabulary, too."""
        prepared = _Prepared.of(self, initial, reporter)
        training, vocabulary, batches = prepared.training, prepared.vocabulary, prepared.batches
        held_out, remarks = _held_out_batches(self, prepared, devices, reporter)
        batches(start_step=0)  # a corpus with too few tokens is found before anything else is done
        unknown = training.unknown
        said = unknown_warning(f"{prepared.corpus.name}, {prepared.corpus.split}", unknown)
        warnings = list(dict.fromkeys((*training.warnings(self.objective), *remarks, *said)))

        def validation(model: Any) -> Callable[[], dict[str, float]]:
            measure = perplexity(model, devices, held_out, self.objective, training.sample, vocabulary)
            return lambda: measure(held_out)

        @contextlib.contextmanager
        def reading() -> Iterator[None]:
            with readable(prepared.corpus.name):
                if isinstance(training.text, TextStream):
                    speed = training.text.tokens_per_second(self.objective)
                    reporter.message(f"input pipeline: {speed:,.0f} tokens/s or more")
                yield

        return TrainingInputs(
            spec=build_text_spec(self.model.architecture, prepared.shape),
            shape=prepared.shape,
            data=Data(
                name=prepared.corpus.name,
                kind=self.source.kind,
                identity=f"{prepared.corpus.identity}+{prepared.held_out.identity}",
                inputs_length=self.objective.inputs_length,
                targets_length=self.objective.targets_length,
                packed=False,
                vocabulary=vocabulary_entry(vocabulary, prepared.vocabulary_name),
                documents=training.text.documents,
                tokens=training.tokens,
                unknown=unknown,
            ),
            warnings=warnings,
            objective=objective_entry(self.objective, self.validation_examples),
            batches=lambda step, share: batches(start_step=step, share=share),
            best=NEGATIVE_LOG_PERPLEXITY,
            positions=sum(self.lengths()),
            keep=partial(keep_vocabulary, vocabulary),
            validation=validation,
            reading=reading,
            files=[training.file],
        )


def perplexity(
    model: Any, devices: Devices, held_out: Any, objective: SpanCorruption, sample: TokenStore, vocabulary: Vocabulary
) -> Callable[[Iterable[Any]], dict[str, float]]:
    """A function that measures a model on the batches of `held_out`, which it is given.

    Beside the model's negative log-perplexity stands that of token frequencies, which are those of `sample`.
    """
    from scalecli.evaluation.cross_entropy import CrossEntropy

    cross_entropy = CrossEntropy(model, devices)
    targets = (batch["targets"] for batch in held_out.as_numpy_iterator())
    unigram = unigram_cross_entropy(targets, sample, objective, vocabulary)
    return lambda batches: {
        NEGATIVE_LOG_PERPLEXITY: -cross_entropy(batches),
        UNIGRAM_NEGATIVE_LOG_PERPLEXITY: -unigram,
    }


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


def _held_out_batches(
    job: Pretraining, prepared: _Prepared, devices: Devices, reporter: Reporter
) -> tuple[Any, Sequence[str]]:
    """The batches of held-out text, and its remarks. Raises MissingError where there is too little of it."""
    corpus, vocabulary = prepared.held_out, prepared.vocabulary
    tokens = job.validation_examples * job.objective.segment_length
    text = open_validation_text(corpus, vocabulary, job.cache_directory, tokens, reporter)
    try:
        batches = validation_batches(
            text,
            job.objective,
            sentinels=vocabulary.sentinels,
            batch=devices.divisible(job.recipe.batch // job.recipe.accumulation),
            examples=job.validation_examples,
        )
    except MissingError as error:
        from_text = job.source.text and not job.source.validation
        way_out = "; --validation-text takes held-out text from files" if from_text else ""
        raise MissingError(f"{error}{way_out}") from error
    return batches, text.remarks


def example_batches(job: Pretraining, reporter: Reporter) -> tuple[Iterator[dict[str, Any]], Vocabulary]:
    """The batches that a run begins with, as NumPy arrays, and its vocabulary; the run's directory is left alone.

    Raises:
        ScalecliError: of the kind that says what is wrong (see `errors`).
    """
    initial = job.initial()
    if initial:
        initial.storage.report = reporter.fetched
    prepared = _Prepared.of(job, initial, reporter)

    def batches() -> Iterator[dict[str, Any]]:
        with readable(prepared.corpus.name):
            yield from prepared.batches(start_step=0).as_numpy_iterator()

    return batches(), prepared.vocabulary


@dataclass(frozen=True)
class _Prepared:
    """What a run reads: the corpora, the vocabulary, the training text, and its batches from a step on."""

    shape: Shape
    corpus: Corpus
    held_out: Corpus
    vocabulary: Vocabulary
    vocabulary_name: str
    training: TrainingText
    batches: Callable[..., Any]

    @classmethod
    def of(cls, job: Pretraining, parent: Trained | None, reporter: Reporter) -> _Prepared:
        """Opens them; a vocabulary that is to be trained is trained."""
        corpus, held_out = job.source.corpora(job.cache_directory, reporter.message)
        if parent:
            vocabulary, name = parent.vocabulary(job.cache_directory), parent.text_data().vocabulary.name
            shape = job.model.shape
        else:
            vocabulary, name = _vocabulary(job, corpus, reporter), job.vocabulary
            shape = _with_rows_for(job.model, vocabulary)
        training = open_training_text(corpus, vocabulary, job.cache_directory, reporter)
        batches = training.batches(
            job.objective, sentinels=vocabulary.sentinels, batch=job.recipe.batch, seed=job.recipe.seed
        )
        return cls(shape, corpus, held_out, vocabulary, name, training, batches)


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
    if not model.fixes_output_size:
        return replace(model.shape, vocabulary=vocabulary.rows)
    if model.shape.vocabulary < vocabulary.size:
        raise ConfigurationError(
            f"the shape file's vocabulary of {model.shape.vocabulary} rows is too small for {vocabulary.content}; "
            f"leave it out, or state {vocabulary.rows}"
        )
    return model.shape


def _vocabulary(job: Pretraining, corpus: Corpus, reporter: Reporter) -> Vocabulary:
    """The run's vocabulary. With `train:N` it is trained once for a text, into the cache.

    Of a run that goes on it is the run's own: whether that fits is found out when manifests are compared.
    """
    if not job.vocabulary.startswith("train:"):
        return load_vocabulary(job.vocabulary, cache_directory=job.cache_directory)
    pieces = trained_pieces(job.vocabulary)
    own = job.storage.directory / VOCABULARY_FILE
    # Without a manifest it is what an attempt that failed has left, maybe on other text.
    if own.is_file() and (job.storage.directory / MANIFEST).is_file():
        return load_vocabulary(str(own), cache_directory=job.cache_directory)
    text = vocabulary_text(corpus)
    key = hashlib.sha256(json.dumps([text.identity, text.split, pieces, CHARACTERS]).encode()).hexdigest()
    trained = job.cache_directory / "vocabularies" / f"trained-{key[:32]}.model"
    if sealed(trained, reporter.message) is None:
        reporter.message(f"training a vocabulary of {pieces:,} pieces on {corpus.name}")
        train_vocabulary(_reported(text, reporter), pieces, trained, reporter.working)
        seal(trained, {})
    return load_vocabulary(str(trained), cache_directory=job.cache_directory)


def _reported(text: Corpus, reporter: Reporter) -> Iterator[str]:
    """The documents of the text that a vocabulary is trained on, reporting how many are read."""
    remarks = Remarks()
    for number, document in enumerate(text.documents(remarks), start=1):
        if number % _DOCUMENTS_BETWEEN_REPORTS == 0:
            reporter.working(f"read {number:,} documents for the vocabulary", text.share_read(remarks))
        yield document
