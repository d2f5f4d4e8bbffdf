import re

import pytest

from scalecli.architectures import TEXT_ARCHITECTURES, build_spec
from scalecli.errors import ConfigurationError
from scalecli.interchange.mesh_tensorflow.names import variable_names
from scalecli.shape import parse_name
from tests import oracle

KNOWN = [name for name in TEXT_ARCHITECTURES if name != "mixer"]


def flat(names):
    return [name for layers in names.values() for parts in layers for name in parts]


@pytest.mark.parametrize("architecture", KNOWN)
def test_every_weight_has_variables_and_no_two_the_same(architecture):
    spec = oracle.small_spec(architecture)
    names = variable_names(spec)
    assert list(names) == list(spec.weights())
    assert len(set(flat(names))) == len(flat(names))
    for path, (copies, weight) in spec.weights().items():
        assert len(names[path]) == max(copies, 1)
        assert {len(parts) for parts in names[path]} <= {1, weight.shape[0]}


@oracle.needs_oracle
@pytest.mark.parametrize("name", oracle.ARCHITECTURE_OF)
def test_the_variables_are_the_originals(name):
    originals = {key.removeprefix("var:") for key in oracle.load(f"{name}.npz") if key.startswith("var:")}
    assert set(flat(variable_names(oracle.spec_of(name)))) == originals


@pytest.mark.parametrize(
    ("architecture", "name", "path", "expected"),
    [
        (
            "transformer",
            "tiny-el3-dl2",
            "decoder/0/cross_attention/query",
            [(f"decoder/block_{layer:03d}/layer_001/EncDecAttention/q",) for layer in range(2)],
        ),
        (
            "transformer",
            "tiny-skv",
            "encoder/0/self_attention/key_value",
            "encoder/block_000/layer_000/SelfAttention/kv",
        ),
        ("transformer", "tiny-ss", "decoder/final_norm/scale", "decoder/rms_norm/scale"),
        ("transformer", "tiny-untied", "logits/kernel", "decoder/logits/kernel"),
        ("glu", "tiny", "encoder/0/feed_forward/gate", "encoder/block_000/layer_001/DenseReluDense/wi_0/kernel"),
        (
            "funnel",
            "tiny-el6-fb2",
            "encoder/2/feed_forward/output",
            [
                (f"encoder/funnel_block_001/param_idx_{layer:03d}/submodule_001/DenseReluDense/wo/kernel",)
                for layer in (1, 2)
            ],
        ),
        (
            "universal",
            "small-nr2-highway",
            "encoder/recurrence/gate_bias",
            [("encoder/dense_1/bias", "encoder/dense_3/bias")],
        ),
    ],
)
def test_names(architecture, name, path, expected):
    names = variable_names(build_spec(architecture, parse_name(name, architecture)))[path]
    assert (names[0][0] if isinstance(expected, str) else names) == expected


def test_layers_without_known_names_are_refused():
    with pytest.raises(ConfigurationError, match=re.escape("the weights of TokenMixing is not known")):
        variable_names(oracle.small_spec("mixer"))
