"""Few-shot accuracy on labeled images, as a measure of a run's checkpoints."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from scalecli.architectures import build_image_spec
from scalecli.data.datasets import readable
from scalecli.data.images.source import Images, ImageSource, measured_batches
from scalecli.devices import Devices
from scalecli.errors import ScalecliError
from scalecli.evaluation.few_shot import Features, FewShot, draw_shots, figures, ridge_accuracy
from scalecli.results import FEW_SHOT_ACCURACY, FEW_SHOT_EXAMPLES
from scalecli.runs.evaluation import Evaluation, MeasuredInputs
from scalecli.runs.images.pretraining import image_data, report_images
from scalecli.runs.trained import Trained
from scalecli.training.reporting import Reporter

FEW_SHOT = "few-shot ridge regression"
_POOL = 5  # a draw is from so many times the images that it takes, so that not all of a dataset has to be read


def name_of_images(source: ImageSource, images: tuple[Images, Images], few_shot: FewShot) -> str:
    """The name of the folder of results."""
    name = re.sub(r"[^\w.-]+", "-", PurePath(source.name).name if source.is_folder else source.name)
    identity = " ".join([*(split.identity for split in images), str(few_shot.seeds)])
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
    images = source.open(cache_directory, reporter.working, reporter.message)
    report_images(*images, reporter)
    return images


@dataclass(frozen=True)
class FewShotAccuracy:
    """Few-shot accuracy: shots from the training images, accuracy on the others."""

    source: ImageSource
    images: tuple[Images, Images]
    few_shot: FewShot

    def open(self, job: Evaluation, devices: Devices, reporter: Reporter) -> MeasuredInputs:
        """Draws the shots."""
        training, test = self.images
        draws = draw_shots(training.labels(_POOL * self.few_shot.shots), self.few_shot, training.classes, training.name)
        drawn = np.unique(np.concatenate(draws))
        size = job.trained.image_spec.embedding.image_size
        examples = len(drawn) + test.images
        total, done = len(job.checkpoints) * examples, 0

        def on(model: Any) -> Callable[[int], dict[str, float]]:
            features = Features(model, devices)

            def features_of(images: Images, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
                nonlocal done
                batches = []
                with readable(images.name):
                    for batch in features(measured_batches(images, size, numbers, job.batch).as_numpy_iterator()):
                        batches.append(batch)
                        done += len(batch[1])
                        reporter.examples(done, total)
                values, labels = zip(*batches, strict=True)
                return np.concatenate(values), np.concatenate(labels)

            def measured(step: int) -> dict[str, float]:
                shots, labels = features_of(training, drawn)
                tested, answers = features_of(test, np.arange(test.images))
                if not (np.isfinite(shots).all() and np.isfinite(tested).all()):
                    raise ScalecliError(f"{job.trained.address}: at step {step} features are not finite")
                rows = (np.searchsorted(drawn, draw) for draw in draws)
                classes = len(training.classes)
                accuracies = [ridge_accuracy(shots[row], labels[row], tested, answers, classes) for row in rows]
                return {**figures(accuracies), FEW_SHOT_EXAMPLES: float(len(answers))}

            return measured

        seeds = ", ".join(map(str, range(self.few_shot.seeds)))
        return MeasuredInputs(
            data=replace(image_data(self.source, training, test, size), name=test.name, images=test.images),
            objective={"name": FEW_SHOT, "shots": self.few_shot.shots, "seeds": seeds},
            examples=examples,
            best=FEW_SHOT_ACCURACY,
            on=on,
        )
