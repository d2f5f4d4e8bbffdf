"""What a logit may depend on: earlier targets and the inputs, never later targets or padding."""

import keras
import numpy as np
import pytest

from scalecli.architectures import TEXT_ARCHITECTURES
from scalecli.models.compiled import compiled
from scalecli.models.encoder_decoder import EncoderDecoder
from tests import oracle

INPUTS, TARGETS = 8, 8


@pytest.fixture(scope="module", params=TEXT_ARCHITECTURES)
def logits_of(request):
    """The logits of a batch, from a model of each architecture with weights that are nowhere symmetric."""
    keras.utils.set_random_seed(3)
    model = EncoderDecoder(oracle.small_spec(request.param))
    random = np.random.default_rng(3)
    for variable in model.variables:
        variable.assign(variable + 0.2 * random.normal(size=variable.shape).astype("float32"))
    call = compiled(model, lambda batch: model(batch))
    return lambda **batch: np.asarray(call({name: np.asarray(ids, "int32") for name, ids in batch.items()}))


@pytest.fixture
def batch():
    random = np.random.default_rng(0)
    inputs, targets = random.integers(2, 128, (3, INPUTS)), random.integers(2, 128, (3, TARGETS))
    inputs[1, 6:] = 0
    targets[1, 5:] = 0
    return inputs, targets


def test_a_later_target_never_changes_an_earlier_logit(logits_of, batch):
    inputs, targets = batch
    before = logits_of(inputs=inputs, targets=targets)
    for position in range(TARGETS):
        changed = targets.copy()
        changed[[0, 2], position:] = 2 + (changed[[0, 2], position:] + 17) % 126
        after = logits_of(inputs=inputs, targets=changed)
        # The token at a position is predicted there and read from the next position on.
        np.testing.assert_array_equal(after[:, : position + 1], before[:, : position + 1])
        if position + 1 < TARGETS:
            assert (np.abs(after[[0, 2], position + 1] - before[[0, 2], position + 1]).max(axis=-1) > 1e-3).all()


def test_every_input_changes_every_logit(logits_of, batch):
    inputs, targets = batch
    before = logits_of(inputs=inputs, targets=targets)
    for position in (0, INPUTS - 1):
        changed = inputs.copy()
        changed[0, position] = 2 + (changed[0, position] + 17) % 126
        after = logits_of(inputs=changed, targets=targets)
        assert (np.abs(after[0] - before[0]).max(axis=-1) > 1e-4).all()
        np.testing.assert_array_equal(after[1:], before[1:])  # rows are independent


def test_padding_never_changes_a_real_positions_logits(logits_of, batch):
    inputs, targets = batch
    before = logits_of(inputs=inputs, targets=targets)
    longer = logits_of(inputs=np.pad(inputs, ((0, 0), (0, 4))), targets=np.pad(targets, ((0, 0), (0, 4))))
    np.testing.assert_allclose(longer[:, :TARGETS][targets > 0], before[targets > 0], rtol=1e-4, atol=1e-4)
    shorter = logits_of(inputs=inputs[1:2, :6], targets=targets[1:2, :5])
    np.testing.assert_allclose(before[1, :5], shorter[0], rtol=1e-4, atol=1e-4)


def test_what_stands_behind_padding_is_not_seen(logits_of, batch):
    """Ids at places that the segments call padding, or another example, change nothing for this one."""
    inputs, targets = batch
    segments = {"inputs_segments": np.ones_like(inputs), "targets_segments": np.ones_like(targets)}
    segments["inputs_segments"][:, 6:] = 0
    segments["targets_segments"][:, 5:] = 2
    before = logits_of(inputs=inputs, targets=targets, **segments)
    inputs, targets = inputs.copy(), targets.copy()
    inputs[:, 6:], targets[:, 5:] = 99, 98
    after = logits_of(inputs=inputs, targets=targets, **segments)
    np.testing.assert_array_equal(after[:, :5], before[:, :5])
