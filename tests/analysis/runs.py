"""Manifests on disk whose shape is a real one, for the tests of comparisons."""

from dataclasses import replace

from scalecli.manifest import Data, Parent, manifest_hash, save_manifest
from scalecli.shape import presets
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


def child_of(directory, path, kind="finetune", step=300) -> dict:
    """The fields of a manifest whose run starts from `step` of that in `directory`, its `path`, and has scores."""
    return {
        "kind": kind,
        "parent": Parent(path=str(path), sha256=manifest_hash(directory), step=step),
        "results": {300: {"sst2/accuracy": 80.0, "cola/matthews": 40.0}},
        "throughput": None,
    }
