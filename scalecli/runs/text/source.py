"""The text that a run is pretrained on: which it is, and how it is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scalecli.data.datasets import DatasetSplit
from scalecli.data.text.corpora import Corpus, open_text, text_documents
from scalecli.data.text.span_corruption import COUNTED_TOKENS, SpanCorruption, pretraining_batches
from scalecli.data.text.streams import STREAMED_FROM, TextStream
from scalecli.data.text.tokens import TokenStore
from scalecli.data.text.vocabulary import Vocabulary, unknown_share
from scalecli.errors import ConfigurationError
from scalecli.storage.files import Say

if TYPE_CHECKING:
    from scalecli.training.reporting import Reporter

TRAIN, VALIDATION = "train", "validation"
_VOCABULARY_DOCUMENTS = 50_000  # of a text set that is too large to be read as a whole


@dataclass(frozen=True)
class TextSource:
    """Where text comes from: files, or a TensorFlow dataset, or with neither the embedded docstrings.

    `validation` are files of held-out text; without them every 50th document is held out, or a TensorFlow dataset's
    split taken. `split` and `validation_split` are those of a dataset, or parts of them, such as `train[:16shard]`.
    `field` is the one that holds the text, where it is not `text`.
    """

    text: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    dataset: str | None = None
    data_dir: str | None = None
    split: str | None = None
    validation_split: str | None = None
    field: str | None = None

    def __post_init__(self) -> None:
        if self.text and self.dataset:
            raise ConfigurationError("--text and --dataset are two sources; give one")
        if self.validation and not self.text:
            raise ConfigurationError("--validation-text goes with --text")
        for flag, value in (("data-dir", self.data_dir), ("split", self.split)):
            if value and not self.dataset:
                raise ConfigurationError(f"--{flag} goes with --dataset")
        if self.validation_split and not self.dataset:
            raise ConfigurationError("--validation-split goes with --dataset")
        if self.field and not (self.text or self.dataset):
            raise ConfigurationError("--text-field goes with --text or --dataset")

    @property
    def kind(self) -> Literal["text", "tfds", "embedded"]:
        """As manifests name it."""
        return "text" if self.text else "tfds" if self.dataset else "embedded"

    def check(self) -> None:
        """Checks that the text is there: of files, the first document of each pattern.

        Raises:
            MissingError: it is not there, or can't be read.
            ConfigurationError: the dataset or the file has no texts.
        """
        for pattern in (*self.text, *self.validation):
            next(text_documents((pattern,), self.field))
        if self.dataset:
            for split in (self.split or TRAIN, self.validation_split or VALIDATION):
                open_text(self.dataset, split, self.data_dir, self.field)

    def corpora(self, cache_directory: Path, say: Say) -> tuple[Corpus, Corpus]:
        """The corpora of training and of validation; `say` reports damaged files in the cache."""
        if self.dataset:
            train, validation = self.split or TRAIN, self.validation_split or VALIDATION
            return (
                Corpus.from_dataset(self.dataset, train, self.data_dir, self.field),
                Corpus.from_dataset(self.dataset, validation, self.data_dir, self.field),
            )
        if self.validation:
            return (
                Corpus.from_text(self.text, "all", self.field),
                Corpus.from_text(self.validation, "all", self.field),
            )
        if self.text:
            return (
                Corpus.from_text(self.text, TRAIN, self.field),
                Corpus.from_text(self.text, VALIDATION, self.field),
            )
        return Corpus.embedded(cache_directory, TRAIN, say), Corpus.embedded(cache_directory, VALIDATION, say)


@dataclass(frozen=True)
class TrainingText:
    """The tokens of training text: in the cache, or streamed; `sample` are those that frequencies are counted on."""

    text: TokenStore | TextStream

    @property
    def sample(self) -> TokenStore:
        """The tokens at hand: all of them, or those of a stream's first window."""
        return self.text if isinstance(self.text, TokenStore) else self.text.sample

    @property
    def tokens(self) -> int | None:
        """How many tokens there are, where that is known."""
        return self.text.tokens if isinstance(self.text, TokenStore) else None

    @property
    def file(self) -> str:
        """A file that is read while training."""
        if isinstance(self.text, TokenStore):
            return os.path.realpath(self.text.path)
        return self.text.split.shards()[0][0]

    def warnings(self, objective: SpanCorruption) -> list[str]:
        """What a reader of the manifest should know: what was left out or replaced, or stays out of an epoch."""
        lines = list(self.sample.remarks)
        if isinstance(self.text, TextStream):
            share = self.text.read_in_an_epoch(objective)
            lines.append(f"an epoch reads about {share:.0%} of the training text's tokens; the next one reads others")
        return lines

    @property
    def unknown(self) -> float:
        """The share of the tokens at hand that are unknown."""
        return unknown_share([self.sample.array[:COUNTED_TOKENS]])

    def batches(self, objective: SpanCorruption, **options: Any) -> Callable[..., Any]:
        """A function of `start_step` that returns the batches from there; the options are `pretraining_batches`'s."""
        if isinstance(self.text, TokenStore):
            return partial(pretraining_batches, self.text, objective, **options)
        return partial(self.text.batches, objective, **options)


def is_streamed(corpus: Corpus) -> bool:
    """Whether a corpus is too large to be tokenized as a whole."""
    return corpus.shards is not None and corpus.shards.examples >= STREAMED_FROM


def vocabulary_text(corpus: Corpus) -> Corpus:
    """What of a training corpus a vocabulary is trained on."""
    return corpus.first(_VOCABULARY_DOCUMENTS) if is_streamed(corpus) else corpus


def open_training_text(
    corpus: Corpus, vocabulary: Vocabulary, cache_directory: Path, reporter: Reporter
) -> TrainingText:
    """Tokenises training text into the cache, or as much of it as a stream needs to begin."""
    reporter.message(f"reading {corpus.name} ({corpus.split})")
    opener = TextStream.open if is_streamed(corpus) else TokenStore.build
    return TrainingText(
        opener(
            corpus,
            vocabulary,
            cache_directory=cache_directory,
            on_work=reporter.working,
            say=reporter.message,
        )
    )


def open_validation_text(
    corpus: Corpus, vocabulary: Vocabulary, cache_directory: Path, tokens: int, reporter: Reporter
) -> TokenStore:
    """Tokenises held-out text into the cache: all of it, or of a large set as much as has so many tokens."""
    reporter.message(f"reading {corpus.name} ({corpus.split})")
    return TokenStore.build(
        corpus,
        vocabulary,
        cache_directory=cache_directory,
        on_work=reporter.working,
        at_least=tokens if isinstance(corpus.shards, DatasetSplit) or is_streamed(corpus) else None,
        say=reporter.message,
    )
