"""Evaluation of a run: a task's scores, or the perplexity of text, with a manifest of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scalecli.data.corpora import Corpus
from scalecli.data.span_corruption import SpanCorruption, unigram_cross_entropy, validation_batches
from scalecli.data.tasks import Task, read_examples
from scalecli.data.tokens import TokenStore
from scalecli.errors import ScalecliError
from scalecli.evaluation.tasks import OnProgress, Scores, TaskEvaluation
from scalecli.files import write_atomically
from scalecli.manifest import Checkpoints, Data, Manifest, load_manifest, save_manifest, utc_now
from scalecli.runs.directory import Trained, prepare_directory
from scalecli.runs.finetuning import task_identity
from scalecli.runs.pretraining import NEGATIVE_LOG_PERPLEXITY, UNIGRAM
from scalecli.runs.recipe import environment, require_tensorflow
from scalecli.strict import from_mapping

PREDICTIONS = "predictions.jsonl"


@dataclass(frozen=True)
class Evaluation:
    """A checkpoint to measure, on how many examples at once, and where the results go."""

    trained: Trained
    batch: int
    directory: Path
    cache_directory: Path
    command_line: str


def evaluate_task(job: Evaluation, task: Task, split: str, on_progress: OnProgress) -> tuple[Manifest, Scores]:
    """Decodes a split of a task, writes predictions.jsonl and the manifest, and returns that and the scores.

    Raises:
        ScalecliError: of the kind that says what is wrong (see `errors`).
    """
    require_tensorflow()
    prepare_directory(job.directory)
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
    return _write_manifest(job, data, scores.results), scores


def objective_of(trained: Trained) -> SpanCorruption:
    """The objective that a run was pretrained with, or its parents were; T5's where that is not known any more."""
    manifest = trained.manifest
    directory = trained.directory
    while manifest.objective is None and manifest.parent is not None:
        directory = directory / manifest.parent.path
        try:
            manifest = load_manifest(directory)
        except ScalecliError:
            break
    objective = dict(manifest.objective or {})
    objective.pop("name", None)
    return from_mapping(SpanCorruption, objective, f"{directory}: objective")


def evaluate_text(job: Evaluation, text: Sequence[str], objective: SpanCorruption, batches: int) -> Manifest:
    """Measures negative log-perplexity on text by span corruption; writes the manifest, and returns it.

    Raises:
        ScalecliError: of the kind that says what is wrong (see `errors`).
    """
    from scalecli.evaluation.cross_entropy import CrossEntropy

    require_tensorflow()
    prepare_directory(job.directory)
    vocabulary = job.trained.vocabulary(job.cache_directory)
    corpus = Corpus.from_text(text, "all")
    store = TokenStore.build(corpus, vocabulary, cache_directory=job.cache_directory)
    held_out = validation_batches(store, objective, vocabulary_size=vocabulary.size, batch=job.batch, batches=batches)
    # The text that the run was trained on need not be here: the frequencies are those of the text at hand.
    unigram = unigram_cross_entropy(
        (batch["targets"] for batch in held_out.as_numpy_iterator()), store, objective, vocabulary_size=vocabulary.size
    )
    results = {NEGATIVE_LOG_PERPLEXITY: -CrossEntropy(_model(job.trained))(held_out), UNIGRAM: -unigram}
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
    return _write_manifest(job, data, results)


def _model(trained: Trained):  # type: ignore[no-untyped-def]  # the class is known only once Keras is imported
    from scalecli.models.encoder_decoder import EncoderDecoder

    model = EncoderDecoder(trained.spec, trained.manifest.precision)
    trained.load_into(model)
    return model


def _write_manifest(job: Evaluation, data: Data, results: dict[str, float]) -> Manifest:
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
