"""Evaluation of a run's checkpoints, with a manifest of its own; what is measured here is the perplexity of text."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalecli.data.corpora import Corpus
from scalecli.data.span_corruption import SpanCorruption, unigram_cross_entropy, validation_batches
from scalecli.data.tokens import TokenStore
from scalecli.devices import AUTOMATIC, Devices, Request, open_devices
from scalecli.errors import ConfigurationError, MissingError, ScalecliError
from scalecli.files import is_remote
from scalecli.manifest import (
    FILE_NAME,
    Best,
    Checkpoints,
    Data,
    ImageData,
    Manifest,
    Scalar,
    load_manifest,
    manifest_path,
    save_manifest,
    seen_from,
    utc_now,
)
from scalecli.runs.directory import Trained, open_trained, prepare_place
from scalecli.runs.pretraining import NEGATIVE_LOG_PERPLEXITY, UNIGRAM, objective_entry, objective_from_entry
from scalecli.runs.recipe import environment
from scalecli.training.checkpoints import checkpoint_steps
from scalecli.training.places import Place

if TYPE_CHECKING:
    from scalecli.models.encoder_decoder import EncoderDecoder
    from scalecli.training.reporting import Reporter


@dataclass(frozen=True)
class Evaluation:
    """Checkpoints of one run to measure, on how many examples at once, and where the results go."""

    checkpoints: tuple[Trained, ...]
    batch: int
    place: Place
    cache_directory: Path
    command_line: str
    devices: Request = AUTOMATIC

    @property
    def trained(self) -> Trained:
        """The last of them."""
        return self.checkpoints[-1]


def open_checkpoints(path: str, which: str | None, cache_directory: Path) -> tuple[Trained, ...]:
    """The checkpoints of a run: `all`, the `best`, the `last`, or that of a step; None is the last, or the path's own.

    Raises:
        MissingError: there is no run, or no such checkpoint.
        ConfigurationError: the manifest is not valid, or `which` is none of these.
    """
    if which is not None and which not in ("all", "best", "last") and not which.isdecimal():
        raise ConfigurationError(f"checkpoints: {which!r}; accepted: all, best, last, or the number of a step")
    last = open_trained(path, cache_directory)
    if which == "all":
        return tuple(replace(last, step=step) for step in checkpoint_steps(last.folder))
    if which == "best":
        if last.manifest.best is None:
            raise MissingError(f"{last.address}: the run names no best step; --checkpoints all finds it")
        return (open_trained(last.address, cache_directory, last.manifest.best.step),)
    if which is None:
        return (last,)
    return (open_trained(last.address, cache_directory, int(which) if which.isdecimal() else None),)


def default_place(checkpoints: Sequence[Trained], measured: str) -> Place:
    """Where the results of measuring a run go: one place for each thing measured, and for each step."""
    last = checkpoints[-1]
    return last.place.at(f"eval/{measured}-{last.step if len(checkpoints) == 1 else 'all'}")


def name_of_text(text: Sequence[str]) -> str:
    """How a folder of results on text is called. Raises MissingError when the text can't be read."""
    return f"text-{Corpus.from_text(text, 'all').identity[:8]}"


def prepare(place: Place, devices: Devices) -> None:
    """Makes the directory of results, or finds that what is there may be replaced.

    Raises:
        ConfigurationError: a run of training is there, or what is no manifest.
        ScalecliError: it can't be made or written.
    """
    prepare_place(place, devices)
    if not (place.directory / FILE_NAME).exists():
        return
    another = "choose another directory by --run"
    try:
        kind = load_manifest(place.directory).kind
    except ScalecliError as error:
        raise ConfigurationError(f"{place.address}: what is there can't be replaced ({error}); {another}") from error
    if kind != "eval":
        raise ConfigurationError(f"{place.address}: holds a {kind} run, which results would overwrite; {another}")


def objective_of(trained: Trained) -> SpanCorruption:
    """The objective that a run was pretrained with, or else the nearest run that it was made from.

    Raises:
        MissingError: no run that it was made from states one, or one of them can't be read.
        ConfigurationError: the objective is not valid, or the run was trained on images.
    """
    trained.text_data()
    manifest, directory = trained.manifest, _resolved(trained)
    seen = {directory}
    while manifest.objective is None:
        unknown = f"{trained.address}: its objective is that of the run it was made from"
        if manifest.parent is None:
            raise MissingError(f"{unknown}, and {directory} states neither an objective nor a parent")
        path = manifest.parent.path
        # Of a path here a part may be a link, which `..` after it doesn't take back.
        there = is_remote(directory) or is_remote(path)
        parent = seen_from(f"{directory}/{FILE_NAME}", path) if there else os.path.join(directory, path)
        try:
            manifest = load_manifest(parent)
            directory = os.path.dirname(manifest_path(parent))
            directory = directory if is_remote(directory) else os.path.realpath(directory)
        except (ScalecliError, ValueError) as error:  # ValueError: what no file system takes for a path
            raise MissingError(f"{unknown}, and {parent} can't be read ({error})") from error
        if directory in seen:
            raise MissingError(f"{unknown}, and {directory} is among its own parents")
        seen.add(directory)
    return objective_from_entry(manifest.objective, f"{directory}: objective")


def evaluate_text(
    job: Evaluation, text: Sequence[str], objective: SpanCorruption, examples: int, reporter: Reporter
) -> Manifest:
    """Measures negative log-perplexity by span corruption on the first `examples` segments of text.

    Writes the manifest, and returns it.

    Raises:
        ScalecliError: of the kind that says what is wrong (see `errors`).
    """
    from scalecli.evaluation.cross_entropy import CrossEntropy

    devices = open_devices(job.devices)
    job = replace(job, batch=devices.divisible(job.batch))
    prepare(job.place, devices)
    vocabulary = job.trained.vocabulary(job.cache_directory)
    corpus = Corpus.from_text(text, "all")
    store = TokenStore.build(corpus, vocabulary, cache_directory=job.cache_directory, on_progress=reporter.documents)
    held_out = validation_batches(store, objective, sentinels=vocabulary.sentinels, batch=job.batch, examples=examples)
    # The text that the run was trained on need not be here: the frequencies are those of the text at hand.
    unigram = unigram_cross_entropy(
        (batch["targets"] for batch in held_out.as_numpy_iterator()), store, objective, vocabulary
    )
    total = min(examples, len(held_out) * job.batch)

    def reported() -> Iterator[Any]:
        for number, batch in enumerate(held_out, start=1):
            yield batch
            reporter.examples(min(number * job.batch, total), total)

    model = model_of(job.trained, devices)
    cross_entropy = CrossEntropy(model, devices)
    results = {}
    for checkpoint in job.checkpoints:
        checkpoint.load_into(model)
        results[checkpoint.step] = {NEGATIVE_LOG_PERPLEXITY: -cross_entropy(reported()), UNIGRAM: -unigram}
    data = replace(
        job.trained.text_data(),
        name=corpus.name,
        kind="text",
        identity=corpus.identity,
        inputs_length=objective.inputs_length,
        targets_length=objective.targets_length,
        packed=False,
        task=None,
        tasks=None,
        rates=None,
        documents=store.documents,
        tokens=store.tokens,
    )
    return write_manifest(job, devices, data, results, objective_entry(objective, examples))


def model_of(trained: Trained, devices: Devices) -> EncoderDecoder:
    """A text model of a run's spec, whose weights are yet to be loaded."""
    from scalecli.models.encoder_decoder import EncoderDecoder

    return devices.new_model(lambda: EncoderDecoder(trained.text_spec, trained.manifest.precision))


def write_manifest(
    job: Evaluation,
    devices: Devices,
    data: Data | ImageData,
    results: dict[int, dict[str, float]],
    objective: dict[str, Scalar] | None,
    warnings: Sequence[str] = (),
    best: Best | None = None,
) -> Manifest:
    """Writes, and returns, the manifest of an evaluation: the run's own, with what was measured on what."""
    of_run = job.trained.manifest
    if isinstance(data, Data):
        file = seen_from(f"{_resolved(job.trained)}/{FILE_NAME}", data.vocabulary.file)
        data = replace(data, vocabulary=replace(data.vocabulary, file=file))
    manifest = replace(
        of_run,
        kind="eval",
        name=f"{of_run.name}:{data.name}",
        status="completed",
        created=utc_now(),
        finished=utc_now(),
        command_line=job.command_line,
        parent=job.trained.as_parent(job.place),
        origin=None,
        flops=replace(of_run.flops, training_total=None),
        data=data,
        objective=objective,
        batch=job.batch,
        accumulation=1,
        steps=job.trained.step,
        start_step=job.checkpoints[0].step,
        checkpoints=Checkpoints(directory=of_run.checkpoints.directory),
        results=results,
        best=best,
        throughput=None,
        environment=environment(),
        warnings=list(warnings),
    )
    save_manifest(manifest, job.place.directory)
    if devices.chief:
        job.place.store_records()
    return manifest


def _resolved(trained: Trained) -> str:
    """The run's address, without links if it is a path."""
    return trained.address if is_remote(trained.address) else str(trained.place.directory.resolve())
