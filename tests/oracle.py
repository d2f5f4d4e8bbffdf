"""Numbers from the papers' original code, where the environment says that they lie; else the tests of them skip."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

FOLDER = os.environ.get("SCALECLI_TEST_ORACLE")
needs_oracle = pytest.mark.skipif(FOLDER is None, reason="SCALECLI_TEST_ORACLE names no folder of original figures")

# Fixture -> architecture, and what its shape has beyond `shape_of_oracle`.
ARCHITECTURE_OF = {
    "vanilla_t5v1": ("transformer", {}),
    "t5v11_geglu_untied": ("glu", {}),
    "geglu_tied": ("glu", {}),
    "relu_untied": ("transformer", {}),
    "evolved": ("evolved", {}),
    "ut_basic": ("universal", {"layers": 1, "recurrence": 3, "recurrence_type": "basic"}),
    "ut_act": ("universal", {"layers": 1, "recurrence": 3, "recurrence_type": "act"}),
    "ut_highway": ("universal", {"layers": 1, "recurrence": 3, "recurrence_type": "highway"}),
    "ut_basic_gated": ("universal", {"layers": 1, "recurrence": 3, "recurrence_type": "gated"}),
    "switch": ("switch", {"experts": 4}),
    "funnel_1_1": ("funnel", {"funnel_blocks": 2}),
    "funnel_1_1_1": ("funnel", {"encoder_layers": 3, "funnel_blocks": 3}),
    "albert_encdec_shared": ("albert", {"embedding_size": 16, "shared_stacks": True}),
    "albert_encdec_separate": ("albert", {"embedding_size": 16, "shared_stacks": False}),
    "mos_tied": ("mos", {"softmaxes": 3}),
    "lconv": ("lconv", {"taps": 7}),
    "dconv": ("dconv", {"taps": 7}),
}
# One shape for each architecture, as small as a fixture's.
KNOBS = {architecture: knobs for architecture, knobs in reversed(ARCHITECTURE_OF.values())} | {
    "performer": {},
    "mixer": {"positions": 16},
    "funnel": {"encoder_layers": 4, "funnel_blocks": 2},
    "switch": {"experts": 2},  # in evaluation each has room for all tokens, so that none depends on other rows
    "universal": {"recurrence": 2, "recurrence_type": "act"},
}


def load(name):
    return np.load(Path(FOLDER) / name)


def shape_of_oracle(layers=2, **fields):
    from scalecli.shape import Shape

    plain = Shape(layers, layers, d_model=32, d_ff=64, d_kv=8, heads=4, vocabulary=128)
    return dataclasses.replace(plain, **fields)


def small_spec(architecture, **fields):
    """The spec of an architecture at a small shape."""
    from scalecli.architectures import build_spec

    return build_spec(architecture, shape_of_oracle(**{**KNOBS[architecture], **fields}))


def spec_of(name):
    """The spec of a fixture: an architecture, or one of two other combinations of feed-forward and logits."""
    from scalecli.architectures import build_spec

    name = name.removesuffix("_packed")
    architecture, knobs = ARCHITECTURE_OF[name]
    spec = build_spec(architecture, shape_of_oracle(**knobs))
    if name == "geglu_tied":
        return dataclasses.replace(spec, logits=spec_of("vanilla_t5v1").logits)
    if name == "relu_untied":
        return dataclasses.replace(spec, logits=spec_of("t5v11_geglu_untied").logits)
    return spec


def stacked(arrays, prefix, spec):
    """The fixture's arrays of one kind (`var:` or `grad:`) by the paths of `spec.weights()`, layers stacked."""
    from scalecli.interchange.mesh_tensorflow.checkpoint import weights
    from scalecli.interchange.mesh_tensorflow.names import variable_names

    variables = {name for layers in variable_names(spec).values() for parts in layers for name in parts}
    assert {key.removeprefix(prefix) for key in arrays if key.startswith(prefix)} == variables
    return weights(spec, lambda name: arrays[f"{prefix}{name}"])
