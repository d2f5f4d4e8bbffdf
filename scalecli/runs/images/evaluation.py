"""Few-shot evaluation of a run's checkpoints on labelled images, with a manifest of its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np

from scalecli.architectures import build_image_spec
from scalecli.data.datasets import readable
from scalecli.data.images.source import Images, ImageSource, measured_batches
from scalecli.devices import open_devices
from scalecli.errors import ScalecliError
from scalecli.evaluation.few_shot import Features, FewShot, draw_shots, figures, ridge_accuracy
from scalecli.manifest import Best, Manifest
from scalecli.results import FEW_SHOT_ACCURACY, FEW_SHOT_EXAMPLES
from scalecli.runs.directory import Trained
from scalecli.runs.evaluation import Evaluation, prepare, write_manifest
from scalecli.runs.images.pretraining import image_data, tell_about

if TYPE_CHECKING:
    from scalecli.training.reporting import Reporter

FEW_SHOT = "few-shot ridge regression"
_POOL = 5  # times as many images of a dataset as one draw takes are drawn from, lest all of it must be read


def name_of_images(source: ImageSource, images: tuple[Images, Images], few_shot: FewShot) -> str:
    """How a folder of results is called after what was measured."""
    name = re.sub(r"[^\w.-]+", "-", PurePath(source.images).name if source.is_folder else source.images)
    identity = " ".join([*(each.identity for each in images), str(few_shot.seeds)])
    return f"{few_shot.shots}-shot-{name}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def open_images(
    trained: Trained, source: ImageSource, cache_directory: Path, reporter: Reporter
) -> tuple[Images, Images]:
    """The images to draw shots from and those to test on, for a run that reads images.

    Raises:
        ConfigurationError: it reads text, or the dataset has no image with one label.
        MissingError: there are no such images.
    """
    build_image_spec(trained.manifest.architecture, trained.shape)
    images = source.open(cache_directory, reporter.images)
    tell_about(*images, reporter)
    return images


def evaluate_few_shot(
    job: Evaluation,
    source: ImageSource,
    images: tuple[Images, Images],
    few_shot: FewShot,
    on_progress: Callable[[int, int], None],
) -> Manifest:
    """Measures few-shot accuracy with each checkpoint: shots from the first images, accuracy on the second.

    Writes the manifest, which names the best step where there are several, and returns it.

    Raises:
        ScalecliError: of the kind that says what is wrong (see `errors`).
    """
    from scalecli.models.vision import VisionTransformer

    training, test = images
    spec = job.trained.image_spec
    devices = open_devices(job.devices)
    job = replace(job, batch=devices.divisible(job.batch))
    prepare(job.place, devices)
    draws = draw_shots(training.labels(_POOL * few_shot.shots), few_shot, training.classes, training.name)
    drawn = np.unique(np.concatenate(draws))
    model = devices.new_model(lambda: VisionTransformer(spec, job.trained.manifest.precision))
    features = Features(model, devices)
    size, total = spec.embedding.image_size, len(job.checkpoints) * (len(drawn) + test.images)
    done = 0

    def of(read: Images, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal done
        found = []
        with readable(read.name):
            for each in features(measured_batches(read, size, numbers, job.batch).as_numpy_iterator()):
                found.append(each)
                done += len(each[1])
                on_progress(done, total)
        return np.concatenate([x for x, _ in found]), np.concatenate([labels for _, labels in found])

    results = {}
    for checkpoint in job.checkpoints:
        checkpoint.load_into(model)
        shots, labels = of(training, drawn)
        tested, answers = of(test, np.arange(test.images))
        if not (np.isfinite(shots).all() and np.isfinite(tested).all()):
            raise ScalecliError(f"{job.trained.address}: at step {checkpoint.step} features are not finite")
        accuracies = []
        for draw in draws:
            rows = np.searchsorted(drawn, draw)
            accuracies.append(ridge_accuracy(shots[rows], labels[rows], tested, answers, len(training.classes)))
        results[checkpoint.step] = {**figures(accuracies), FEW_SHOT_EXAMPLES: float(len(answers))}
    best = max(results, key=lambda step: results[step][FEW_SHOT_ACCURACY])
    return write_manifest(
        job,
        devices,
        replace(image_data(source, training, test, size), name=test.name, images=test.images),
        results,
        {"name": FEW_SHOT, "shots": few_shot.shots, "seeds": ", ".join(map(str, range(few_shot.seeds)))},
        best=Best(step=best, rule=f"highest {FEW_SHOT_ACCURACY}") if len(results) > 1 else None,
    )
