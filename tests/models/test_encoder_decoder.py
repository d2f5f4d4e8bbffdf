"""The model against the papers' original code, and against itself."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from scalecli import specs
from scalecli.architectures import TEXT_ARCHITECTURES, build_spec
from scalecli.models.compiled import compiled
from scalecli.models.encoder_decoder import EncoderDecoder, token_losses
from scalecli.shape import presets
from tests import oracle
from tests.models.built import assert_built_as
from tests.xla import WAYS, use_xla

FIXTURES = tuple(oracle.ARCHITECTURE_OF)
PACKED = ("vanilla_t5v1_packed", "evolved_packed")
SEED = 0  # training, in which experts take fewer tokens; nothing is drawn where dropout and jitter are off


def model_with(spec, weights, **options):
    model = EncoderDecoder(spec, **options)
    for path, variable in model.weights_by_path().items():
        variable.assign(weights[path])
    return model


def computed(model, forward, xla):
    """What `forward()` returns, (loss, logits), and the loss's gradients by path: one program, on either backend."""
    by_path = model.weights_by_path()
    variables = list(by_path.values())
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=xla, autograph=False)
        def compute():
            with tf.GradientTape() as tape:
                loss, logits = forward()
            gradients = tape.gradient(loss, [variable.value for variable in variables])
            return loss, logits, [tf.convert_to_tensor(each) for each in gradients]

        loss, logits, gradients = compute()
    else:
        import jax

        def stateless(values):
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return forward()

        program = jax.jit(jax.value_and_grad(stateless, has_aux=True))
        (loss, logits), gradients = program([variable.value for variable in variables])
    return float(loss), np.asarray(logits), dict(zip(by_path, map(np.asarray, gradients), strict=True))


def without_jitter(spec):
    """The spec with experts that are routed without noise."""

    def changed(stack):
        return replace(stack, repeats=tuple(replace(repeat, block=block_of(repeat.block)) for repeat in stack.repeats))

    def block_of(block):
        return replace(block, sublayers=tuple(map(sublayer_of, block.sublayers)))

    def sublayer_of(each):
        is_experts = isinstance(getattr(each, "layer", None), specs.MixtureOfExperts)
        return replace(each, layer=replace(each.layer, jitter=0.0)) if is_experts else each

    return replace(spec, encoder=changed(spec.encoder), decoder=changed(spec.decoder))


# TensorFlow's own kernels take other ways in loops, in reading weights and in convolutions; the rest is the same code.
BOTH_WAYS = ("vanilla_t5v1", "evolved", "switch", "ut_act", "albert_encdec_shared", "dconv")
CASES = [(name, xla) for name in FIXTURES for xla in WAYS if xla or name in BOTH_WAYS]


@oracle.needs_oracle
@pytest.mark.parametrize(("name", "xla"), CASES)
def test_logits_losses_and_gradients_are_the_original_codes(name, xla, monkeypatch):
    use_xla(monkeypatch, xla)
    arrays = oracle.load(f"{name}.npz")
    spec = without_jitter(oracle.spec_of(name))
    model = model_with(spec, oracle.stacked(arrays, "var:", spec))
    batch = {"inputs": arrays["inputs"], "targets": arrays["targets"]}
    real = arrays["targets"] > 0

    def forward():
        output = model.outputs(batch, SEED)
        losses = token_losses(output.logits, batch["targets"], 1e-4)
        # The original adds the auxiliary loss to that of each token, and its mean takes in the padding, as zeros.
        losses = (losses + output.auxiliary_loss) * keras.ops.cast(real, "float32")
        return keras.ops.mean(losses), output.logits

    def check(logits, prefix):
        np.testing.assert_allclose(logits[real], arrays[f"{prefix}logits"][real], atol=1e-4)
        for z_loss, key in ((0.0, "token_loss_z0"), (1e-4, "token_loss_z1e4")):
            losses = np.asarray(token_losses(logits, batch["targets"], z_loss))
            np.testing.assert_allclose(losses[real], arrays[f"{prefix}{key}"][real], atol=1e-4)

    loss, logits, found = computed(model, forward, xla)
    np.testing.assert_allclose(loss, arrays["loss_train"], atol=1e-4)
    in_training = "train_logits" in arrays  # where it is another function than in evaluation
    check(logits, "train_" if in_training else "")
    if in_training:
        check(np.asarray(compiled(model, model)(batch)), "")
    expected = oracle.stacked(arrays, "grad:", spec)
    for path, gradient in expected.items():
        np.testing.assert_allclose(found[path], gradient, atol=1e-4, err_msg=path)
    assert np.median([np.abs(gradient).max() for gradient in expected.values()]) > 1e-2  # or 1e-4 would mean nothing


@oracle.needs_oracle
@pytest.mark.parametrize("name", PACKED)
def test_packed_examples_are_the_original_codes(name):
    arrays = oracle.load(f"{name}.npz")
    spec = oracle.spec_of(name)
    model = model_with(spec, oracle.stacked(arrays, "var:", spec))
    batch = {"inputs": arrays["inputs"], "targets": arrays["targets"]}
    batch |= {f"{side}_segments": arrays[f"{side}_segmentation"] for side in batch}
    real = arrays["targets"] > 0
    np.testing.assert_allclose(np.asarray(compiled(model, model)(batch))[real], arrays["logits"][real], atol=1e-4)


@pytest.mark.parametrize("architecture", TEXT_ARCHITECTURES)
def test_built_weights_are_the_specs(architecture):
    spec = oracle.small_spec(architecture)
    model = EncoderDecoder(spec)
    assert_built_as(spec, model)


SIZES = [(architecture, size) for architecture in TEXT_ARCHITECTURES for size in presets(architecture)]


@pytest.mark.parametrize(("architecture", "size"), SIZES)
def test_every_size_is_built_as_its_spec_says(architecture, size):
    spec = build_spec(architecture, presets(architecture)[size])
    with keras.StatelessScope(initialize_variables=False):  # nothing is allocated: some of them have billions
        model = EncoderDecoder(spec)
    assert model.count_params() == spec.parameters()
