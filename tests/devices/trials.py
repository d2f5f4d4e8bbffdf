"""The same steps on whatever devices, for tests that compare them."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from scalecli.architectures import build_image_spec
from scalecli.models.encoder_decoder import EncoderDecoder
from scalecli.models.trainable import Losses
from scalecli.models.vision import VisionTransformer
from scalecli.shape import Shape
from tests import oracle
from tests.steps import steps_of

STEPS = 2
# Biases of keys have gradients of rounding errors alone, of which a first step still has the full size.
SMALL_RATE = 1e-5


@dataclass
class Trial:
    """What came out of two steps: figures, weights and the optimizer's state by path."""

    figures: object
    weights: dict
    state: dict
    optimizer: object
    variables: dict


def text_model(dropout):
    return EncoderDecoder(oracle.small_spec("transformer", layers=1), dropout_rate=dropout)


def vision_model(dropout):
    """With a head for five classes, a number that no devices divide."""
    shape = Shape(1, d_model=16, d_ff=24, d_kv=6, heads=4, vocabulary=0, image_size=6, patch_size=2, classes=5)
    return VisionTransformer(build_image_spec("vit", shape), dropout_rate=dropout)


class BigramModel:
    """A matrix of logits of the target beside an input token, and a bias: where it does not matter what is trained.

    It is traced in a small part of the time that a Transformer takes.
    """

    def __init__(self, dropout=0.0):
        self.matrix = keras.Variable(keras.initializers.RandomNormal(), (128, 128))
        self.bias = keras.Variable("zeros", (128,))
        self.variables = self.trainable_variables = [self.matrix, self.bias]

    def weights_by_path(self):
        return {"matrix": self.matrix, "bias": self.bias}

    def target_mask(self, batch):
        return ops.cast(batch["targets"] > 0, "float32")

    def losses(self, batch, dropout_seed=None):
        targets = batch["targets"]
        logits = ops.take(self.matrix, batch["inputs"][:, : targets.shape[1]], axis=0) + self.bias
        cross_entropy = keras.losses.sparse_categorical_crossentropy(targets, logits, from_logits=True)
        return Losses(cross_entropy, ops.logsumexp(logits, axis=-1), ops.zeros(()), {})


def trial_on(devices, batches, dropout=0.0, rate=0.01, make=text_model, **options):
    """Two steps from the same first weights; `batches(devices)` iterates over them."""
    keras.utils.set_random_seed(0)
    model = devices.new_model(lambda: make(dropout))
    steps, optimizer = steps_of(model, rate, devices=devices, **options)
    figures = steps.run(batches(devices), STEPS)
    weights = model.weights_by_path()
    state = devices.numpy(optimizer.state_by_path(weights))
    return Trial(figures, devices.numpy(weights), state, optimizer, weights)


def assert_same(found, expected):
    """Losses, gradients (by their norm and by the optimizer's statistics of them) and weights, to rounding."""
    np.testing.assert_allclose(found.figures.losses, expected.figures.losses, rtol=1e-5)
    np.testing.assert_allclose(found.figures.norms, expected.figures.norms, rtol=1e-5)
    for kind in ("state", "weights"):
        values, others = getattr(expected, kind), getattr(found, kind)
        assert values.keys() == others.keys() != set()
        for path, value in values.items():
            # Squares of gradients are small, and of some that should be zero they are squares of rounding errors.
            atol = 1e-5 * np.abs(value).max() + 1e-12 if kind == "state" else 1e-5
            np.testing.assert_allclose(others[path], value, rtol=1e-3, atol=atol, err_msg=f"{kind} {path}")


def seeds_of(monkeypatch, devices, batches, **options):
    """The seeds that replicas give their models for dropout in a trial, one for each replica, step and part."""
    import tensorflow as tf

    from scalecli.training.steps import tensorflow as tensorflow_steps

    seeds, real = [], tensorflow_steps.part_loss

    def noted(model, batch, seed, **rest):
        tf.py_function(lambda number: seeds.append(int(number)), [seed], [])
        return real(model, batch, seed, **rest)

    monkeypatch.setattr(tensorflow_steps, "part_loss", noted)
    trial_on(devices, batches, make=BigramModel, **options)
    return seeds
