"""Dropout's masks: drawn from the seed alone, at the stated rate, one for all positions of a sequence."""

import keras
import numpy as np
import pytest
from keras import ops

from scalecli.models.dropout import Dropout, fold_seed

SHAPE = (64, 5, 300)  # batch, length, width: 19,200 independent elements a mask


def seed(number):
    return ops.convert_to_tensor(number, "int32")


def dropped(rate, number, shape=SHAPE):
    return np.asarray(Dropout(rate, seed(number))(ops.ones(shape)))


def test_masks_are_a_function_of_the_seed():
    masks = [dropped(0.3, number) for number in (1, 1, 2)]
    np.testing.assert_array_equal(masks[0], masks[1])
    # Those of two seeds agree where independent ones do: 0.3 * 0.3 + 0.7 * 0.7 of all places.
    assert np.mean(masks[0] == masks[2]) == pytest.approx(0.58, abs=0.02)


def test_places_have_masks_of_their_own():
    root = Dropout(0.5, seed(3))
    masks = [np.asarray(root.at(place).at(inner)(ops.ones(SHAPE))) for place in (0, 1) for inner in (0, 1)]
    for index, mask in enumerate(masks):
        for other in masks[:index]:
            assert np.mean(mask == other) == pytest.approx(0.5, abs=0.02)
    assert len({int(fold_seed(seed(3), number)) for number in range(1000)}) == 1000


def test_a_number_known_beforehand_gives_the_seed_of_one_that_is_not():
    numbers = [0, 1, 2, 47, 3_000, 2**31 - 1]
    expected = [int(fold_seed(seed(3), ops.cast(number, "int32"))) for number in numbers]
    assert [int(fold_seed(seed(3), number)) for number in numbers] == expected


def test_noise_at_rate_zero_is_that_at_any_rate():
    noise = [np.asarray(Dropout(rate, seed(3)).at(2).at(seed(5)).noise(SHAPE)) for rate in (0.0, 0.5)]
    np.testing.assert_array_equal(*noise)
    folded = fold_seed(fold_seed(seed(3), 2), seed(5))
    np.testing.assert_array_equal(noise[0], np.asarray(Dropout(0.5, folded).noise(SHAPE)))


def test_at_rate_zero_no_seed_is_hashed_before_noise_is_drawn(monkeypatch):
    hashed = []
    monkeypatch.setattr("scalecli.models.dropout.fold_seed", lambda seed, number: hashed.append(number) or seed)
    dropout = Dropout(0.0, seed(3)).at(2).at(5)
    dropout(ops.ones(SHAPE))
    assert hashed == []
    dropout.noise(SHAPE)
    assert hashed == [2, 5]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_is_kept_and_so_is_the_mean(rate):
    count = SHAPE[0] * SHAPE[2]
    sigma = (rate * (1 - rate) / count) ** 0.5
    outside = 0
    for number in range(20):
        mask = dropped(rate, number)
        share = np.mean(mask[:, 0] == 0)
        assert share == pytest.approx(rate, abs=5 * sigma)
        outside += abs(share - rate) > 3 * sigma
        kept = mask[mask != 0]
        np.testing.assert_allclose(kept, 1 / (1 - rate), rtol=1e-6)
        assert mask.mean() == pytest.approx(1.0, abs=5 * sigma / (1 - rate))
    assert outside <= 1  # of 20, where 0.3 % are to be expected


def test_one_mask_serves_the_whole_sequence_and_no_two_rows():
    mask = dropped(0.5, 4)
    np.testing.assert_array_equal(mask, np.repeat(mask[:, :1], SHAPE[1], axis=1))
    rows = mask[:, 0] != 0
    assert len({row.tobytes() for row in rows}) == len(rows)
    assert np.abs(np.corrcoef(rows) - np.eye(len(rows))).max() < 0.35  # 6 sigma of 300 elements
    # Attention's shares [batch, heads, queries, keys] have one mask for all queries.
    shares = dropped(0.5, 5, (2, 3, 4, 50))
    np.testing.assert_array_equal(shares, np.repeat(shares[:, :, :1], 4, axis=2))


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero():
    x = ops.ones(SHAPE)
    for dropout in (Dropout(0.5), Dropout(0.0, seed(1)), Dropout(0.5).at(3)):
        assert not dropout.active
        assert dropout(x) is x


def test_bfloat16_stays_bfloat16():
    dropped = Dropout(0.5, seed(1))(ops.ones((2, 3, 100), "bfloat16"))
    assert keras.backend.standardize_dtype(dropped.dtype) == "bfloat16"
    assert set(np.unique(np.asarray(ops.cast(dropped, "float32")))) == {0.0, 2.0}
