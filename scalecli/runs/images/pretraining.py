"""Pretraining on labeled images: cross-entropy of their classes, validated by accuracy on held-out ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scalecli.architectures import build_image_spec
from scalecli.data.datasets import readable
from scalecli.data.images.source import Images, ImageSource, measured_batches
from scalecli.data.images.views import Cuts
from scalecli.devices import Devices
from scalecli.errors import ConfigurationError
from scalecli.manifest import ImageData
from scalecli.results import IMAGE_ACCURACY, VALIDATION
from scalecli.runs.trained import CLASSES_FILE, Trained
from scalecli.runs.training import PretrainingJob, TrainingInputs, with_outputs
from scalecli.shape import Shape
from scalecli.storage.files import write_atomically
from scalecli.training.reporting import Reporter


@dataclass(frozen=True, kw_only=True)
class ImagePretraining(PretrainingJob):
    """A run on images; `cuts` is what of them training sees."""

    source: ImageSource
    cuts: Cuts

    def lengths(self) -> tuple[int, int]:
        """Patches of an image, and one for its class."""
        return build_image_spec(self.model.architecture, self.model.shape).lengths

    def planned_shape(self) -> Shape:
        """The shape with a head for the classes of the images.

        Raises:
            MissingError: the images, or the checkpoint of the run to start from, are not there.
            ConfigurationError: the run, or the shape file, has a head for another number of classes.
        """
        return self._shape(self.initial(), self.source.count_classes(), self.source.name)

    def open(self, initial: Trained | None, devices: Devices, reporter: Reporter) -> TrainingInputs:
        """Opens the images; their classes say how large the head is."""
        training, held_out = self.source.open(self.cache_directory, reporter.working, reporter.message)
        report_images(training, held_out, reporter)
        shape = self._shape(initial, len(training.classes), training.name)
        spec = build_image_spec(self.model.architecture, shape)
        size = spec.embedding.image_size
        measured = measured_batches(
            held_out,
            size,
            np.arange(min(self.validation_examples, held_out.images)),
            devices.divisible(self.recipe.batch // self.recipe.accumulation),
        )

        def validation(model: Any) -> Callable[[], dict[str, float]]:
            from scalecli.evaluation.classification import Classification

            classification = Classification(model, devices)

            def validate() -> dict[str, float]:
                with readable(held_out.name):
                    results = classification(measured.as_numpy_iterator())
                return {f"{VALIDATION}/{name}": value for name, value in results.items()}

            return validate

        return TrainingInputs(
            spec=spec,
            shape=shape,
            data=image_data(self.source, training, held_out, size),
            objective={"name": "classification", **asdict(self.cuts), "validation_examples": self.validation_examples},
            batches=training.training(size, self.cuts, batch=self.recipe.batch, seed=self.recipe.seed),
            best=IMAGE_ACCURACY,
            keep=partial(_keep_classes, training.classes),
            validation=validation,
            reading=partial(readable, training.name),
            files=[training.file],
        )

    def _shape(self, initial: Trained | None, classes: int, name: str) -> Shape:
        if initial is None:
            build_image_spec(self.model.architecture, self.model.shape)  # text models have no classes
            return with_outputs(self.model, "classes", classes, classes, f"{name}, which has {classes}")
        if initial.shape.classes != classes:
            raise ConfigurationError(
                f"{initial.address}: its head is for {initial.shape.classes} classes, and {name} has {classes}"
            )
        return initial.shape


def report_images(training: Images, held_out: Images, reporter: Reporter) -> None:
    """Says how many images there are, what was left out, and what is changed before the model sees it."""
    for images in (training, held_out):
        left_out = ", ".join(f"{what} ({count:,})" for what, count in images.left_out.items())
        more = f"; left out: {left_out}" if left_out else ""
        reporter.message(f"{images.name}: {images.images:,} images of {len(images.classes):,} classes{more}")
        for note in images.notes:
            reporter.message(note)


def image_data(source: ImageSource, training: Images, held_out: Images, size: int) -> ImageData:
    """What a manifest says of the images."""
    left_out = dict(training.left_out)
    for what, count in held_out.left_out.items():
        left_out[what] = left_out.get(what, 0) + count
    return ImageData(
        name=training.name,
        kind=source.kind,
        identity=f"{training.identity}+{held_out.identity}",
        image_size=size,
        classes=len(training.classes),
        images=training.images,
        left_out=left_out,
    )


def _keep_classes(classes: Sequence[str], directory: Path) -> None:
    names = (name if name.isprintable() else ascii(name) for name in classes)
    write_atomically(directory / CLASSES_FILE, "".join(f"{name}\n" for name in names))
