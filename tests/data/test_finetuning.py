import numpy as np
import pytest

from scalecli.data.finetuning import evaluation_batches, finetuning_batches
from scalecli.data.tasks import Example
from scalecli.errors import MissingError
from tests.data.conftest import sentences

EXAMPLES = [
    Example(text, target, row)
    for row, (text, target) in enumerate(
        (f"{sentence} {n % 10}"[: 10 + n % 17], ("text", "noise")[n % 2]) for n, sentence in enumerate(sentences(50))
    )
]
LENGTHS = {"inputs_length": 32, "targets_length": 16}


def batches(vocabulary, count, *, examples=EXAMPLES, batch=5, seed=1, start_step=0, packed=False):
    dataset, rows = finetuning_batches(
        examples, vocabulary, **LENGTHS, batch=batch, seed=seed, start_step=start_step, packed=packed
    )
    return list(dataset.take(count).as_numpy_iterator()), rows


def pairs_of(vocabulary, examples):
    return sorted(((*vocabulary.encode(e.input)[:31], 1), (*vocabulary.encode(e.target), 1)) for e in examples)


def unpack(batch, row, packed):
    inputs, targets = batch["inputs"][row], batch["targets"][row]
    if not packed:
        return [(tuple(inputs[inputs > 0].tolist()), tuple(targets[targets > 0].tolist()))]
    found = []
    for number in range(1, batch["inputs_segments"][row].max() + 1):
        parts = inputs[batch["inputs_segments"][row] == number], targets[batch["targets_segments"][row] == number]
        found.append(tuple(tuple(part.tolist()) for part in parts))
    return found


@pytest.mark.parametrize("packed", [False, True])
def test_an_epoch_holds_every_example_once(vocabulary, packed):
    _, rows = batches(vocabulary, 1, packed=packed)
    assert rows < 50 if packed else rows == 50
    found, _ = batches(vocabulary, 2, batch=rows, packed=packed)
    epochs = [[pair for row in range(rows) for pair in unpack(batch, row, packed)] for batch in found]
    expected = pairs_of(vocabulary, EXAMPLES)
    assert sorted(epochs[0]) == sorted(epochs[1]) == expected and epochs[0] != epochs[1]
    for name, array in found[0].items():
        assert array.shape == (rows, LENGTHS[name.partition("_")[0] + "_length"]) and array.dtype == np.int32
        if name.endswith("segments"):
            assert ((array > 0) == (found[0][name.removesuffix("_segments")] > 0)).all()


@pytest.mark.parametrize("packed", [False, True])
def test_a_batch_is_a_function_of_seed_and_step(vocabulary, packed):
    whole, _ = batches(vocabulary, 20, packed=packed)
    later, _ = batches(vocabulary, 7, start_step=13, packed=packed)
    assert all((a[key] == b[key]).all() for a, b in zip(whole[13:], later, strict=True) for key in a)
    other, _ = batches(vocabulary, 1, seed=2, packed=packed)
    assert (whole[0]["inputs"] != other[0]["inputs"]).any()


def test_cut_first_then_ended(vocabulary):
    (batch,), _ = batches(vocabulary, 1, examples=[Example("noise " * 100, "text " * 100, 0)], batch=1)
    assert batch["inputs"][0, -1] == batch["targets"][0, -1] == 1
    assert batch["inputs"][0, :-1].tolist() == vocabulary.encode("noise " * 100)[:31]


def test_fewer_examples_than_a_batch(vocabulary):
    (batch,), rows = batches(vocabulary, 1, examples=EXAMPLES[:3], batch=6)
    first, second = (pairs_of(vocabulary, EXAMPLES[:3]),) * 2
    assert rows == 3
    assert sorted(unpack(batch, row, False)[0] for row in range(6)) == sorted(first + second)


def test_evaluation_is_in_order_and_filled_up(vocabulary):
    found = list(evaluation_batches(EXAMPLES, vocabulary, inputs_length=32, batch=16).as_numpy_iterator())
    inputs = np.concatenate([batch["inputs"] for batch in found])
    assert inputs.shape == (64, 32) and not inputs[50:].any()
    for example, row in zip(EXAMPLES, inputs, strict=False):
        assert row[row > 0].tolist() == [*vocabulary.encode(example.input)[:31], 1]


def test_no_examples(vocabulary):
    with pytest.raises(MissingError):
        batches(vocabulary, 1, examples=[])
    with pytest.raises(MissingError):
        evaluation_batches([], vocabulary, inputs_length=32, batch=2)


def test_an_abandoned_iterator_does_not_hang(vocabulary):
    """Batches must be made in the graph: a call into Python from tf.data deadlocks when its iterator is dropped."""
    for _ in range(5):
        dataset, _ = finetuning_batches(EXAMPLES, vocabulary, **LENGTHS, batch=5, seed=1)
        iterator = dataset.as_numpy_iterator()
        next(iterator)
        del iterator, dataset
