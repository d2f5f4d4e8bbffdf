"""The model card of an exported run, README.md: facts of its manifest and nothing else."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

from scalecli import strict
from scalecli.manifest import ImageData, Manifest
from scalecli.storage.files import is_remote

_FACTS = ("kind", "created", "finished", "origin", "architecture", "shape", "parameters", "environment")
_TRAINING_FACTS = (  # what an import's manifest can't know
    *("data", "objective", "optimizer", "schedule", "batch", "accumulation", "steps", "seed", "precision", "dropout"),
    *("z_loss", "strategy", "flops", "throughput"),
)
_PATHS = ("file", "train", "validation", "test", "data_dir")
_LOADING_TEXT = {
    "transformers": "from transformers import AutoTokenizer, T5ForConditionalGeneration\n\n"
    'model = T5ForConditionalGeneration.from_pretrained("PATH")\n'
    'tokenizer = AutoTokenizer.from_pretrained("PATH")',
    "keras-hub": 'import keras_hub\n\nbackbone = keras_hub.models.T5Backbone.from_preset("PATH")',
}
_LOADING_IMAGES = {
    "transformers": "from transformers import ViTForImageClassification\n\n"
    'model = ViTForImageClassification.from_pretrained("PATH")',
    "numpy": 'import numpy\n\narrays = numpy.load("PATH/model.npz")  # as those of google-research/vision_transformer',
}


def model_card(manifest: Manifest, step: int, library: str) -> str:
    """The card, in Markdown with the header that hubs read, of a run's checkpoint at `step`.

    `library` is what loads the exported model: `transformers` or, of text, `keras-hub` and, of images, `numpy`.
    """
    reads_images = isinstance(manifest.data, ImageData)
    header = strict.dump_yaml({"library_name": library, "tags": ["vit" if reads_images else "t5", "scalecli"]})
    parameters = manifest.parameters
    parts = [
        f"# {_one_line(manifest.name)}",
        f"{'An encoder of images' if reads_images else 'An encoder-decoder'} of the architecture "
        f"{manifest.architecture} with {parameters.total:,} parameters, {parameters.non_embedding:,} of them outside "
        f"the embedding and the logits: the checkpoint at step {step:,} of a scalecli run.",
        _fenced((_LOADING_IMAGES if reads_images else _LOADING_TEXT)[library], "python"),
    ]
    if results := manifest.results.get(step):
        rows = "".join(f"| {_one_line(name)} | {value:.6g} |\n" for name, value in results.items())
        parts += [f"## Results at step {step:,}", f"| result | value |\n| --- | ---: |\n{rows}".rstrip()]
    if manifest.warnings:
        parts += ["## What to know", "\n".join(f"- {_one_line(warning)}" for warning in manifest.warnings)]
    parts += ["## The run", _fenced(strict.dump_yaml(_facts(manifest)).rstrip(), "yaml")]
    return f"---\n{header}---\n\n" + "\n\n".join(parts) + "\n"


def _facts(manifest: Manifest) -> dict[str, Any]:
    """What the manifest says, by its own keys, without the paths of somebody's disk."""
    mapping = _without_paths(strict.to_mapping(manifest))
    data = mapping["data"]
    if "vocabulary" in data:
        data["vocabulary"]["name"] = _without_directories(data["vocabulary"]["name"])
    if data["kind"] in ("text", "image-folder"):
        data["name"] = _without_directories(data["name"])
    if manifest.kind != "import":
        return {name: mapping[name] for name in (*_FACTS, *_TRAINING_FACTS) if name in mapping}
    mapping["origin"]["source"] = _without_directories(mapping["origin"]["source"])
    vocabulary = {"vocabulary": data["vocabulary"]} if "vocabulary" in data else {}
    return {name: mapping[name] for name in _FACTS if name in mapping} | vocabulary


def _without_directories(paths: str) -> str:
    """The last parts of several paths; addresses and names as they are."""
    parts = (path if is_remote(path) or path.startswith("hf:") else PurePath(path).name for path in paths.split(" "))
    return " ".join(parts)


def _without_paths(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_paths(item) for key, item in value.items() if key not in _PATHS}
    return value


def _fenced(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
