"""Whether the specs of an architecture are true, and whether its layers see what they may and no more.

Everything runs at a tiny size on this machine, in seconds. Weights are random and nowhere symmetric.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import scalecli
from scalecli import specs
from scalecli.architectures import Shape
from scalecli.errors import ConfigurationError, ScalecliError
from scalecli.runs.checks.trials import TARGETS, VOCABULARY, FailedError, ImageTrial, NotApplicableError, TextTrial

_TINY = {"d_model": 32, "d_ff": 64, "d_kv": 8, "heads": 4, "vocabulary": VOCABULARY}
_TINY_IMAGES = {"d_model": 32, "d_ff": 64, "d_kv": 8, "heads": 4, "image_size": 32, "patch_size": 8, "classes": 10}
_LAYERS = (2, 3, 4, 6, 8, 12)
_INPUTS = (16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Check:
    """A check: what should hold, and in a line what is wrong or why the check does not apply."""

    name: str
    failure: str | None = None
    skipped: str | None = None


def check_architecture(build: Callable[[Shape], specs.ModelSpec], shape: Shape) -> Iterator[Check]:
    """Runs the checks one by one, on `build` of a tiny shape with the knobs of `shape`.

    Raises:
        ConfigurationError: no tiny shape is accepted.
    """
    spec, inputs = _tiny_spec(build, shape)
    from scalecli.models.building import new_model

    try:
        model = new_model(spec)
    except Exception as error:
        yield Check("the model is built", failure=_described(error))
        return
    _randomize(model)
    trial = TextTrial(model, inputs) if isinstance(spec, specs.EncoderDecoder) else ImageTrial(model)
    for name, check in trial.checks().items():
        try:
            check()
        except FailedError as failure:
            yield Check(name, failure=str(failure))
        except NotApplicableError as reason:
            yield Check(name, skipped=str(reason))
        except Exception as error:
            yield Check(name, failure=_described(error))
        else:
            yield Check(name)


def _tiny_spec(build: Callable[[Shape], specs.ModelSpec], shape: Shape) -> tuple[specs.ModelSpec, int]:
    """The smallest spec that the architecture accepts, and the length of its inputs."""
    reads_text = shape.decoder_layers > 0
    experts = {} if shape.experts is None else {"experts": 2}  # few, so that each has room for all tokens
    refused = None
    for layers in _LAYERS:
        try:
            depth = {"encoder_layers": layers, "decoder_layers": layers if reads_text else 0}
            spec = build(shape.changed(**(_TINY if reads_text else _TINY_IMAGES), **depth, **experts))
            if not isinstance(spec, specs.EncoderDecoder):
                return spec, 0
            for inputs in _INPUTS:
                try:
                    spec.multiply_adds(inputs, TARGETS)
                    return spec, inputs
                except ConfigurationError as error:
                    refused = error
        except ConfigurationError as error:
            refused = error
    raise ConfigurationError(f"no tiny shape to check is accepted: {refused}")


def _randomize(model: Any) -> None:
    random = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(variable + 0.2 * random.normal(size=variable.shape).astype("float32"))


def _described(error: Exception) -> str:
    """The error, and the line outside of this package and of libraries where it was raised, if there is one."""
    package = Path(scalecli.__file__).parent
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename]
    outside = [frame for frame in own if package not in Path(frame.filename).parents]
    where = "".join(f"{frame.filename}:{frame.lineno}: " for frame in (outside or own or frames)[-1:])
    if isinstance(error, ScalecliError):
        return str(error)
    lines = re.sub(r"\x1b\[\d+m", "", str(error)).splitlines()  # Keras prints them in bold, below a line of its own
    said = (line for line in lines if line.strip() and not line.startswith("Exception encountered when calling"))
    return f"{where}{type(error).__name__}: {next(said, '')}"
