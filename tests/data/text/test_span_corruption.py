import re

import numpy as np
import pytest
import tensorflow as tf

from scalecli.data.text.span_corruption import (
    SpanCorruption,
    corrupt,
    noise_mask,
    pretraining_batches,
    unigram_cross_entropy,
    validation_batches,
)
from scalecli.data.text.tokens import TokenStore
from scalecli.data.text.vocabulary import Vocabulary
from scalecli.errors import ConfigurationError, MissingError
from tests.oracle import load, needs_oracle

SIZE = 1_100  # ids 0 to 999, and sentinels
SENTINELS = range(SIZE - 1, SIZE - 101, -1)
OBJECTIVE = SpanCorruption(inputs_length=32)


@pytest.fixture
def store(tmp_path):
    tokens = np.arange(2_000, dtype=np.int32) % 990 + 10
    np.save(tmp_path / "tokens.npy", tokens)
    return TokenStore(tmp_path / "tokens.npy", documents=1, tokens=len(tokens))


def test_lengths_of_t5():
    objective = SpanCorruption()
    assert (objective.segment_length, objective.targets_length) == (568, 114)
    assert (objective.noise_tokens, objective.spans) == (85, 28)


@needs_oracle
def test_lengths_of_the_original():
    for inputs, density, mean, segment, targets in load("span_corruption.npz")["helper_rows"].tolist():
        objective = SpanCorruption(int(inputs), density, mean)
        assert (objective.segment_length, objective.targets_length) == (segment, targets), objective


@needs_oracle
def test_examples_of_the_original():
    cases = load("span_corruption.npz")
    names = sorted({key.partition(":")[0] for key in cases if ":" in key})
    assert len(names) == 20
    for name in names:
        tokens, mask, inputs, targets = (cases[f"{name}:{kind}"] for kind in ("tokens", "mask", "inputs", "targets"))
        if match := re.fullmatch(r"spans_L(\d+)_d([\d.]+)_m([\d.]+)_\d", name):
            length, density, mean = match.groups()
            drawn = noise_mask(int(length), float(density), float(mean), cases[f"{name}:seeds"])
            np.testing.assert_array_equal(drawn, mask, name)
        ours = corrupt(
            tf.constant(tokens),
            tf.constant(mask),
            sentinels=range(32_099, 31_999, -1),
            inputs_length=len(inputs),
            targets_length=len(targets),
        )
        np.testing.assert_array_equal(ours[0], inputs, name)
        np.testing.assert_array_equal(ours[1], targets, name)


def test_corruption_by_hand_also_under_xla():
    function = tf.function(
        lambda tokens, mask: corrupt(tokens, mask, sentinels=range(99, -1, -1), inputs_length=6, targets_length=3),
        jit_compile=True,
    )
    inputs, targets = function(tf.constant([5, 6, 7, 8, 9]), tf.constant([False, True, True, False, True]))
    assert inputs.numpy().tolist() == [5, 99, 8, 98, 0, 0]
    assert targets.numpy().tolist() == [99, 6, 7]  # cut
    mask = tf.function(lambda: noise_mask(20, 0.5, 3.0, tf.constant([[1, 2], [3, 4]])), jit_compile=True)()
    assert mask.shape == [20] and int(tf.reduce_sum(tf.cast(mask, tf.int32))) == 10 and not mask[0]


def test_sentinels_may_lie_anywhere():
    tokens, mask = tf.range(10, 16), tf.constant([False, True, True, False, True, False])
    inputs, targets = corrupt(tokens, mask, sentinels=(3, 7, 5), inputs_length=6, targets_length=7)
    assert inputs.numpy().tolist() == [10, 3, 13, 7, 15, 0] and targets.numpy().tolist() == [3, 11, 12, 7, 14, 5, 0]


def restore(inputs, targets):
    """The segment that an example was made of."""
    inputs, targets = inputs[inputs > 0].tolist(), targets[targets > 0].tolist()
    assert inputs.pop() == targets.pop() == 1
    spans, span = {}, None
    for token in targets:
        if token >= SIZE - 100:
            span = spans[token] = []
        else:
            span.append(token)
    assert list(spans) == sorted(spans, reverse=True) and max(spans) == SIZE - 1
    return [token for item in inputs for token in spans.get(item, [item])]


def test_batches_hold_every_segment_once_an_epoch(store):
    segments = store.tokens // OBJECTIVE.segment_length
    batches = pretraining_batches(store, OBJECTIVE, sentinels=SENTINELS, batch=segments, seed=1)
    orders = []
    for batch in batches.take(2).as_numpy_iterator():
        assert batch["inputs"].shape == (segments, 32) and batch["inputs"].dtype == np.int32
        assert batch["targets"].shape == (segments, OBJECTIVE.targets_length) and batch["targets"].dtype == np.int32
        rows = [restore(*row) for row in zip(batch["inputs"], batch["targets"], strict=True)]
        whole = store.array[: segments * OBJECTIVE.segment_length].reshape(segments, -1).tolist()
        assert sorted(rows) == sorted(whole)
        orders.append([whole.index(row) for row in rows])
    assert orders[0] != orders[1] != sorted(orders[1])


def equal(a, b):
    return all((a[key] == b[key]).all() for key in a)


def test_a_batch_is_a_function_of_seed_and_step(store):
    def batches(seed, start_step=0):
        dataset = pretraining_batches(store, OBJECTIVE, sentinels=SENTINELS, batch=7, seed=seed, start_step=start_step)
        return list(dataset.take(30 - start_step).as_numpy_iterator())

    first = batches(3)
    assert all(map(equal, first[17:], batches(3, start_step=17)))
    assert not equal(first[0], batches(4)[0])
    assert not equal(first[0], first[1])


def test_far_steps_need_no_skipping(store):
    far = pretraining_batches(store, OBJECTIVE, sentinels=SENTINELS, batch=128, seed=2**40, start_step=2**40)
    assert next(far.as_numpy_iterator())["inputs"].shape == (128, 32)


def test_validation_is_fixed_and_fills_up_with_padding(store):
    def batches(batch, count):
        return list(
            validation_batches(store, OBJECTIVE, sentinels=SENTINELS, batch=batch, examples=count).as_numpy_iterator()
        )

    assert all(map(equal, batches(8, 24), batches(8, 24))) and len(batches(8, 24)) == 3
    segments = store.tokens // OBJECTIVE.segment_length
    (only,) = batches(segments + 5, 1000)
    assert restore(only["inputs"][0], only["targets"][0]) == store.array[: OBJECTIVE.segment_length].tolist()
    assert (only["inputs"].any(axis=1) == (np.arange(segments + 5) < segments)).all()
    assert equal({"inputs": only["inputs"][:8]}, {"inputs": batches(8, 24)[0]["inputs"]})


def test_the_examples_of_validation_do_not_depend_on_the_batch(store):
    def rows(batch):
        dataset = validation_batches(store, OBJECTIVE, sentinels=SENTINELS, batch=batch, examples=10)
        found = [{"targets": row} for batch in dataset.as_numpy_iterator() for row in batch["targets"]]
        assert all(not row["targets"].any() for row in found[10:]) and len(found) % batch == 0
        return found[:10]

    assert rows(1)[-1]["targets"].any()
    for batch in (3, 4, 16):
        assert all(map(equal, rows(1), rows(batch)))


def test_what_cannot_be_corrupted_is_named(store):
    with pytest.raises(MissingError, match="fewer than one segment of 3352"):
        pretraining_batches(store, SpanCorruption(2_900, mean_span_length=10), sentinels=SENTINELS, batch=1, seed=0)
    with pytest.raises(ConfigurationError, match="sentinels"):
        pretraining_batches(store, SpanCorruption(1_024, mean_span_length=1), sentinels=SENTINELS, batch=1, seed=0)
    for bad in ({"noise_density": 1.0}, {"mean_span_length": 0.5}, {"inputs_length": 1}):
        with pytest.raises(ConfigurationError, match=next(iter(bad))):
            SpanCorruption(**bad)


def test_unigram_cross_entropy(tmp_path):
    """Worked by hand: 3 + 1 of id 5, 1 + 1 of id 6, 1 of each other id, in 1,000 + 100 ids."""
    np.save(tmp_path / "tokens.npy", np.array([5, 5, 6, 5], np.int32))
    store = TokenStore(tmp_path / "tokens.npy", documents=1, tokens=4)
    objective = SpanCorruption(inputs_length=32)
    total = objective.noise_tokens + objective.spans + 1  # a target's tokens: noise, sentinels, the end

    def loss(count, certain=0.0):
        return -np.log((objective.noise_tokens * count / (SIZE + 4) + certain) / total)

    def found(*ids):
        return unigram_cross_entropy([np.array(ids)], store, objective, Vocabulary("unused", "", SIZE - 100))

    assert found(5, 0, 0) == pytest.approx(loss(4))
    assert found(6, 7) == pytest.approx((loss(2) + loss(1)) / 2)
    assert found(SIZE - 1) == pytest.approx(loss(1, certain=1.0)) == found(1)
    assert found(SIZE - 1 - objective.spans) == pytest.approx(loss(1))  # a sentinel that targets do not have
    assert found(0, 5, 6) == pytest.approx((loss(4) + loss(2)) / 2)
    with pytest.raises(MissingError, match="no target tokens"):
        found(0, 0)
