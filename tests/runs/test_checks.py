"""The checks for authors of architectures: the papers' architectures and the examples pass, and faults are named."""

import functools
import re
from collections import Counter
from dataclasses import dataclass

import pytest
from keras import ops

from scalecli.architectures import ARCHITECTURES, build_spec
from scalecli.architectures.skeleton import decoder_block, encoder_block, encoder_decoder, stack
from scalecli.errors import ConfigurationError
from scalecli.models.encoder_decoder import EncoderDecoder
from scalecli.models.layers import SpecLayer
from scalecli.runs.checks.architecture import check_architecture
from scalecli.shape import presets
from scalecli.specs import LayerSpec, Repeat, Weight
from scalecli.specs.base import dense

WEIGHTS = "the built weights are the spec's"
FLOPS = "FLOPs are those of XLA's program"
GRADIENTS = "gradients reach every weight"
FUTURE = "the decoder sees no later target"
PADDING = "padding changes nothing"
PACKING = "packed examples don't see each other"
DECODING = "cached decoding gives the logits of teacher forcing"


def failures(build, shape):
    return {check.name: check.failure for check in check_architecture(build, shape) if check.failure}


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_the_papers_architectures_pass(architecture):
    shape = next(iter(presets(architecture).values()))
    checks = list(check_architecture(functools.partial(build_spec, architecture), shape))
    assert [check.failure for check in checks if check.failure] == []
    names = [WEIGHTS, FLOPS, GRADIENTS, FUTURE, PADDING, PACKING, DECODING]
    assert [check.name for check in checks] == names[: 3 if architecture == "vit" else 7]
    refused = any(check.skipped for check in checks)
    assert refused == (architecture in ("evolved", "funnel", "lconv", "dconv", "mixer", "performer"))


@dataclass(frozen=True)
class Mixing(LayerSpec):
    """x W, and a fault."""

    d_model: int
    fault: str = ""

    def weights(self):
        more = {"unused": Weight((self.d_model,), 1.0)} if self.fault == "unused" else {}
        return {"kernel": dense(self.d_model, self.d_model), **more}

    def multiply_adds(self, queries, memory):
        return Counter({"token mixing": (3 if self.fault == "flops" else 1) * queries * self.d_model**2})

    @classmethod
    def keras_layer(cls):
        return MixingLayer


class MixingLayer(SpecLayer):
    def __init__(self, spec, *arguments, **options):
        super().__init__(spec, *arguments, **options)
        if spec.fault == "weights":
            self.add_weight(name="hidden", shape=(3,))

    def call(self, weights, x, context, dropout):
        fault = self.spec.fault
        if fault == "raises":
            raise ValueError("lengths differ\nand more")
        if fault == "future" and x.shape[1] > 1:  # the position after this one, too
            x = x + ops.pad(x, ((0, 0), (0, 1), (0, 0)))[:, 1:]
        if fault == "padding":  # the mean takes in what is padding, as zeros
            x = x + ops.mean(x, axis=1, keepdims=True)
        if fault in ("packing", "decoding"):  # the sum of the positions up to this one
            x = x + ops.cumsum(x, axis=1)
        return ops.matmul(x, weights["kernel"])

    def initial_state(self, batch, length, dtype):
        return {"sum": ops.zeros((batch, 1, self.spec.d_model), dtype)} if self.spec.fault == "packing" else {}

    def step(self, weights, x, constants, state, context):
        if self.spec.fault != "packing":
            return super().step(weights, x, constants, state, context)
        total = state["sum"] + x
        return ops.matmul(x + total, weights["kernel"]), {"sum": total}


def test_a_decoder_without_position_biases_passes():
    def build(shape):
        repeat = Repeat(decoder_block(shape), shape.decoder_layers)
        return encoder_decoder("plain", shape, decoder=stack(shape, repeat, bidirectional=False, bias_heads=()))

    assert failures(build, presets("transformer")["tiny"]) == {}


@dataclass(frozen=True)
class Stepless(Mixing):
    @classmethod
    def keras_layer(cls):
        class SteplessLayer(SpecLayer):
            call = MixingLayer.call

        return SteplessLayer


def test_a_decoder_s_layer_that_cannot_decode_is_refused_before_training():
    shape = presets("transformer")["tiny"]
    repeat = Repeat(decoder_block(shape, mixing=Stepless(shape.d_model)), 1)
    decoder = stack(shape, repeat, bidirectional=False, bias_heads=())
    with pytest.raises(ConfigurationError, match=r"^SteplessLayer, a layer of the decoder, has no step\(\)"):
        EncoderDecoder(encoder_decoder("stepless", shape, decoder=decoder))
    repeat = Repeat(encoder_block(shape, mixing=Stepless(shape.d_model)), 1)
    encoder = stack(shape, repeat, bidirectional=True, bias_heads=())
    EncoderDecoder(encoder_decoder("stepless", shape, encoder=encoder))  # encoders don't decode


def mixed(fault, in_encoder, shape):
    """The Transformer with `Mixing` in the place of one stack's self-attention."""
    mixing = Mixing(shape.d_model, fault)
    if in_encoder:
        repeat = Repeat(encoder_block(shape, mixing=mixing), shape.encoder_layers)
        return encoder_decoder("mixed", shape, encoder=stack(shape, repeat, bidirectional=True, bias_heads=()))
    repeat = Repeat(decoder_block(shape, mixing=mixing), shape.decoder_layers)
    return encoder_decoder("mixed", shape, decoder=stack(shape, repeat, bidirectional=False, bias_heads=()))


FAULTS = {  # fault, in the encoder: the checks that fail, and what the first of them says
    ("", False): ([], ""),
    ("weights", False): ([WEIGHTS], r"hidden \[3\] is a Keras layer's, and its spec doesn't list it; list it in"),
    ("flops", False): ([FLOPS], r"the spec says [\d,]+ for a forward pass and the program has [\d,]+ \(\+\d"),
    ("unused", False): ([GRADIENTS], "decoder/0/mixing/unused of layer 0 gets no gradient; look whether the layer"),
    ("future", False): (
        [FUTURE, PACKING, DECODING],
        "of target 0 change with the target at 0, which is not read",
    ),
    ("padding", True): ([PADDING, PACKING], "change with the padding behind the inputs; look whether the encoder's"),
    ("packing", False): ([PACKING], "packed example 2 changes with the tokens of example 1; mask what lies"),
    ("decoding", False): ([PACKING, DECODING], "packed example 2 changes with the tokens of example 1"),
    ("raises", False): ([FLOPS], r"test_checks.py:\d+: ValueError: lengths differ$"),
}


@pytest.mark.parametrize(("fault", "in_encoder"), FAULTS)
def test_faults_are_named(fault, in_encoder):
    names, line = FAULTS[fault, in_encoder]
    failed = failures(functools.partial(mixed, fault, in_encoder), presets("transformer")["tiny"])
    if fault == "raises":
        assert list(failed) == [FLOPS, GRADIENTS, FUTURE, PADDING, PACKING, DECODING]  # all that run the model
    else:
        assert list(failed) == names
    for name in names[:1]:
        assert re.search(line, failed[name])
        assert "\n" not in failed[name]


def test_flops_that_are_a_few_percent_off_are_noticed():
    failed = failures(functools.partial(mixed, "flops", False), presets("transformer")["tiny"])
    (percent,) = re.findall(r"\(\+([\d.]+)%\)", failed[FLOPS])
    assert 2 < float(percent) < 10
