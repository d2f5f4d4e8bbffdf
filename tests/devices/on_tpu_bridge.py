"""TensorFlow's TPU bridge takes every graph that TPUStrategy makes."""

import numpy as np
import pytest
import tensorflow as tf

from scalecli.evaluation.cross_entropy import CrossEntropy
from scalecli.evaluation.decoding.beam_search import beam_decoder
from scalecli.evaluation.decoding.greedy import greedy_decoder
from scalecli.evaluation.decoding.ranking import label_ranker
from scalecli.models.compiled import compiling_for_tpu
from scalecli.models.encoder_decoder import EncoderDecoder
from scalecli.training.steps.tensorflow import TensorFlowSteps
from tests import oracle
from tests.devices import bridge
from tests.devices.batches import batch_of, images_batch, repeated
from tests.devices.emulated_tpu import tpu_of
from tests.devices.trials import BigramModel, vision_model
from tests.steps import steps_of

pytestmark = pytest.mark.usefixtures("emulated")

LABELS = [np.array([5, 1]), np.array([6, 7, 1])]
# Some keep packed examples apart; the others refuse such batches.
PACKED = ("transformer", "glu", "switch")


def traced(monkeypatch, call):
    """The function of all replicas that `call` would run, as a graph for a TPU."""

    class Traced(Exception):  # noqa: N818
        pass

    real = tf.function

    def decorated(function=None, **options):
        if function is not None:
            return real(function, **options)

        def trace(inner):
            def stop(*arguments):
                raise Traced(real(inner, **options).get_concrete_function(*arguments))

            return stop

        return trace

    with monkeypatch.context() as patch, pytest.raises(Traced) as caught:
        patch.setattr(tf, "function", decorated)
        call()
    return caught.value.args[0]


def training_graph(devices, model, batch):
    """The loop over steps, with its input pipeline."""
    steps, _ = steps_of(model, 0.01, devices=devices)
    return steps._run.get_concrete_function(repeated(batch)(devices), tf.constant(2))


@pytest.mark.parametrize("architecture", [*oracle.KNOBS])
def test_a_tpu_takes_the_graphs_of_every_architecture(monkeypatch, architecture):
    devices = tpu_of(2)
    batch, inputs = batch_of(packed=architecture in PACKED), batch_of()["inputs"]
    with compiling_for_tpu():
        model = devices.new_model(lambda: EncoderDecoder(oracle.small_spec(architecture), "bfloat16", 0.1))
        assert bridge.faults(training_graph(devices, model, batch)) == []
        # Of the model, beam search has all that greedy decoding has, and ranking what cross-entropy has.
        calls = [
            lambda: beam_decoder(model, 4, 2, devices=devices)(inputs),
            lambda: label_ranker(model, LABELS, devices)(inputs),
        ]
        if architecture == "transformer":
            calls.append(lambda: greedy_decoder(model, 4, devices)(inputs))
            calls.append(lambda: CrossEntropy(model, devices)([batch]))
        for call in calls:
            assert bridge.faults(traced(monkeypatch, call)) == []


def test_a_tpu_takes_the_graphs_of_a_vision_transformer(monkeypatch):
    devices = tpu_of(2)
    with compiling_for_tpu():
        model = devices.new_model(lambda: vision_model(0.1))
        assert bridge.faults(training_graph(devices, model, images_batch())) == []
        assert bridge.faults(traced(monkeypatch, lambda: CrossEntropy(model, devices)([images_batch()]))) == []


def python_in_the_step(batch):
    tf.py_function(lambda x: x, [batch["inputs"]], tf.int32)
    return batch


def a_dynamic_shape(batch):
    tokens = tf.boolean_mask(batch["inputs"], batch["inputs"] > 0)
    return {**batch, "inputs": batch["inputs"] + 0 * tf.reduce_sum(tokens)}


@pytest.mark.parametrize(
    ("fault", "said"), [(python_in_the_step, "PyFunc"), (a_dynamic_shape, "dynamic shape")], ids=["python", "dynamic"]
)
def test_what_a_tpu_can_not_do_is_seen(monkeypatch, fault, said):
    step = TensorFlowSteps._step
    monkeypatch.setattr(TensorFlowSteps, "_step", lambda self, batch: step(self, fault(batch)))
    devices = tpu_of(2)
    with compiling_for_tpu():
        model = devices.new_model(BigramModel)
        try:
            found = str(bridge.faults(training_graph(devices, model, batch_of())))
        except Exception as error:
            found = str(error)
    assert said in found
