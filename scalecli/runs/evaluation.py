"""Evaluation of a run: a task's scores, or the perplexity of text, with a manifest of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalecli.data.corpora import Corpus
from scalecli.data.span_corruption import SpanCorruption, unigram_cross_entropy, validation_batches
from scalecli.data.tasks import Task, read_examples
from scalecli.data.tokens import TokenStore
from scalecli.errors import ConfigurationError, MissingError, ScalecliError
from scalecli.evaluation.tasks import OnProgress, Scores, TaskEvaluation
from scalecli.files import write_atomically
from scalecli.manifest import (
    FILE_NAME,
    Checkpoints,
    Data,
    Manifest,
    Scalar,
    load_manifest,
    manifest_path,
    save_manifest,
    utc_now,
)
from scalecli.runs.directory import Trained, prepare_directory
from scalecli.runs.finetuning import task_identity
from scalecli.runs.pretraining import NEGATIVE_LOG_PERPLEXITY, UNIGRAM, objective_entry, objective_from_entry
from scalecli.runs.recipe import environment, require_tensorflow

if TYPE_CHECKING:
    from scalecli.training.loop import Reporter

PREDICTIONS = "predictions.jsonl"


@dataclass(frozen=True)
class Evaluation:
    """A checkpoint to measure, on how many examples at once, and where the results go."""

    trained: Trained
    batch: int
    directory: Path
    cache_directory: Path
    command_line: str


def default_directory(trained: Trained, task: Task | None, split: str, text: Sequence[str]) -> Path:
    """Where the results of measuring a run on a task's split, or on text, go: one place for each and for each step.

    Raises:
        MissingError: the text can't be read.
    """
    measured = f"{task.name}-{split}" if task else f"text-{Corpus.from_text(text, 'all').identity[:8]}"
    return trained.directory / "eval" / f"{measured}-{trained.step}"


def _prepare(directory: Path) -> None:
    """Makes the directory of results, or finds that what is there may be replaced.

    Raises:
        ConfigurationError: a run of training is there, or what is no manifest.
        ScalecliError: it can't be made or written.
    """
    prepare_directory(directory)
    if not (directory / FILE_NAME).exists():
        return
    another = "choose another directory by --run"
    try:
        kind = load_manifest(directory).kind
    except ScalecliError as error:
        raise ConfigurationError(f"{directory}: what is there can't be replaced ({error}); {another}") from error
    if kind != "eval":
        raise ConfigurationError(f"{directory}: holds a {kind} run, which results would overwrite; {another}")


def evaluate_task(job: Evaluation, task: Task, split: str, on_progress: OnProgress) -> tuple[Manifest, Scores]:
    """Decodes a split of a task, writes predictions.jsonl and the manifest, and returns that and the scores.

    Raises:
        ScalecliError: of the kind that says what is wrong (see `errors`).
    """
    require_tensorflow()
    _prepare(job.directory)
    examples = read_examples(task, split)
    vocabulary = job.trained.vocabulary(job.cache_directory)
    scores = TaskEvaluation(_model(job.trained), vocabulary, task, examples, job.batch)(on_progress)
    lines = (
        {"row": example.row, "input": example.input, "target": example.target, "prediction": prediction}
        for example, prediction in zip(examples, scores.predictions, strict=True)
    )
    content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomically(job.directory / PREDICTIONS, content)
    data = replace(
        job.trained.manifest.data,
        name=f"{task.name} ({split})",
        kind="task",
        identity=task_identity(task),
        inputs_length=task.inputs_length,
        targets_length=task.targets_length,
        packed=False,
        task=task.to_dict(),
        documents=len(examples),
        tokens=None,
    )
    return _write_manifest(job, data, scores.results, objective=None), scores


def objective_of(trained: Trained) -> SpanCorruption:
    """The objective that a run was pretrained with, or else the nearest run that it was made from.

    Raises:
        MissingError: no run that it was made from states one, or one of them can't be read.
        ConfigurationError: the objective is not valid.
    """
    manifest, directory = trained.manifest, trained.directory.resolve()
    seen = {directory}
    while manifest.objective is None:
        unknown = f"{trained.directory}: its objective is that of the run it was made from"
        if manifest.parent is None:
            raise MissingError(f"{unknown}, and {directory} states neither an objective nor a parent")
        parent = directory / manifest.parent.path
        try:
            manifest = load_manifest(parent)
            directory = Path(manifest_path(parent)).parent.resolve()
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

    require_tensorflow()
    _prepare(job.directory)
    vocabulary = job.trained.vocabulary(job.cache_directory)
    corpus = Corpus.from_text(text, "all")
    store = TokenStore.build(corpus, vocabulary, cache_directory=job.cache_directory, on_progress=reporter.documents)
    held_out = validation_batches(store, objective, vocabulary_size=vocabulary.size, batch=job.batch, examples=examples)
    # The text that the run was trained on need not be here: the frequencies are those of the text at hand.
    unigram = unigram_cross_entropy(
        (batch["targets"] for batch in held_out.as_numpy_iterator()), store, objective, vocabulary_size=vocabulary.size
    )
    total = min(examples, len(held_out) * job.batch)

    def reported() -> Iterator[Any]:
        for number, batch in enumerate(held_out, start=1):
            yield batch
            reporter.examples(min(number * job.batch, total), total)

    results = {NEGATIVE_LOG_PERPLEXITY: -CrossEntropy(_model(job.trained))(reported()), UNIGRAM: -unigram}
    data = replace(
        job.trained.manifest.data,
        name=corpus.name,
        kind="text",
        identity=corpus.identity,
        inputs_length=objective.inputs_length,
        targets_length=objective.targets_length,
        packed=False,
        task=None,
        documents=store.documents,
        tokens=store.tokens,
    )
    return _write_manifest(job, data, results, objective_entry(objective, examples))


def _model(trained: Trained):  # type: ignore[no-untyped-def]  # the class is known only once Keras is imported
    from scalecli.models.encoder_decoder import EncoderDecoder

    model = EncoderDecoder(trained.spec, trained.manifest.precision)
    trained.load_into(model)
    return model


def _write_manifest(
    job: Evaluation, data: Data, results: dict[str, float], objective: dict[str, Scalar] | None
) -> Manifest:
    of_run = job.trained.manifest
    vocabulary = replace(data.vocabulary, file=str(job.trained.directory.resolve() / data.vocabulary.file))
    manifest = replace(
        of_run,
        kind="eval",
        name=f"{of_run.name}:{data.name}",
        status="completed",
        created=utc_now(),
        finished=utc_now(),
        command_line=job.command_line,
        parent=job.trained.as_parent(job.directory),
        flops=replace(of_run.flops, training_total=None),
        data=replace(data, vocabulary=vocabulary),
        objective=objective,
        batch=job.batch,
        accumulation=1,
        steps=job.trained.step,
        start_step=job.trained.step,
        checkpoints=Checkpoints(directory=of_run.checkpoints.directory),
        results={job.trained.step: results},
        best=None,
        throughput=None,
        environment=environment(),
        warnings=[],
    )
    save_manifest(manifest, job.directory)
    return manifest
