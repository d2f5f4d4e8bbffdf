"""Beam search against an uncached reference in NumPy, and against teacher forcing."""

import keras
import numpy as np
import pytest

from scalecli.architectures import TEXT_ARCHITECTURES
from scalecli.evaluation.decoding.beam_search import beam_decoder
from scalecli.models.compiled import compiled
from scalecli.models.encoder_decoder import EncoderDecoder
from tests import oracle
from tests.xla import either_way, use_xla

BEAMS, LENGTH, ALPHA = 3, 7, 0.6


def model_of(architecture):
    keras.utils.set_random_seed(1)
    model = EncoderDecoder(oracle.small_spec(architecture, vocabulary=16))
    random = np.random.default_rng(5)
    for variable in model.variables:
        variable.assign(variable * 0.5 + 0.3 * random.normal(size=variable.shape).astype("float32"))
    return model


def log_probabilities(call, inputs, hypotheses):
    """Log-probabilities of the next token after each hypothesis, [hypotheses, vocabulary], by teacher forcing."""
    targets = np.zeros((len(hypotheses), LENGTH), "int32")
    for row, tokens in enumerate(hypotheses):
        targets[row, : len(tokens)] = tokens
    targets[:, len(hypotheses[0]) :] = 2  # any token: a logit sees only what is before it
    inputs = np.repeat(inputs[None], len(hypotheses), 0)
    # With segments a generated padding id is a token like any other, as it is in decoding.
    segments = {"inputs_segments": (inputs > 0).astype("int32"), "targets_segments": np.ones_like(targets)}
    logits = np.array(call({"inputs": inputs, "targets": targets, **segments}))
    logits = logits[:, len(hypotheses[0])].astype("float64")
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def reference(call, inputs):
    """The same search without caches: the best hypothesis that ended, else the best one, and its score."""
    alive, ended = [((), 0.0)], []
    for place in range(LENGTH):
        chances = log_probabilities(call, inputs, [tokens for tokens, _ in alive] * (BEAMS // len(alive)))
        extended = [
            ((*tokens, token), score + chances[row, token])
            for row, (tokens, score) in enumerate(alive)
            for token in range(chances.shape[1])
        ]
        extended = sorted(extended, key=lambda each: -each[1])[: 2 * BEAMS]
        ended += [(tokens, score / ((6 + place) / 6) ** ALPHA) for tokens, score in extended if tokens[-1] == 1]
        alive = [each for each in extended if each[0][-1] != 1][:BEAMS]
    longest = ((5 + LENGTH) / 6) ** ALPHA
    return max(ended, key=lambda each: each[1]) if ended else (alive[0][0], alive[0][1] / longest)


@pytest.mark.parametrize("architecture", TEXT_ARCHITECTURES)
def test_cached_beam_search_is_the_uncached_one(architecture):
    model = model_of(architecture)
    inputs = np.random.default_rng(0).integers(2, 16, (4, 8)).astype("int32")
    inputs[1, 5:] = 0
    inputs[3] = 0
    tokens, scores = beam_decoder(model, LENGTH, BEAMS, ALPHA)(inputs)
    assert (tokens[3] == 0).all()
    call = compiled(model, model)
    for row in range(3):
        expected, score = reference(call, inputs[row])
        assert tuple(tokens[row][: len(expected)]) == expected
        assert (tokens[row][len(expected) :] == 0).all()
        np.testing.assert_allclose(scores[row], score, rtol=1e-4)


@either_way
def test_more_beams_find_better_hypotheses(xla, monkeypatch):
    use_xla(monkeypatch, xla)
    model = model_of("transformer")
    inputs = np.random.default_rng(0).integers(2, 16, (16, 8)).astype("int32")
    few, many = (beam_decoder(model, LENGTH, beams, alpha=0.0)(inputs)[1] for beams in (1, 8))
    assert (many >= few - 1e-5).all()
    assert (many > few + 1e-3).any()
