"""Pretraining: span corruption on a corpus, validated by negative log-perplexity."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from scalecli.architectures import build_text_spec
from scalecli.data.datasets import readable
from scalecli.data.order import WHOLE
from scalecli.data.text.corpora import Corpus
from scalecli.data.text.span_corruption import SpanCorruption, unigram_cross_entropy, validation_batches
from scalecli.data.text.streams import TextStream
from scalecli.data.text.tokens import TokenStore
from scalecli.data.text.vocabulary import Vocabulary, unknown_warning
from scalecli.devices import Devices
from scalecli.errors import MissingError
from scalecli.manifest import Data, Scalar
from scalecli.results import NEGATIVE_LOG_PERPLEXITY, UNIGRAM_NEGATIVE_LOG_PERPLEXITY
from scalecli.runs.directory import keep_vocabulary, vocabulary_entry
from scalecli.runs.text.source import TextSource, TrainingText, open_training_text, open_validation_text
from scalecli.runs.text.vocabulary import open_vocabulary, planned_vocabulary
from scalecli.runs.trained import Trained
from scalecli.runs.training import PretrainingJob, TrainingInputs, with_outputs
from scalecli.shape import Shape
from scalecli.training.reporting import Reporter


@dataclass(frozen=True, kw_only=True)
class Pretraining(PretrainingJob):
    """A run on text. `vocabulary` is a file, `t5`, or `train:N` for N pieces of the corpus."""

    source: TextSource
    vocabulary: str
    objective: SpanCorruption

    def lengths(self) -> tuple[int, int]:
        """Tokens of an example's inputs and targets."""
        return self.objective.inputs_length, self.objective.targets_length

    def planned_shape(self) -> Shape:
        """The shape with the rows that its vocabulary takes. Raises as the base class says."""
        if initial := self.initial():
            return initial.shape
        return self._shape(planned_vocabulary(self.vocabulary))

    def open(self, initial: Trained | None, devices: Devices, reporter: Reporter) -> TrainingInputs:
        """Opens training and held-out text; a run to start from gives its vocabulary, too."""
        shape, training, held_out = self.open_text(initial, reporter)
        corpus, vocabulary = training.corpus, training.vocabulary
        validated, remarks = self._validation_batches(held_out, vocabulary, devices, reporter)
        training.check(self.objective)
        unknown = training.unknown
        doubts = (*remarks, *unknown_warning(f"{corpus.name}, {corpus.split}", unknown))

        def validation(model: Any) -> Callable[[], dict[str, float]]:
            measure = perplexity(model, devices, validated, self.objective, training.sample, vocabulary)
            return partial(measure, validated)

        @contextlib.contextmanager
        def reading() -> Iterator[None]:
            with readable(corpus.name):
                if isinstance(training.tokens, TextStream):
                    speed = training.tokens.tokens_per_second(self.objective)
                    reporter.message(f"input pipeline: {speed:,.0f} tokens/s or more")
                yield

        name = initial.text_data().vocabulary.name if initial else self.vocabulary
        return TrainingInputs(
            spec=build_text_spec(self.model.architecture, shape),
            shape=shape,
            data=Data(
                name=corpus.name,
                kind=self.source.kind,
                identity=f"{corpus.identity}+{held_out.identity}",
                inputs_length=self.objective.inputs_length,
                targets_length=self.objective.targets_length,
                packed=False,
                vocabulary=vocabulary_entry(vocabulary, name),
                documents=training.tokens.documents,
                tokens=training.count,
                unknown=unknown,
            ),
            warnings=list(dict.fromkeys((*training.warnings(self.objective), *doubts))),
            objective=objective_entry(self.objective, self.validation_examples),
            batches=training.batches(self.objective, self.recipe.batch, self.recipe.seed),
            best=NEGATIVE_LOG_PERPLEXITY,
            keep=partial(keep_vocabulary, vocabulary),
            validation=validation,
            reading=reading,
            files=training.files,
            cached=training.cached,
        )

    def open_text(self, initial: Trained | None, reporter: Reporter) -> tuple[Shape, TrainingText, Corpus]:
        """The model's shape, the training text and the held-out corpus; trains a vocabulary that is to be trained."""
        cache = self.cache_directory
        corpus, held_out = self.source.corpora(cache, reporter.message)
        if initial:
            vocabulary, shape = initial.vocabulary(cache), self.model.shape
        else:
            vocabulary = open_vocabulary(self.vocabulary, corpus, self.storage.directory, cache, reporter)
            shape = self._shape(vocabulary)
        return shape, open_training_text(corpus, vocabulary, cache, reporter), held_out

    def _shape(self, vocabulary: Vocabulary) -> Shape:
        return with_outputs(self.model, "vocabulary", vocabulary.rows, vocabulary.size, vocabulary.content)

    def _validation_batches(
        self, corpus: Corpus, vocabulary: Vocabulary, devices: Devices, reporter: Reporter
    ) -> tuple[Any, Sequence[str]]:
        """The batches of held-out text, and its remarks. Raises MissingError where there is too little of it."""
        tokens = self.validation_examples * self.objective.segment_length
        text = open_validation_text(corpus, vocabulary, self.cache_directory, tokens, reporter)
        try:
            batches = validation_batches(
                text,
                self.objective,
                sentinels=vocabulary.sentinels,
                batch=devices.divisible(self.recipe.batch // self.recipe.accumulation),
                examples=self.validation_examples,
            )
        except MissingError as error:
            from_text = self.source.text and not self.source.validation
            way_out = "; --validation-text takes held-out text from files" if from_text else ""
            raise MissingError(f"{error}{way_out}") from error
        return batches, text.remarks


def perplexity(
    model: Any, devices: Devices, held_out: Any, objective: SpanCorruption, sample: TokenStore, vocabulary: Vocabulary
) -> Callable[[Iterable[Any]], dict[str, float]]:
    """A function of the batches of `held_out`: the model's negative log-perplexity, and that of unigram frequencies.

    The frequencies are those of `sample`.
    """
    from scalecli.evaluation.cross_entropy import CrossEntropy

    cross_entropy = CrossEntropy(model, devices)
    targets = (batch["targets"] for batch in held_out.as_numpy_iterator())
    unigram = unigram_cross_entropy(targets, sample, objective, vocabulary)
    return lambda batches: {NEGATIVE_LOG_PERPLEXITY: -cross_entropy(batches), UNIGRAM_NEGATIVE_LOG_PERPLEXITY: -unigram}


def objective_entry(objective: SpanCorruption, examples: int) -> dict[str, Scalar]:
    """A manifest's entry for the objective, measured on `examples` segments of held-out text."""
    return {"name": "span corruption", **asdict(objective), "validation_examples": examples}


def example_batches(job: Pretraining, reporter: Reporter) -> tuple[Iterator[dict[str, Any]], Vocabulary]:
    """The first batches of a run, as NumPy arrays, and its vocabulary; the run's directory is left alone.

    Raises:
        ScalecliError: of the kind that says what is wrong (see `errors`).
    """
    initial = job.initial()
    if initial:
        initial.storage.report = reporter.fetched
    _, training, _ = job.open_text(initial, reporter)

    def batches() -> Iterator[dict[str, Any]]:
        with readable(training.corpus.name):
            yield from training.batches(job.objective, job.recipe.batch, job.recipe.seed)(0, WHOLE).as_numpy_iterator()

    return batches(), training.vocabulary
