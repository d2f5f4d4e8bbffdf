"""The text that a run is pretrained on: which it is, and how it is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from scalecli.data.datasets import DatasetSplit
from scalecli.data.text.corpora import Corpus, open_text, text_documents
from scalecli.data.text.span_corruption import COUNTED_TOKENS, SpanCorruption, check_segments, pretraining_batches
from scalecli.data.text.streams import STREAMED_FROM, TextStream
from scalecli.data.text.tokens import TokenStore
from scalecli.data.text.vocabulary import Vocabulary, unknown_share
from scalecli.devices import Batches
from scalecli.errors import ConfigurationError
from scalecli.storage.files import Say
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
        dataset_options = {"data-dir": self.data_dir, "split": self.split, "validation-split": self.validation_split}
        for flag, value in dataset_options.items():
            if value and not self.dataset:
                raise ConfigurationError(f"--{flag} goes with --dataset")
        if self.field and not (self.text or self.dataset):
            raise ConfigurationError("--text-field goes with --text or --dataset")

    @property
    def kind(self) -> Literal["text", "tfds", "embedded"]:
        """As manifests name it."""
        return "text" if self.text else "tfds" if self.dataset else "embedded"

    @property
    def name(self) -> str:
        """The files or the dataset."""
        return " ".join(self.text) or self.dataset or "embedded docstrings"

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
            splits = self.split or TRAIN, self.validation_split or VALIDATION
            train, validation = (
                Corpus.from_dataset(self.dataset, split, self.data_dir, self.field) for split in splits
            )
        elif self.validation:
            train, validation = (Corpus.from_text(text, "all", self.field) for text in (self.text, self.validation))
        elif self.text:
            train, validation = (Corpus.from_text(self.text, split, self.field) for split in (TRAIN, VALIDATION))
        else:
            train, validation = (Corpus.embedded(cache_directory, split, say) for split in (TRAIN, VALIDATION))
        return train, validation


@dataclass(frozen=True)
class TrainingText:
    """A corpus to train on and its tokens: a store in the cache, or a stream."""

    corpus: Corpus
    vocabulary: Vocabulary
    tokens: TokenStore | TextStream

    @property
    def sample(self) -> TokenStore:
        """The tokens at hand: all of them, or those of a stream's first window."""
        return self.tokens if isinstance(self.tokens, TokenStore) else self.tokens.sample

    @property
    def count(self) -> int | None:
        """How many tokens there are, where that is known."""
        return self.tokens.tokens if isinstance(self.tokens, TokenStore) else None

    @property
    def files(self) -> list[str]:
        """One of a stream's shards, which are read while training."""
        return [] if isinstance(self.tokens, TokenStore) else [self.tokens.split.shards()[0][0]]

    @property
    def cached(self) -> list[str]:
        """The file of the cache that is read while training."""
        return [os.path.realpath(self.tokens.path)] if isinstance(self.tokens, TokenStore) else []

    @property
    def unknown(self) -> float:
        """The share of the tokens at hand that are unknown."""
        return unknown_share([self.sample.array[:COUNTED_TOKENS]])

    def warnings(self, objective: SpanCorruption) -> list[str]:
        """What a reader of the manifest should know: what was left out or replaced, or stays out of an epoch."""
        lines = list(self.sample.remarks)
        if isinstance(self.tokens, TextStream):
            share = self.tokens.read_in_an_epoch(objective)
            lines.append(f"an epoch reads about {share:.0%} of the training text's tokens; the next one reads others")
        return lines

    def check(self, objective: SpanCorruption) -> None:
        """Checks that there is a segment to train on. Raises as `batches` does."""
        if isinstance(self.tokens, TokenStore):
            check_segments(self.tokens, objective, self.vocabulary.sentinels)
        else:
            self.tokens.check(objective)

    def batches(self, objective: SpanCorruption, batch: int, seed: int) -> Batches:
        """The batches of a host's share from a step on (see `pretraining_batches`).

        Raises:
            MissingError: the text has not one segment.
            ConfigurationError: a segment has more spans than the vocabulary has sentinels.
        """
        if isinstance(self.tokens, TokenStore):
            make = partial(pretraining_batches, self.tokens, objective, sentinels=self.vocabulary.sentinels)
        else:
            make = partial(self.tokens.batches, objective)
        return lambda step, share: make(batch=batch, seed=seed, start_step=step, share=share)


def is_streamed(corpus: Corpus) -> bool:
    """Whether a corpus is too large to be tokenized as a whole."""
    return corpus.shards is not None and corpus.shards.examples >= STREAMED_FROM


def vocabulary_text(corpus: Corpus) -> Corpus:
    """The part of a training corpus that a vocabulary is trained on."""
    return corpus.first(_VOCABULARY_DOCUMENTS) if is_streamed(corpus) else corpus


def open_training_text(
    corpus: Corpus, vocabulary: Vocabulary, cache_directory: Path, reporter: Reporter
) -> TrainingText:
    """Tokenizes training text into the cache, or as much of it as a stream needs to begin."""
    open_tokens = TextStream.open if is_streamed(corpus) else TokenStore.build
    return TrainingText(corpus, vocabulary, _read(open_tokens, corpus, vocabulary, cache_directory, reporter))


def open_validation_text(
    corpus: Corpus, vocabulary: Vocabulary, cache_directory: Path, tokens: int, reporter: Reporter
) -> TokenStore:
    """Tokenizes held-out text into the cache: all of it, or of a large set as much as has so many tokens."""
    at_least = tokens if isinstance(corpus.shards, DatasetSplit) or is_streamed(corpus) else None
    return _read(partial(TokenStore.build, at_least=at_least), corpus, vocabulary, cache_directory, reporter)


def _read(
    open_tokens: Callable[..., Any], corpus: Corpus, vocabulary: Vocabulary, cache_directory: Path, reporter: Reporter
) -> Any:
    reporter.message(f"reading {corpus.name} ({corpus.split})")
    return open_tokens(
        corpus, vocabulary, cache_directory=cache_directory, on_work=reporter.working, say=reporter.message
    )
