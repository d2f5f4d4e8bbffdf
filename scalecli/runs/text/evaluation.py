"""The perplexity of text, as a measure of a run's checkpoints."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scalecli.data.text.corpora import Corpus
from scalecli.data.text.span_corruption import SpanCorruption, validation_batches
from scalecli.data.text.tokens import TokenStore
from scalecli.devices import Devices
from scalecli.errors import MissingError, ScalecliError
from scalecli.manifest import load_manifest
from scalecli.runs.evaluation import Evaluation, MeasuredInputs, resolved
from scalecli.runs.text.pretraining import objective_entry, perplexity
from scalecli.runs.trained import Trained
from scalecli.storage.files import is_remote
from scalecli.storage.layout import MANIFEST, manifest_path, resolve_from
from scalecli.strict import from_mapping
from scalecli.training.reporting import Reporter


@dataclass(frozen=True)
class TextPerplexity:
    """Negative log-perplexity by span corruption on the first `examples` segments of text, in `field` of records."""

    text: Sequence[str]
    objective: SpanCorruption
    examples: int
    field: str | None = None

    def open(self, job: Evaluation, devices: Devices, reporter: Reporter) -> MeasuredInputs:
        """Tokenises the text. The text that the run was trained on need not be here: frequencies are those of this."""
        vocabulary = job.trained.vocabulary(job.cache_directory)
        corpus = Corpus.from_text(self.text, "all", self.field)
        store = TokenStore.build(corpus, vocabulary, cache_directory=job.cache_directory, on_work=reporter.working)
        held_out = validation_batches(
            store, self.objective, sentinels=vocabulary.sentinels, batch=job.batch, examples=self.examples
        )
        data = replace(
            job.trained.text_data(),
            name=corpus.name,
            kind="text",
            identity=corpus.identity,
            inputs_length=self.objective.inputs_length,
            targets_length=self.objective.targets_length,
            packed=False,
            task=None,
            tasks=None,
            rates=None,
            documents=store.documents,
            tokens=store.tokens,
        )
        total = min(self.examples, len(held_out) * job.batch)

        def reported() -> Iterator[Any]:
            for number, batch in enumerate(held_out, start=1):
                yield batch
                reporter.examples(min(number * job.batch, total), total)

        def on(model: Any) -> Callable[[int], dict[str, float]]:
            measure = perplexity(model, devices, held_out, self.objective, store, vocabulary)
            return lambda step: measure(reported())

        objective = objective_entry(self.objective, self.examples)
        return MeasuredInputs(data=data, objective=objective, examples=total, on=on, warnings=list(store.remarks))


def name_of_text(text: Sequence[str], field: str | None = None) -> str:
    """How a folder of results on text is called. Raises MissingError when the text can't be read."""
    return f"text-{Corpus.from_text(text, 'all', field).identity[:8]}"


def objective_of(trained: Trained) -> SpanCorruption:
    """The objective that a run was pretrained with, or else the nearest run that it was made from.

    Raises:
        MissingError: no run that it was made from states one, or one of them can't be read.
        ConfigurationError: the objective is not valid, or the run was trained on images.
    """
    trained.text_data()
    manifest, directory = trained.manifest, resolved(trained)
    seen = {directory}
    while manifest.objective is None:
        unknown = f"{trained.address}: its objective is that of the run it was made from"
        if manifest.parent is None:
            raise MissingError(f"{unknown}, and {directory} states neither an objective nor a parent")
        path = manifest.parent.path
        # Of a path here a part may be a link, which `..` after it doesn't take back.
        there = is_remote(directory) or is_remote(path)
        parent = resolve_from(f"{directory}/{MANIFEST}", path) if there else os.path.join(directory, path)
        try:
            manifest = load_manifest(parent)
            directory = os.path.dirname(manifest_path(parent))
            directory = directory if is_remote(directory) else os.path.realpath(directory)
        except (ScalecliError, ValueError) as error:  # ValueError: what no file system takes for a path
            raise MissingError(f"{unknown}, and {parent} can't be read ({error})") from error
        if directory in seen:
            raise MissingError(f"{unknown}, and {directory} is among its own parents")
        seen.add(directory)
    values = {key: value for key, value in manifest.objective.items() if key not in ("name", "validation_examples")}
    return from_mapping(SpanCorruption, values, f"{directory}: objective")
