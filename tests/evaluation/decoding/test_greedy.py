"""Cached greedy decoding against teacher forcing and the original code."""

import keras
import numpy as np
import pytest

from scalecli.architectures import TEXT_ARCHITECTURES
from scalecli.evaluation.decoding.greedy import greedy_decoder
from scalecli.models.compiled import compiled
from scalecli.models.encoder_decoder import EncoderDecoder
from tests import oracle
from tests.models.test_encoder_decoder import model_with
from tests.xla import either_way, use_xla


@either_way
@pytest.mark.parametrize("architecture", TEXT_ARCHITECTURES)
def test_cached_decoding_is_teacher_forcing(architecture, xla, monkeypatch):
    use_xla(monkeypatch, xla)
    keras.utils.set_random_seed(1)
    model = EncoderDecoder(oracle.small_spec(architecture))
    random = np.random.default_rng(0)
    for variable in model.variables:  # norms and tables away from their symmetric start
        variable.assign(variable + 0.6 * random.normal(size=variable.shape).astype("float32"))
    inputs = random.integers(2, 128, (4, 16)).astype("int32")
    inputs[1, 9:] = 0
    inputs[3] = 0
    output = greedy_decoder(model, 12)(inputs)
    assert (output[3] == 0).all()
    # Token by token: each is the likeliest one given those before it, in one pass without caches. With segments a
    # generated padding id is a token like any other, as it is in decoding.
    segments = {"inputs_segments": (inputs > 0).astype("int32"), "targets_segments": np.ones_like(output)}
    logits = np.array(compiled(model, model)({"inputs": inputs, "targets": output, **segments}))
    for row in range(3):
        ended = np.flatnonzero(output[row] == 1)
        length = ended[0] + 1 if len(ended) else 12
        np.testing.assert_array_equal(output[row, :length], logits[row, :length].argmax(-1))
        assert (output[row, length:] == 0).all()


@pytest.mark.parametrize("architecture", TEXT_ARCHITECTURES)
def test_cached_logits_are_those_of_the_whole_sequence(architecture):
    keras.utils.set_random_seed(1)
    model = EncoderDecoder(oracle.small_spec(architecture))
    random = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(variable + 0.3 * random.normal(size=variable.shape).astype("float32"))
    inputs, targets = (random.integers(2, 128, (2, length)).astype("int32") for length in (8, 6))
    whole = np.array(model({"inputs": inputs, "targets": targets}))
    memory, state = model.start_decoding(keras.ops.convert_to_tensor(inputs), 6)
    tokens = np.pad(targets, ((0, 0), (1, 0)))
    for position in range(6):
        logits, state = model.decode_token(memory, state, keras.ops.convert_to_tensor(tokens[:, position]), position)
        np.testing.assert_allclose(np.array(logits), whole[:, position], rtol=1e-4, atol=1e-4)
    assert whole.std(axis=1).max() > 0.1  # the logits do depend on what was decoded


@oracle.needs_oracle
def test_greedy_tokens_are_the_original_codes():
    arrays = oracle.load("vanilla_t5v1.npz")
    spec = oracle.spec_of("vanilla_t5v1")
    model = model_with(spec, oracle.stacked(arrays, "var:", spec))
    output = greedy_decoder(model, 12)(arrays["inputs"])
    expected = arrays["greedy_decode_len12"]
    for row, tokens in zip(output, expected, strict=True):
        ended = np.flatnonzero(tokens == 1)
        length = ended[0] + 1 if len(ended) else 12
        np.testing.assert_array_equal(row[:length], tokens[:length])
