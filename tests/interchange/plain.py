"""Small plain T5s with random weights, and what this project's own model makes of them."""

from dataclasses import replace

import numpy as np

from scalecli.architectures import build_spec
from scalecli.interchange.imported import logits_field
from scalecli.interchange.weight_map import Exported
from scalecli.shape import Shape

ROWS = 256
# Architecture and whether the logits are tied: T5 v1 and v1.1, and the two other combinations.
FORMS = [("transformer", True), ("glu", False), ("glu", True), ("transformer", False)]


def shape_of(architecture, tied, **fields):
    """A shape whose every size is another, so that no matrix passes for its transpose."""
    sizes = {"encoder_layers": 2, "decoder_layers": 3, "d_model": 32, "d_ff": 48, "d_kv": 8, "heads": 3}
    return Shape(**{**sizes, "vocabulary": ROWS, "logits": logits_field(architecture, tied), **fields})


def _spread(path, shape):
    """The standard deviation of a weight; layers count for more than the embedding, or tokens would repeat."""
    if path.endswith("norm/scale") or path == "embedding/table":
        return 0.3
    if path.endswith("position_bias/table"):
        return 1.0
    return (3.6 if path.endswith("/output") else 1.2) * shape[0] ** -0.5


def exported(architecture, tied, precision="float32", vocabulary=None, seed=0, rows=ROWS, **fields):
    """A model to be written, with random weights at which every part matters."""
    shape = replace(shape_of(architecture, tied, **fields), vocabulary=rows)
    spec = build_spec(architecture, shape)
    random = np.random.default_rng(seed)
    weights = {}
    for path, (copies, weight) in spec.weights().items():
        drawn = random.normal(size=((copies,) if copies else ()) + weight.shape)
        weights[path] = (float(path.endswith("norm/scale")) + _spread(path, weight.shape) * drawn).astype("float32")
    weights["decoder/final_norm/scale"] *= 3
    return Exported(shape, spec, weights, dropout=0.1, precision=precision, vocabulary=vocabulary)


def model_of(spec, weights):
    """This project's model with given weights."""
    from scalecli.models.encoder_decoder import EncoderDecoder
    from scalecli.training.checkpoints import assign

    model = EncoderDecoder(spec)
    assign(model.weights_by_path(), weights, "the test")
    return model


def batch(seed=1):
    """Inputs [3, 11] and targets [3, 7], a row of each padded."""
    random = np.random.default_rng(seed)
    inputs, targets = (random.integers(2, ROWS, (3, length)).astype("int32") for length in (11, 7))
    inputs[1, 6:] = 0
    targets[2, 4:] = 0
    return {"inputs": inputs, "targets": targets}


def logits_and_greedy(spec, weights, data):
    """This project's logits [rows, targets, vocabulary], and its greedy tokens [rows, 10]."""
    from scalecli.evaluation.decoding.greedy import greedy_decoder

    model = model_of(spec, weights)
    return np.asarray(model(data)), greedy_decoder(model, 10)(data["inputs"])
