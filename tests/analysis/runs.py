"""Manifests on disk whose shape is a real one, for the tests of comparisons."""

from dataclasses import replace

from scalecli.manifest import Data, ImageData, Parent, Throughput, manifest_hash, save_manifest
from scalecli.shape import parse_name, presets
from tests.manifests import example_manifest


def save_run(directory, size="tiny", **changes) -> str:
    """Saves the manifest of a run of a preset into a directory; returns the directory."""
    fields = {"name": str(directory).rsplit("/", 1)[-1], "shape": presets()[size].to_dict(), **changes}
    save_manifest(example_manifest(**fields), directory)
    return str(directory)


def c4_data() -> Data:
    """Data whose upstream figures compare with the papers'."""
    data = example_manifest().data
    vocabulary = replace(data.vocabulary, name="t5", pieces=32_000)
    return replace(data, name="c4/en:3.1.0", kind="tfds", identity="c4", vocabulary=vocabulary)


def as_papers() -> dict:
    """The fields of a manifest of a run on C4 that saw as much of it as the papers' models."""
    data = replace(c4_data(), inputs_length=512, targets_length=114)
    return {"data": data, "batch": 128, "steps": 2**19}


def child_of(directory, path, kind="finetune", step=300) -> dict:
    """The fields of a manifest whose run starts from `step` of that in `directory`, its `path`, and has scores."""
    return {
        "kind": kind,
        "parent": Parent(path=str(path), sha256=manifest_hash(directory), step=step),
        "results": {300: {"sst2/accuracy": 80.0, "cola/matthews": 40.0}},
        "throughput": None,
    }


def image_data(name="imagenet2012/5.1.0 validation", kind="image-dataset", identity="imagenet", **fields) -> ImageData:
    """Images to measure few-shot accuracy on."""
    return ImageData(name=name, kind=kind, identity=identity, image_size=224, classes=1000, images=50_000, **fields)


def few_shot_run(directory, name, accuracy, *, shots=10, steps_per_s=3.0, **changes) -> str:
    """Saves a vision transformer's pretraining, and below it its few-shot evaluation; returns that one's directory."""
    fields = {"architecture": "vit", "shape": parse_name(name, "vit").to_dict(), "data": image_data()}
    throughput = Throughput(steps_per_s=steps_per_s, tokens_per_s=1.0)
    pretrained = {"results": {300: {"validation/accuracy": 70.0}}, "throughput": throughput, **fields}
    save_run(directory, **{**pretrained, "objective": {"name": "classification"}})
    results = {300: {"few_shot/accuracy": accuracy, "few_shot/accuracy/low": accuracy - 1, "few_shot/examples": 9.0}}
    evaluated = {**child_of(directory, "../..", "eval"), **fields, "results": results, "objective": {"shots": shots}}
    return save_run(directory / "eval/few", **{**evaluated, "name": name, **changes})
