"""Pretraining on labelled images: cross-entropy of their classes, validated by accuracy on held-out ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scalecli.architectures import build_image_spec
from scalecli.data.datasets import readable
from scalecli.data.images.source import Images, ImageSource, measured_batches
from scalecli.data.images.views import Cuts
from scalecli.devices import open_devices
from scalecli.errors import ConfigurationError
from scalecli.manifest import ImageData, Manifest
from scalecli.references import ModelReference
from scalecli.results import IMAGE_ACCURACY, VALIDATION
from scalecli.runs.directory import CLASSES_FILE, Trained, prepare_place, take_up
from scalecli.runs.pretraining_job import PretrainingJob
from scalecli.runs.recipe import build_model, new_manifest
from scalecli.shape import Shape
from scalecli.storage.files import write_atomically
from scalecli.storage.layout import OPTIMIZER, WEIGHTS

if TYPE_CHECKING:
    from scalecli.training.reporting import Reporter


@dataclass(frozen=True, kw_only=True)
class ImagePretraining(PretrainingJob):
    """A run on images; `cuts` is what of them training sees."""

    source: ImageSource
    cuts: Cuts

    @property
    def source_name(self) -> str:
        """The folder or the dataset."""
        return self.source.images

    def lengths(self) -> tuple[int, int]:
        """Patches of an image, and one for its class."""
        return build_image_spec(self.model.architecture, self.model.shape).lengths

    def check_source(self) -> None:
        """Looks whether the images are there. Raises as `ImageSource.count_classes` does."""
        self.source.count_classes()

    def planned_shape(self) -> Shape:
        """The shape with a head for the classes of the images.

        Raises:
            MissingError: the images, or the checkpoint of the run to start from, are not there.
            ConfigurationError: the run, or the shape file, has a head for another number of classes.
        """
        return _with_classes(self.model, self.parent(), self.source.count_classes(), self.source.images)


def pretrain_on_images(job: ImagePretraining, reporter: Reporter) -> Manifest:
    """Carries out a pretraining run, or goes on with it, in its directory; returns the finished manifest.

    A model that is itself a run gives its weights to start from.

    Raises:
        ScalecliError: of the kind that says what is wrong (see `errors`); a run that was under way is saved as far as
            its last checkpoint.
    """
    from scalecli.evaluation.classification import Classification
    from scalecli.models.vision import VisionTransformer
    from scalecli.training.job import Job
    from scalecli.training.loop import train

    devices = open_devices(job.devices)
    job.place.report = reporter.fetched
    prepare_place(job.place, devices)
    parent, start = job.parent(), job.start()
    for each in filter(None, (parent, start)):
        each.place.report = reporter.fetched
    training, held_out = job.source.open(job.cache_directory, reporter.images)
    tell_about(training, held_out, reporter)
    shape = _with_classes(job.model, parent, len(training.classes), training.name)
    spec = build_image_spec(job.model.architecture, shape)
    size = spec.embedding.image_size
    manifest = new_manifest(
        "pretrain",
        name=job.place.name,
        spec=spec,
        shape=shape,
        data=image_data(job.source, training, held_out, size),
        recipe=job.recipe,
        devices=devices,
        command_line=job.command_line,
        parent=parent.as_parent(job.place) if parent else None,
        objective={"name": "classification", **asdict(job.cuts), "validation_examples": job.validation_examples},
        start_step=start.step if start else 0,
    )
    manifest = take_up(manifest, job.place)
    if manifest.status == "completed":
        reporter.message(f"{job.place.address}: already complete")
        return manifest
    names = (name if name.isprintable() else ascii(name) for name in training.classes)
    write_atomically(job.place.directory / CLASSES_FILE, "".join(f"{name}\n" for name in names))
    model = build_model(VisionTransformer, spec, job.recipe, devices)
    if parent:
        parent.load_into(model)
    classification = Classification(model, devices)
    measured = measured_batches(
        held_out,
        size,
        np.arange(min(job.validation_examples, held_out.images)),
        devices.divisible(job.recipe.batch // job.recipe.accumulation),
    )

    def validate() -> dict[str, float]:
        with readable(held_out.name):
            found = classification(measured.as_numpy_iterator())
        return {f"{VALIDATION}/{name}": value for name, value in found.items()}

    with readable(training.name):
        return train(
            Job(
                manifest=manifest,
                devices=devices,
                model=model,
                schedule=job.recipe.schedule,
                new_optimizer=job.recipe.new_optimizer,
                saving=job.saving,
                batches=training.training(size, job.cuts, batch=job.recipe.batch, seed=job.recipe.seed),
                validate=validate,
                best=IMAGE_ACCURACY,
                tokens_per_step=job.recipe.batch * sum(spec.lengths),
                peak_flops=job.peak_flops,
                start=start.fetched(OPTIMIZER, WEIGHTS) if start else None,
            ),
            job.place,
            reporter,
        )


def tell_about(training: Images, held_out: Images, reporter: Reporter) -> None:
    """Says how many images there are, what was left out, and what the model sees otherwise than it is."""
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


def _with_classes(model: ModelReference, parent: Trained | None, classes: int, name: str) -> Shape:
    """The shape with a head for so many classes, or with what a shape file states itself, or the run's.

    Raises:
        ConfigurationError: the run's head is for another number of classes, or the shape file's for fewer.
    """
    if parent is not None:
        if parent.shape.classes != classes:
            raise ConfigurationError(
                f"{parent.address}: its head is for {parent.shape.classes} classes, and {name} has {classes}"
            )
        return parent.shape
    build_image_spec(model.architecture, model.shape)  # text models have no classes
    if not model.states_vocabulary:
        return replace(model.shape, classes=classes)
    if (model.shape.classes or 0) < classes:
        raise ConfigurationError(
            f"the shape file's {model.shape.classes} classes are too few for {name}, which has {classes}; "
            f"leave classes out, or state {classes}"
        )
    return model.shape
