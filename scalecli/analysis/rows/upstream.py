"""A run's final results, and the upstream quality that a finetuned or evaluated run has from the run it comes from."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

from scalecli.analysis.rows.fairness import last_step
from scalecli.analysis.rows.shape_costs import batch_for, flops_of
from scalecli.costs import TRAINING_PASSES, Batch, Convention
from scalecli.errors import ScalecliError
from scalecli.manifest import Data, Manifest, Throughput, parse_manifest
from scalecli.results import FEW_SHOT_ACCURACY, NEGATIVE_LOG_PERPLEXITY
from scalecli.shape import Shape
from scalecli.storage.files import read_bytes
from scalecli.storage.layout import manifest_path, resolve_from
from scalecli.strict import MAXIMUM_BYTES


def read_run(file: str) -> tuple[Manifest, str]:
    """The manifest in a file and its SHA-256; what many runs were made from is parsed once.

    Raises:
        MissingError, ConfigurationError: as `load_manifest` does.
    """
    content = read_bytes(file, MAXIMUM_BYTES)
    return _parsed(file, content), hashlib.sha256(content).hexdigest()


_parsed = functools.lru_cache(maxsize=4096)(parse_manifest)


def final_step(manifest: Manifest) -> int | None:
    """The best step where the run names one, otherwise the last one with results; None without any."""
    return manifest.best.step if manifest.best else max(manifest.results, default=None)


def final_results(manifest: Manifest) -> dict[str, float]:
    """The results of that step."""
    step = final_step(manifest)
    return {} if step is None else manifest.results[step]


@dataclass(frozen=True)
class Upstream:
    """An upstream figure, the negative log-perplexity in nats, of the weights at `step` of the run in `manifest`."""

    figure: float
    manifest: Manifest
    step: int

    @property
    def tokens(self) -> int | None:
        """The tokens, inputs and targets, that these weights were trained on; None if not by pretraining alone."""
        data = self.manifest.data
        if self.manifest.kind != "pretrain" or not isinstance(data, Data):
            return None
        return self.step * self.manifest.batch * (data.inputs_length + data.targets_length)


def upstream_of(file: str, manifest: Manifest) -> Upstream | None:
    """The upstream figure of the run in `file`, or of the nearest run that it was made from.

    Of that it is the figure of the step whose weights were taken, else of the last step before that has one. A
    pretraining run has its own figure or none, since its weights are its own. None as well where a run that this one
    comes from is not there any more, cannot be read, or has changed since.
    """
    step = final_step(manifest)
    figure = final_results(manifest).get(NEGATIVE_LOG_PERPLEXITY)
    # No loop is endless: no manifest can hold the hash of a manifest that holds its own.
    while figure is None and manifest.kind != "pretrain" and manifest.parent is not None:
        step = manifest.parent.step
        parent_run = _parent_of(file, manifest)
        if parent_run is None:
            return None
        file, manifest = parent_run
        figure = _figure_at(manifest, step)
    return None if figure is None or step is None else Upstream(figure, manifest, step)


@dataclass(frozen=True)
class Pretrained:
    """The pretraining run that a run's weights come from, and the step of it that they are from."""

    manifest: Manifest
    step: int

    @property
    def seen(self) -> str:
        """How much data the run saw, such as `9,600 tokens`; equal texts for runs that were trained for as long.

        Until its end, for the best and the last weights of a run: which step was best should tell no runs apart.
        """
        manifest, data = self.manifest, self.manifest.data
        last = manifest.steps if manifest.status == "completed" else last_step(manifest)
        is_chosen = manifest.best is not None and self.step == manifest.best.step
        examples = (last if is_chosen else self.step) * manifest.batch
        if isinstance(data, Data):
            return f"{examples * (data.inputs_length + data.targets_length):,} tokens"
        return f"{examples:,} images"

    def training_flops(self, architecture: str, shape: Shape, convention: Convention) -> int | None:
        """FLOPs of all steps until these weights: three forward passes a step, of the run's batch.

        None where the model can't have inputs as long as that batch's.
        """
        manifest, data = self.manifest, self.manifest.data
        batch = batch_for(architecture, shape, "forward", manifest.batch)
        if isinstance(data, Data):
            batch = Batch(manifest.batch, data.inputs_length, data.targets_length)
        once = flops_of(architecture, shape, convention, batch)
        passes = 1 if convention == "training" else TRAINING_PASSES
        return None if once is None else passes * self.step * once


def pretrained_of(file: str, manifest: Manifest) -> Pretrained | None:
    """The pretraining that the run in `file` is, or comes from; None where that is not known any more."""
    step: int | None = final_step(manifest) or last_step(manifest)
    while manifest.kind != "pretrain":
        parent_run = _parent_of(file, manifest)
        if parent_run is None or manifest.parent is None:
            return None
        step = manifest.parent.step
        file, manifest = parent_run
    return Pretrained(manifest, step) if step else None


def throughput_of(file: str, manifest: Manifest) -> Throughput | None:
    """A run's speed; that of a few-shot evaluation is that of the training that made the model, as in the papers."""
    if manifest.throughput is None and FEW_SHOT_ACCURACY in final_results(manifest):
        parent_run = _parent_of(file, manifest)
        return parent_run[1].throughput if parent_run else None
    return manifest.throughput


def _parent_of(file: str, manifest: Manifest) -> tuple[str, Manifest] | None:
    """The run that the run in `file` was made from, with its file; None where it is gone or has changed since."""
    if manifest.parent is None:
        return None
    try:
        parent = manifest_path(resolve_from(file, manifest.parent.path))
        parent_manifest, sha256 = read_run(parent)
        return (parent, parent_manifest) if sha256 == manifest.parent.sha256 else None
    except (ScalecliError, ValueError):  # ValueError: what no file system takes for a path
        return None


def _figure_at(manifest: Manifest, step: int) -> float | None:
    figures = {own: results.get(NEGATIVE_LOG_PERPLEXITY) for own, results in manifest.results.items() if own <= step}
    measured = [own for own, figure in figures.items() if figure is not None]
    return figures[max(measured)] if measured else None
