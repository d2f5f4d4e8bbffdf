import numpy as np
import pytest

from scalecli.data.tasks.batches import Encoded, FinetuningBatches, bucket, encode, evaluation_batches
from scalecli.data.tasks.task import Example
from scalecli.errors import MissingError
from tests.data.conftest import sentences

EXAMPLES = [
    Example(text, target, row)
    for row, (text, target) in enumerate(
        (f"{sentence} {n % 10}"[: 10 + n % 17], ("text", "noise")[n % 2]) for n, sentence in enumerate(sentences(50))
    )
]
LENGTHS = (32, 16)


def make(vocabulary, tasks, rates=None, *, batch=5, seed=1, packed=False):
    encoded = {name: Encoded.of(examples, vocabulary, LENGTHS) for name, examples in tasks.items()}
    rates = rates or {name: 1 / len(tasks) for name in tasks}
    return FinetuningBatches(encoded, rates, LENGTHS, batch=batch, seed=seed, packed=packed)


def batches(vocabulary, count, *, examples=EXAMPLES, start_step=0, **options):
    made = make(vocabulary, {"only": examples}, **options)
    return list(made(start_step).take(count).as_numpy_iterator()), made.rows["only"]


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
    lengths = (32, 16 if packed else 8)  # a target has two tokens
    for name, array in found[0].items():
        assert array.shape == (rows, lengths[name.startswith("targets")]) and array.dtype == np.int32
        if name.endswith("segments"):
            assert ((array > 0) == (found[0][name.removesuffix("_segments")] > 0)).all()


def test_rows_are_no_longer_than_the_longest_example_needs(vocabulary):
    def lengths(words, most=(512, 62), **options):
        examples = [Example("a", "text", 0), Example("text " * words, "text", 1)]
        encoded = {"only": Encoded.of(examples, vocabulary, most)}
        options = {"batch": 2, "seed": 1, "packed": False, **options}
        return FinetuningBatches(encoded, {"only": 1.0}, most, **options).lengths

    assert len(vocabulary.encode("text " * 70)) == 70
    assert [lengths(words) for words in (1, 63, 64, 70)] == [(64, 8), (64, 8), (128, 8), (128, 8)]
    assert [lengths(words) for words in (511, 600)] == [(512, 8), (512, 8)]
    assert lengths(70, (100, 3)) == (100, 3)
    assert [lengths(words, pooled=96) for words in (1, 200)] == [(192, 8), (384, 8)]


@pytest.mark.parametrize("packed", [False, True])
def test_a_batch_is_a_function_of_seed_and_step(vocabulary, packed):
    whole, _ = batches(vocabulary, 20, packed=packed)
    later, _ = batches(vocabulary, 7, start_step=13, packed=packed)
    assert all((a[key] == b[key]).all() for a, b in zip(whole[13:], later, strict=True) for key in a)
    other, _ = batches(vocabulary, 1, seed=2, packed=packed)
    assert (whole[0]["inputs"] != other[0]["inputs"]).any()


@pytest.mark.parametrize("packed", [False, True])
def test_a_mixture_has_each_task_at_its_rate_and_each_example_once_an_epoch(vocabulary, packed):
    """Task "b" has longer inputs, so that its rows hold fewer examples; the rates are those of examples."""
    tasks = {"a": EXAMPLES[:20], "b": [Example(e.input + " long text" * 2, e.target, e.row) for e in EXAMPLES[20:]]}
    rates = {"a": 0.25, "b": 0.75}
    made = make(vocabulary, tasks, rates, packed=packed, batch=50)
    found = list(made.named().take(40).as_numpy_iterator())
    pairs = {name: [] for name in tasks}
    for batch in found:
        for row, task in enumerate(batch["task"]):
            pairs[made.names[task]] += unpack(batch, row, packed)
    total = sum(map(len, pairs.values()))
    for name, examples in tasks.items():
        assert len(pairs[name]) / total == pytest.approx(rates[name], abs=0.02)
        epoch = sorted(pairs[name][: len(examples)])
        assert epoch == pairs_of(vocabulary, examples)
        assert pairs[name][len(examples) : 2 * len(examples)] != pairs[name][: len(examples)]
    assert sum(made.rows.values()) < 50 if packed else made.rows == {"a": 20, "b": 30}


def test_a_mixture_is_a_function_of_seed_and_step(vocabulary):
    made = make(vocabulary, {"a": EXAMPLES[:7], "b": EXAMPLES[7:]}, {"a": 0.3, "b": 0.7})
    whole = list(made().take(12).as_numpy_iterator())
    for batch, again in zip(whole[9:], made(9).take(3).as_numpy_iterator(), strict=True):
        assert (batch["inputs"] == again["inputs"]).all() and (batch["targets"] == again["targets"]).all()


def test_cut_first_then_ended_and_counted(vocabulary):
    (batch,), _ = batches(vocabulary, 1, examples=[Example("noise " * 100, "text " * 100, 0)], batch=1)
    assert batch["inputs"][0, -1] == batch["targets"][0, -1] == 1
    assert batch["inputs"][0, :-1].tolist() == vocabulary.encode("noise " * 100)[:31]
    examples = [Example("noise " * 100, "text", 0), Example("noise", "text", 1)]
    encoded = Encoded.of(examples, vocabulary, LENGTHS)
    assert (encoded.inputs_cut, encoded.targets_cut) == (1, 0)


def test_what_just_fits_is_not_cut(vocabulary):
    length = len(vocabulary.encode("noise text"))
    for room, expected in ((length + 1, 0), (length, 1)):
        sequences, cut = encode(["noise text"], vocabulary, room)
        assert cut == expected and len(sequences[0]) == room and sequences[0][-1] == 1


def test_fewer_examples_than_a_batch(vocabulary):
    (batch,), rows = batches(vocabulary, 1, examples=EXAMPLES[:3], batch=6)
    first, second = (pairs_of(vocabulary, EXAMPLES[:3]),) * 2
    assert rows == 3
    assert sorted(unpack(batch, row, False)[0] for row in range(6)) == sorted(first + second)


def test_evaluation_has_every_text_once_in_buckets(vocabulary):
    texts = [example.input for example in EXAMPLES] + ["long text of noise " * 12, "long " * 300]
    found, cut = evaluation_batches(texts, vocabulary, inputs_length=200, batch=8)
    assert [batch.inputs.shape for batch in found] == [(8, 200), *[(8, 64)] * 6]
    seen = [number for batch in found for number in batch.numbers.tolist()]
    assert sorted(seen) == list(range(52)) and cut == 1
    for batch in found:
        assert not batch.inputs[len(batch.numbers) :].any()
        for number, row in zip(batch.numbers, batch.inputs, strict=False):
            assert row[row > 0].tolist() == [*vocabulary.encode(texts[number])[:199], 1]


@pytest.mark.parametrize(("length", "expected"), [(1, 64), (64, 64), (65, 128), (512, 512), (513, 1024)])
def test_buckets(length, expected):
    assert bucket(length) == expected
    assert bucket(6, 8) == 8


def test_no_examples(vocabulary):
    with pytest.raises(MissingError):
        batches(vocabulary, 1, examples=[])


def test_an_abandoned_iterator_does_not_hang(vocabulary):
    """Batches must be made in the graph: a call into Python from tf.data deadlocks when its iterator is dropped."""
    for _ in range(5):
        dataset = make(vocabulary, {"a": EXAMPLES[:9], "b": EXAMPLES[9:]})()
        iterator = dataset.as_numpy_iterator()
        next(iterator)
        del iterator, dataset
