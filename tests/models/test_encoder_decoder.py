"""The model against the papers' original code, and against itself."""

import keras
import numpy as np
import pytest

from scalecli.architectures import ARCHITECTURES, build_spec
from scalecli.models.compiled import compiled
from scalecli.models.encoder_decoder import EncoderDecoder, token_losses
from tests import oracle
from tests.xla import either_way, use_xla

FIXTURES = ("vanilla_t5v1", "t5v11_geglu_untied", "geglu_tied", "relu_untied")


def model_with(spec, weights, **options):
    model = EncoderDecoder(spec, **options)
    for path, variable in model.weights_by_path().items():
        variable.assign(weights[path])
    return model


def gradients_of(model, batch, loss_of_logits, xla):
    """Gradients by path, on whichever backend runs."""
    by_path = model.weights_by_path()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=xla)
        def compute():
            with tf.GradientTape() as tape:
                loss = loss_of_logits(model(batch))
            return [tf.convert_to_tensor(each) for each in tape.gradient(loss, [v.value for v in by_path.values()])]

        values = compute()
    else:
        import jax

        trainable = [variable.value for variable in model.trainable_variables]

        def loss(trainable):
            return loss_of_logits(model.stateless_call(trainable, [], batch)[0])

        computed = jax.jit(jax.grad(loss))(trainable)
        order = {id(variable): value for variable, value in zip(model.trainable_variables, computed, strict=True)}
        values = [order[id(variable)] for variable in by_path.values()]
    return dict(zip(by_path, map(np.asarray, values), strict=True))


@oracle.needs_oracle
@either_way
@pytest.mark.parametrize("name", FIXTURES)
def test_logits_losses_and_gradients_are_the_original_codes(name, xla, monkeypatch):
    use_xla(monkeypatch, xla)
    arrays = oracle.load(f"{name}.npz")
    spec = oracle.spec_of(name)
    model = model_with(spec, oracle.stacked(arrays, "var:", spec))
    batch = {"inputs": arrays["inputs"], "targets": arrays["targets"]}
    real = arrays["targets"] > 0
    logits = compiled(model, model)(batch)
    np.testing.assert_allclose(np.asarray(logits)[real], arrays["logits"][real], atol=1e-4)
    for z_loss, key in ((0.0, "token_loss_z0"), (1e-4, "token_loss_z1e4")):
        losses = np.asarray(token_losses(logits, batch["targets"], z_loss))
        np.testing.assert_allclose(losses[real], arrays[key][real], atol=1e-4)

    def loss_train(logits):
        losses = token_losses(logits, batch["targets"], 1e-4)
        return keras.ops.sum(losses * keras.ops.cast(real, "float32")) / real.size

    expected = oracle.stacked(arrays, "grad:", spec)
    found = gradients_of(model, batch, loss_train, xla)
    for path, gradient in expected.items():
        np.testing.assert_allclose(found[path], gradient, atol=1e-4, err_msg=path)
        assert np.abs(gradient).max() > 1e-3  # so that the tolerance means something


@oracle.needs_oracle
def test_packed_examples_are_the_original_codes():
    arrays = oracle.load("vanilla_t5v1_packed.npz")
    spec = oracle.spec_of("vanilla_t5v1_packed")
    model = model_with(spec, oracle.stacked(arrays, "var:", spec))
    batch = {"inputs": arrays["inputs"], "targets": arrays["targets"]}
    batch |= {f"{side}_segments": arrays[f"{side}_segmentation"] for side in batch}
    real = arrays["targets"] > 0
    np.testing.assert_allclose(np.asarray(compiled(model, model)(batch))[real], arrays["logits"][real], atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_built_weights_are_the_specs(architecture):
    spec = build_spec(architecture, oracle.shape_of_oracle())
    model = EncoderDecoder(spec)
    assert model.count_params() == spec.parameters()
    assert len(model.weights_by_path()) == len(model.variables)
    for path, (layers, weight) in spec.weights().items():
        variable = model.weights_by_path()[path]
        assert tuple(variable.shape) == ((layers,) if layers else ()) + weight.shape
        assert variable.stacked == (layers > 0)
