"""The vision transformer: the spec's weights, an image's way through it, training both ways and in both precisions."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

from scalecli import costs
from scalecli.architectures import build_image_spec
from scalecli.models.building import new_model
from scalecli.models.compiled import compiled
from scalecli.shape import Shape, apply_operators, presets
from scalecli.specs.vision import PADDING_LABEL
from tests.models.built import assert_built_as
from tests.models.test_rematerialise import SEED
from tests.xla import either_way, use_xla

SHAPE = Shape(2, d_model=16, d_ff=24, d_kv=6, heads=3, vocabulary=0, image_size=6, patch_size=2, classes=5)


def model_of(shape=SHAPE, **options):
    """A model with biases and norms away from where they start."""
    keras.utils.set_random_seed(0)
    model = new_model(build_image_spec("vit", shape), **options)
    random = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(variable + 0.2 * random.normal(size=variable.shape).astype("float32"))
    return model


def batch_of(rows=4, size=6, classes=5):
    random = np.random.default_rng(1)
    images = random.uniform(-1, 1, (rows, size, size, 3)).astype("float32")
    return {"images": images, "labels": random.integers(0, classes, rows).astype("int32")}


OPERATORS = {
    **{"plain": {}, "transformers": {"nu": "transformers"}, "shared": {"sh": True}, "tied": {"skv": True}},
    "narrow": {"dm": 10, "kv": 3, "nh": 2, "ff": 7, "nl": 3},
    "one patch": {"ps": 6},
    "pixels": {"ps": 1, "nc": 2},
}


@pytest.mark.parametrize("operators", OPERATORS.values(), ids=OPERATORS)
def test_built_weights_are_the_specs_at_any_operator(operators):
    spec = build_image_spec("vit", apply_operators(SHAPE, operators, "vit"))
    model = new_model(spec)
    assert_built_as(spec, model)
    logits = np.asarray(compiled(model, model)(batch_of(classes=spec.logits.classes)))
    assert logits.shape == (4, spec.logits.classes) and np.isfinite(logits).all()


@pytest.mark.parametrize("size", presets("vit"))
def test_every_size_is_built_as_its_spec_says(size):
    spec = build_image_spec("vit", presets("vit")[size])
    with keras.StatelessScope(initialize_variables=False):
        assert new_model(spec).count_params() == spec.parameters()


def layer_norm(x, weights, path, epsilon=1e-6):
    standard = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)
    return standard * weights[f"{path}/scale"] + weights[f"{path}/bias"]


def gelu(x):
    """The tanh approximation (Hendrycks and Gimpel 2016)."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def reference(model, images):
    """ViT's equations 1 to 4 on one image [size, size, 3], in NumPy: the class token's features, and the logits."""
    shape, weights = SHAPE, {path: np.asarray(each) for path, each in model.weights_by_path().items()}
    side = shape.patch_size
    corners = [(row, column) for row in range(0, 6, side) for column in range(0, 6, side)]
    patches = [images[row : row + side, column : column + side].reshape(-1) for row, column in corners]
    embedded = np.stack(patches) @ weights["embedding/kernel"] + weights["embedding/bias"]
    x = np.concatenate([weights["embedding/class_token"][None], embedded]) + weights["embedding/positions"]
    for layer in range(shape.encoder_layers):
        own = {path[len("encoder/0/") :]: each[layer] for path, each in weights.items() if "/0/" in path}
        normed = layer_norm(x, own, "self_attention/norm")

        def heads(name, normed=normed, own=own):
            projected = normed @ own[f"self_attention/{name}"] + own[f"self_attention/{name}_bias"]
            return projected.reshape(-1, shape.heads, shape.d_kv).transpose(1, 0, 2)

        scores = np.exp(heads("query") @ heads("key").transpose(0, 2, 1) / np.sqrt(shape.d_kv))
        mixed = (scores / scores.sum(-1, keepdims=True) @ heads("value")).transpose(1, 0, 2).reshape(len(x), -1)
        x = x + mixed @ own["self_attention/output"] + own["self_attention/output_bias"]
        normed = layer_norm(x, own, "feed_forward/norm")
        hidden = gelu(normed @ own["feed_forward/input"] + own["feed_forward/input_bias"])
        x = x + hidden @ own["feed_forward/output"] + own["feed_forward/output_bias"]
    features = layer_norm(x, weights, "encoder/final_norm")[0]
    return features, features @ weights["logits/kernel"] + weights["logits/bias"]


@either_way
def test_logits_and_features_are_those_of_the_definition(xla, monkeypatch):
    use_xla(monkeypatch, xla)
    model, batch = model_of(), batch_of()
    logits, features = compiled(model, model)(batch), compiled(model, model.features)(batch["images"])
    for row, image in enumerate(batch["images"]):
        expected, of_head = reference(model, image)
        np.testing.assert_allclose(np.asarray(features)[row], expected, atol=1e-5)
        np.testing.assert_allclose(np.asarray(logits)[row], of_head, atol=1e-5)
    assert np.asarray(logits).std(axis=0).min() > 1e-2  # or all images would look alike


def test_losses_are_of_the_logits_and_filling_is_not_counted():
    model, batch = model_of(), batch_of()
    batch["labels"][3] = PADDING_LABEL
    found, logits = model.losses(batch), np.asarray(model(batch))
    log_normalizer = np.log(np.exp(logits).sum(-1))
    np.testing.assert_allclose(np.asarray(found.log_normalizer), log_normalizer, atol=1e-5)
    expected = log_normalizer[:3] - logits[range(3), batch["labels"][:3]]
    np.testing.assert_allclose(np.asarray(found.cross_entropy)[:3], expected, atol=1e-5)
    assert np.asarray(model.target_mask(batch)).tolist() == [1, 1, 1, 0]
    assert float(found.auxiliary_loss) == 0 and not found.reports


def gradients_of(model, batch, way):
    """Loss in training and its gradients by path."""
    by_path = model.weights_by_path()

    def loss_of():
        found = model.losses(batch, SEED)
        return ops.sum(found.cross_entropy * model.target_mask(batch))

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        def compute():
            with tf.GradientTape() as tape:
                loss = loss_of()
            return loss, tape.gradient(loss, [variable.value for variable in by_path.values()])

        loss, gradients = tf.function(compute, jit_compile=True)() if way == "xla" else compute()
    else:
        import jax

        def stateless(values):
            with keras.StatelessScope(state_mapping=list(zip(by_path.values(), values, strict=True))):
                return loss_of()

        loss, gradients = jax.jit(jax.value_and_grad(stateless))([variable.value for variable in by_path.values()])
    return float(loss), {path: np.array(each) for path, each in zip(by_path, gradients, strict=True)}


@either_way
def test_every_weight_has_a_gradient_rematerialised_or_not(xla, monkeypatch):
    use_xla(monkeypatch, xla)
    way = "xla" if xla else "eager"
    (loss, gradients), (expected, plain) = (
        gradients_of(model_of(dropout_rate=0.2, rematerialise=rematerialise), batch_of(), way)
        for rematerialise in (True, False)
    )
    assert loss == pytest.approx(expected, rel=1e-6)
    for path, gradient in plain.items():
        np.testing.assert_allclose(gradients[path], gradient, atol=1e-5 * np.abs(gradient).max() + 1e-6)
        # A bias of all keys moves all scores of a query alike, and the softmax not at all.
        assert path.endswith("/key_bias") or np.abs(gradient).max() > 1e-4, path


@either_way
def test_bfloat16_is_near_float32(xla, monkeypatch):
    use_xla(monkeypatch, xla)
    model, half = model_of(), model_of(precision="bfloat16")
    logits, of_half = (np.asarray(compiled(each, each)(batch_of())) for each in (model, half))
    assert of_half.dtype == "float32" and all(variable.dtype == "float32" for variable in half.variables)
    assert 0 < np.abs(of_half - logits).max() < 0.03 * np.abs(logits).max()


def test_transformers_numerics_are_another_function():
    plain, exact = model_of(), model_of(replace(SHAPE, numerics="transformers"))
    difference = np.abs(np.asarray(plain(batch_of())) - np.asarray(exact(batch_of()))).max()
    assert 1e-5 < difference < 1e-2


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX lets XLA's count be read")
def test_flops_are_those_that_xla_counts():
    import jax

    # XLA counts the body of a loop once.
    spec = build_image_spec("vit", replace(presets("vit")["vit-s"], encoder_layers=1, patch_size=16, classes=1000))
    model = new_model(spec)

    def forward(values, images):
        with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))):
            return model({"images": images})

    images = np.zeros((2, 224, 224, 3), "float32")
    lowered = jax.jit(forward).lower([variable.value for variable in model.variables], images)
    expected = sum(costs.flops(spec, costs.batch_of(spec, sequences=2), "forward").values())
    assert expected == pytest.approx(lowered.compile().cost_analysis()["flops"], rel=0.02)
