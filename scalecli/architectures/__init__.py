"""The architectures: pure functions from a `Shape` to a `ModelSpec`, and what each says about itself.

Each of the papers' is a file in `papers/`, which ends in its `architecture`; every file there counts. Users name theirs
by a file or a module, which `load` reads.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import cast

from scalecli.architectures import papers
from scalecli.architectures.declaration import Architecture
from scalecli.architectures.knobs import KNOBS, LARGEST, Knob
from scalecli.architectures.loading import built, load
from scalecli.architectures.lookup import check_knobs, named, no_knob
from scalecli.architectures.registry import ARCHITECTURES, register
from scalecli.architectures.shape import SHARED_FIELDS, Shape
from scalecli.errors import ConfigurationError
from scalecli.specs import EncoderDecoder, EncoderOnly, ModelSpec

DEFAULT_ARCHITECTURE = "transformer"

for _module in pkgutil.iter_modules(papers.__path__, f"{papers.__name__}."):
    register(importlib.import_module(_module.name).architecture)

# Those of the papers, by what they read, and their knobs.
TEXT_ARCHITECTURES = tuple(name for name, declared in ARCHITECTURES.items() if declared.reads == "text")
IMAGE_ARCHITECTURES = tuple(name for name, declared in ARCHITECTURES.items() if declared.reads == "images")
PAPERS_KNOBS = tuple(KNOBS)


def build_spec(architecture: str, shape: Shape) -> ModelSpec:
    """The spec of one architecture at one shape.

    Raises:
        ConfigurationError: no architecture has that name, or it has no model of that shape.
    """
    declared = named(architecture)
    check_knobs(shape, architecture)
    return built(declared, declared.complete(shape))


def build_text_spec(architecture: str, shape: Shape) -> EncoderDecoder:
    """As `build_spec`, of an architecture that reads and writes text.

    Raises:
        ConfigurationError: it does not, or it has no model of that shape.
    """
    return cast(EncoderDecoder, _build_reading("text", architecture, shape))


def build_image_spec(architecture: str, shape: Shape) -> EncoderOnly:
    """As `build_spec`, of an architecture that reads images.

    Raises:
        ConfigurationError: it does not, or it has no model of that shape.
    """
    return cast(EncoderOnly, _build_reading("images", architecture, shape))


def _build_reading(what: str, architecture: str, shape: Shape) -> ModelSpec:
    reads = named(architecture).reads
    if reads != what:
        accepted = ", ".join(name for name, declared in ARCHITECTURES.items() if declared.reads == what)
        raise ConfigurationError(f"{architecture} reads {reads}; this takes {what}: {accepted}")
    return build_spec(architecture, shape)
