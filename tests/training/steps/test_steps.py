"""Training steps: their loss, accumulation, dropout, packing and precision, compiled as they run."""

import keras
import numpy as np
import pytest

from scalecli.architectures import build_spec
from scalecli.models.dropout import fold_seed
from scalecli.models.encoder_decoder import EncoderDecoder, token_losses
from tests import oracle
from tests.steps import steps_of
from tests.xla import use_xla

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the steps are TensorFlow's")

ROWS = 4
Z_LOSS = 1e-2


def batches_of(count, seed=0):
    """Batches whose rows have very different numbers of target tokens."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        inputs, targets = random.integers(2, 128, (ROWS, 12)), random.integers(2, 128, (ROWS, 9))
        for row, (input_length, target_length) in enumerate(((12, 9), (5, 1), (9, 6), (3, 2))):
            inputs[row, input_length:], targets[row, target_length:] = 0, 0
        made.append({"inputs": inputs.astype("int32"), "targets": targets.astype("int32")})
    return made


def weights_of(model):
    return {path: np.array(variable) for path, variable in model.weights_by_path().items()}


class Trial:
    """A small model, always with the same first weights, and its steps."""

    def __init__(self, *, architecture="transformer", dropout=0.0, precision="float32", start=0, **options):
        keras.utils.set_random_seed(0)
        self.model = EncoderDecoder(oracle.small_spec(architecture), precision, dropout)
        self.steps, self.optimizer = steps_of(self.model, 0.01, **{"seed": 5, "z_loss": Z_LOSS, **options})
        self.optimizer.iterations.assign(start)

    def run(self, batches):
        import tensorflow as tf

        whole = {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}
        iterator = iter(tf.data.Dataset.from_tensor_slices(whole))
        return self.steps.run(iterator, len(batches))


@pytest.fixture(scope="module")
def plain():
    """A trial that has done two steps on two batches, with its first weights, losses and norms."""
    trial = Trial()
    before = weights_of(trial.model)
    losses, norms, *_ = trial.run(batches_of(2))
    return trial, before, losses, norms


def test_steps_with_large_scores_go_on_after_the_first():
    # Where a layer's backward pass needs more than about 200 MB, TensorFlow's graph optimizer adds gradients up in
    # temporary variables; some were left over from one step and stood in the way of the next ("AlreadyExists").
    inputs = np.random.default_rng(0).integers(2, 128, (16, 512)).astype("int32")
    trial = Trial()
    losses = [float(trial.run([{"inputs": inputs, "targets": inputs[:, :8]}]).losses[0]) for _ in range(2)]
    assert losses[1] < losses[0] < 1.5 * np.log(128)


def test_the_loss_is_the_mean_over_target_tokens_and_the_gradient_that_of_it_and_the_z_loss(plain):
    import tensorflow as tf

    _, before, losses, norms = plain
    model = EncoderDecoder(build_spec("transformer", oracle.shape_of_oracle()))
    for path, variable in model.weights_by_path().items():
        variable.assign(before[path])
    batch = batches_of(1)[0]
    real = batch["targets"] > 0
    assert real.sum() == 9 + 1 + 6 + 2

    def by_hand(z_loss):
        return tf.reduce_sum(tf.boolean_mask(token_losses(model(batch), batch["targets"], z_loss), real)) / real.sum()

    assert losses[0] == pytest.approx(float(by_hand(0.0)), rel=1e-6)
    with tf.GradientTape() as tape:
        loss = by_hand(Z_LOSS)
    assert float(loss) > losses[0] + 0.1  # the z-loss is trained on but not reported
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    norm = tf.linalg.global_norm([tf.convert_to_tensor(gradient) for gradient in gradients])
    assert norms[0] == pytest.approx(float(norm), rel=1e-5)


def test_steps_change_every_weight_and_count(plain):
    trial, before, losses, norms = plain
    assert losses.shape == norms.shape == (2,)
    assert losses.dtype == norms.dtype == np.float32
    assert int(trial.optimizer.iterations) == 2
    for path, after in weights_of(trial.model).items():
        assert np.abs(after - before[path]).max() > 1e-5, path


def test_accumulated_parts_are_one_batch(plain):
    whole, before, losses, norms = plain
    trial = Trial(accumulation=4)
    for path, weight in weights_of(trial.model).items():
        np.testing.assert_array_equal(weight, before[path])
    more_losses, more_norms, *_ = trial.run(batches_of(2))
    np.testing.assert_allclose(more_losses, losses, rtol=1e-5)
    np.testing.assert_allclose(more_norms, norms, rtol=1e-4)
    expected = weights_of(whole.model)
    for path, weight in weights_of(trial.model).items():
        np.testing.assert_allclose(weight, expected[path], atol=1e-5, err_msg=path)


def test_steps_compiled_by_xla_are_the_same(monkeypatch):
    """With dropout and accumulation: the program that an accelerator gets, and the one that runs here."""
    results = []
    for xla in (False, True):
        use_xla(monkeypatch, xla)
        trial = Trial(dropout=0.3, accumulation=2)
        results.append((trial.run(batches_of(2)), weights_of(trial.model)))
    (figures, weights), (xla_figures, xla_weights) = results
    figures, xla_figures = np.array(figures[:2]), np.array(xla_figures[:2])  # loss and norm, [2, steps]
    np.testing.assert_allclose(xla_figures[:, 0], figures[:, 0], rtol=1e-5)
    # Adafactor's first step has the size of the rate whatever the gradient: where that is rounding, so is its sign.
    np.testing.assert_allclose(xla_figures[:, 1], figures[:, 1], rtol=1e-3)
    for path, weight in weights.items():
        assert np.abs(xla_weights[path] - weight).mean() < 1e-4, path


def test_dropout_is_a_function_of_the_step():
    batch = batches_of(1)
    trial = Trial(dropout=0.3)
    first_weights = weights_of(trial.model)

    def loss_at(step):
        for path, variable in trial.model.weights_by_path().items():
            variable.assign(first_weights[path])
        trial.optimizer.iterations.assign(step)
        return float(trial.run(batch)[0][0])

    losses = [loss_at(step) for step in (0, 7, 7, 8)]
    assert losses[1] == losses[2]
    assert len(set(losses)) == 3


def test_bfloat16_steps_are_near_those_of_float32(plain):
    _, before, losses, norms = plain
    trial = Trial(precision="bfloat16")
    rough_losses, rough_norms, *_ = trial.run(batches_of(2))
    np.testing.assert_allclose(rough_losses, losses, rtol=0.02)
    np.testing.assert_allclose(rough_norms, norms, rtol=0.1)
    assert not np.array_equal(rough_losses, losses)  # it did compute in another precision
    for path, weight in weights_of(trial.model).items():
        assert weight.dtype == np.float32
        assert np.isfinite(weight).all()
        assert not np.array_equal(weight, before[path])


def test_packed_examples_have_the_losses_that_they_have_alone(plain):
    """Two examples in one row, and each in a row of its own: the same cross-entropy, token by token."""
    model = plain[0].model
    random = np.random.default_rng(1)
    lengths = ((7, 3), (4, 5))  # inputs and targets of each example
    examples = [[random.integers(2, 128, length).astype("int32") for length in pair] for pair in lengths]

    def row(side, length, number):
        parts = [example[side] for example in examples]
        packed = np.concatenate(parts if number is None else [parts[number]])
        segments = np.concatenate([np.full(len(part), index + 1) for index, part in enumerate(parts)])
        pad = (0, length - len(packed))
        return np.pad(packed, pad)[None], np.pad(segments, (0, length - len(segments)))[None].astype("int32")

    def losses(batch):
        return np.asarray(token_losses(model(batch), batch["targets"]))[0]

    (inputs, input_segments), (targets, target_segments) = row(0, 12, None), row(1, 9, None)
    packed = losses(
        {
            "inputs": inputs,
            "targets": targets,
            "inputs_segments": input_segments,
            "targets_segments": target_segments,
        }
    )
    alone = [losses({"inputs": row(0, 12, n)[0], "targets": row(1, 9, n)[0]}) for n in (0, 1)]
    np.testing.assert_allclose(packed[:3], alone[0][:3], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(packed[3:8], alone[1][:5], rtol=1e-4, atol=1e-5)
    without = losses({"inputs": inputs, "targets": targets})
    assert np.abs(without[3:8] - alone[1][:5]).max() > 1e-3  # and it is the segments that keep them apart


def test_the_auxiliary_loss_is_trained_on_and_reported_but_is_no_part_of_the_loss():
    """With accumulation, it and the reports are the mean over the parts."""
    import tensorflow as tf

    batch = batches_of(1)[0]
    trial = Trial(architecture="switch", accumulation=2, z_loss=0.0)
    real = batch["targets"] > 0
    variables = [variable.value for variable in trial.model.trainable_variables]
    losses, gradients, outputs = [], [], []
    seed = fold_seed(tf.constant(5), 0)
    for part in range(2):
        rows = slice(part, None, 2)
        of_part = {name: whole[rows] for name, whole in batch.items()}
        with tf.GradientTape() as tape:
            output = trial.model.outputs(of_part, fold_seed(seed, part))
            loss = tf.reduce_sum(token_losses(output.logits, of_part["targets"]) * real[rows]) / real.sum()
            whole = loss + output.auxiliary_loss / 2
        losses.append(float(loss))
        outputs.append(output)
        gradients.append([tf.convert_to_tensor(each) for each in tape.gradient(whole, variables)])
    found = trial.run([batch])
    assert found.losses[0] == pytest.approx(sum(losses), rel=1e-5)
    norm = tf.linalg.global_norm([one + other for one, other in zip(*gradients, strict=True)])
    assert found.norms[0] == pytest.approx(float(norm), rel=1e-4)
    assert set(found.reports) == {
        f"{side}/0/experts/{name}"
        for side in ("encoder", "decoder")
        for name in ("auxiliary_loss", "overflow", "expert_use")
    }
    for name, report in found.reports.items():
        mean = (outputs[0].reports[name] + outputs[1].reports[name]) / 2
        np.testing.assert_allclose(report[0], mean, rtol=1e-4, atol=1e-6, err_msg=name)
    total = sum(report.sum() for name, report in found.reports.items() if name.endswith("auxiliary_loss"))
    assert total > 0.01
