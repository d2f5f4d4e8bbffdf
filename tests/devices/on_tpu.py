"""TPUStrategy on emulated cores: their numbers are one device's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from scalecli.evaluation.cross_entropy import CrossEntropy
from scalecli.evaluation.decoding.beam_search import beam_decoder
from scalecli.evaluation.decoding.greedy import greedy_decoder
from scalecli.evaluation.decoding.ranking import label_ranker
from scalecli.models.encoder_decoder import EncoderDecoder
from scalecli.training.objective import target_count
from scalecli.training.steps.tensorflow import TensorFlowSteps
from tests import oracle
from tests.devices import emulated_tpu
from tests.devices.batches import ROWS, batch_of, images_batch, packed_text, repeated
from tests.devices.emulated_tpu import tpu_of
from tests.devices.trials import (
    SMALL_RATE,
    STEPS,
    BigramModel,
    assert_same,
    seeds_of,
    text_model,
    trial_on,
    vision_model,
)
from tests.steps import steps_of

pytestmark = pytest.mark.usefixtures("emulated")

LABELS = [np.array([5, 1]), np.array([6, 7, 1])]


@pytest.fixture
def computing(monkeypatch):
    emulated_tpu.compute(monkeypatch.setattr)


def rematerialised(dropout):
    return EncoderDecoder(oracle.small_spec("transformer", layers=1), dropout_rate=dropout, rematerialise=True)


@pytest.mark.parametrize(
    ("cores", "options"),
    [(1, {}), (2, {"make": rematerialised, "accumulation": 2}), (4, {})],
    ids=["1", "2, rematerialised and accumulated", "4"],
)
def test_cores_are_one_device(computing, text_alone, cores, options):
    assert_same(trial_on(tpu_of(cores), packed_text(), **options), text_alone)


def test_a_vision_transformer_on_cores_is_one_device(computing, images_alone):
    on_cores = trial_on(tpu_of(2), repeated(images_batch()), make=vision_model, rate=SMALL_RATE)
    assert_same(on_cores, images_alone)


def test_dropout_differs_between_cores_steps_and_parts(computing, monkeypatch):
    seeds = seeds_of(monkeypatch, tpu_of(2), packed_text(), accumulation=2)
    assert len(set(seeds)) == len(seeds) == STEPS * 2 * 2


def evaluated(devices):
    """The cross-entropy, greedy and beam-searched tokens, scores and likeliest labels of a batch."""
    keras.utils.set_random_seed(0)
    model, batch = devices.new_model(lambda: text_model(0.0)), batch_of()
    return [
        CrossEntropy(model, devices)([batch]),
        greedy_decoder(model, 4, devices)(batch["inputs"]),
        *beam_decoder(model, 4, 2, devices=devices)(batch["inputs"]),
        label_ranker(model, LABELS, devices)(batch["inputs"]),
    ]


@pytest.fixture(scope="module")
def evaluated_alone(one_device):
    return evaluated(one_device)


@pytest.mark.parametrize("cores", [1, 2])
def test_evaluation_on_cores_is_that_on_one_device(computing, evaluated_alone, cores):
    for on_cores, on_one in zip(evaluated(tpu_of(cores)), evaluated_alone, strict=True):
        np.testing.assert_allclose(on_cores, on_one, rtol=1e-5)


def test_first_weights_are_computed_on_the_host():
    places = []

    def ones(shape, dtype=None):
        found = tf.ones(shape, dtype)
        places.append(found.device)
        return found

    tpu_of(2).new_model(lambda: keras.Variable(ones, (2, 3)))
    assert {place.rpartition("/")[2] for place in places} == {"device:CPU:0"}


@pytest.mark.parametrize("cores", [None, 2])
def test_the_wait_for_input_is_measured(computing, one_device, cores):
    from tensorflow.python.data.experimental.ops.testing import sleep

    devices = tpu_of(cores) if cores else one_device

    def slow(start_step, share):
        rows = tf.data.Dataset.from_tensor_slices(batch_of()).repeat()
        return rows.batch(share.piece(ROWS), drop_remainder=True).apply(sleep(300_000 // (cores or 1)))

    steps, _ = steps_of(devices.new_model(BigramModel), 0.01, devices=devices)
    batches = devices.batches(slow, 0)
    steps.run(batches, 1)
    waits = steps.run(batches, 4).waits
    assert 0.05 < waits[1:].mean() < 1.0


def double_sums(monkeypatch):
    from scalecli.training.optimizers.adafactor import Adafactor

    monkeypatch.delattr(Adafactor, "_all_reduce_sum_gradients")


def whole_batches(monkeypatch):
    monkeypatch.setattr("scalecli.data.order.HostShare.piece", lambda self, batch: batch)


def figures_of_one_core(monkeypatch):
    def step(self, batch):
        replica, total = self._replica(), tf.distribute.ReduceOp.SUM
        targets = replica.all_reduce(total, target_count(self._model, batch))
        gradients, shown = self._gradients(batch, targets, self._seed)
        gradients = replica.all_reduce(total, gradients)
        self._optimizer.apply(gradients, self._model.trainable_variables)
        return shown.loss, tf.linalg.global_norm(gradients), shown.reports

    monkeypatch.setattr(TensorFlowSteps, "_step", step)


@pytest.mark.parametrize("plant", [double_sums, whole_batches, figures_of_one_core])
def test_a_planted_fault_is_not_one_device(monkeypatch, computing, bigrams_alone, plant):
    def on_cores():
        return trial_on(tpu_of(2), packed_text(), make=BigramModel)

    assert_same(on_cores(), bigrams_alone)
    plant(monkeypatch)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_same(on_cores(), bigrams_alone)


def test_equal_seeds_on_all_cores_are_seen(monkeypatch, computing):
    real = TensorFlowSteps._step

    def step(self, batch):
        self._replicas = 1
        return real(self, batch)

    monkeypatch.setattr(TensorFlowSteps, "_step", step)
    seeds = seeds_of(monkeypatch, tpu_of(2), packed_text())
    assert len(seeds) == STEPS * 2 and len(set(seeds)) == STEPS
