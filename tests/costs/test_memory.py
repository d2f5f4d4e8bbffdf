import pytest

from scalecli import costs
from scalecli.architectures import TEXT_ARCHITECTURES, build_spec
from scalecli.costs import Batch
from scalecli.costs.hardware import Machine
from scalecli.costs.memory import Training, device_memory, fits, remedies
from scalecli.errors import ConfigurationError
from scalecli.shape import parse_name, presets

ONE = Machine("h100", 1)


def spec_of(name, architecture="transformer"):
    return build_spec(architecture, parse_name(name, architecture))


@pytest.mark.parametrize("architecture", TEXT_ARCHITECTURES)
def test_one_device_has_what_the_spec_says(architecture):
    spec = build_spec(architecture, presets(architecture)["small"])
    kept = []
    for rematerialised, targets in ((True, 128), (False, 128), (False, 256)):
        memory = device_memory(spec, Batch(2, 512, targets), ONE, Training(rematerialised=rematerialised))
        assert memory.weights == memory.gradients == costs.weights_bytes(spec)
        assert memory.optimizer == costs.adafactor_bytes(spec)
        assert memory.total == memory.weights * 2 + memory.optimizer + memory.activations
        kept.append(memory.activations)
    assert 0 < kept[0] < kept[1] < kept[2]


def test_adamw_keeps_two_moments_of_every_weight():
    memory = device_memory(spec_of("tiny"), Batch(1), ONE, Training(optimizer="adamw"))
    assert memory.optimizer == 2 * memory.weights


def test_rematerialised_depth_costs_one_input_a_layer():
    def activations(layers, **training):
        spec = spec_of(f"tiny-nl{layers}")
        return device_memory(spec, Batch(1, 512, 128), ONE, Training(**training)).activations

    assert activations(9, rematerialised=True) - activations(8, rematerialised=True) == 2 * (512 + 128) * 256
    assert activations(9) - activations(8) > 10 * 2 * (512 + 128) * 256


def test_float32_takes_more_than_bfloat16():
    narrow, wide = (
        device_memory(spec_of("tiny"), Batch(4), ONE, Training(precision=precision))
        for precision in ("bfloat16", "float32")
    )
    assert 1.5 * narrow.activations < wide.activations < 2.5 * narrow.activations
    assert narrow.weights == wide.weights


@pytest.mark.parametrize(("architecture", "size"), [("transformer", "large"), ("switch", "base"), ("mixer", "large")])
def test_model_parallelism_divides_nearly_everything(architecture, size):
    spec, batch = spec_of(size, architecture), Batch(128, 512, 128)
    one, two = (device_memory(spec, batch, Machine("tpu-v3", 16, parallel), Training()) for parallel in (1, 2))
    # Twice as many sequences a replica: activations that are split come out even, norms and the like double.
    assert one.activations < two.activations < 2 * one.activations
    assert 0.5 * one.weights < two.weights < 0.51 * one.weights or architecture == "switch"
    assert two.optimizer < one.optimizer


def test_what_the_papers_trained_fitted():
    """Their cores had 16 GiB; T5's settings made two microbatches of xl's and of xxl's batch."""
    for size, chips, parallel, sequences in (
        ("base", 16, 1, 128),
        ("large", 16, 2, 128),
        ("xl", 16, 8, 64),
        ("xl-nl32", 64, 8, 128),
        ("xxl", 64, 32, 64),
    ):
        machine = Machine("tpu-v3", chips, parallel)
        assert fits(device_memory(spec_of(size), Batch(sequences, 512, 128), machine, Training()), machine), size


def test_each_remedy_is_enough_and_no_more_than_that():
    spec, batch, machine = spec_of("xl"), Batch(), Machine("tpu-v3", 8, 8)
    assert not fits(device_memory(spec, batch, machine, Training()), machine)
    assert remedies(spec, batch, machine, Training()) == ["--rematerialise", "--chips 16", "--batch 64"]
    assert fits(device_memory(spec, batch, machine, Training(rematerialised=True)), machine)
    assert fits(device_memory(spec, batch, Machine("tpu-v3", 16, 8), Training()), Machine("tpu-v3", 16, 8))
    assert fits(device_memory(spec, Batch(64), machine, Training()), machine)


def test_remedies_of_adamw_and_of_too_little_parallelism():
    options = remedies(spec_of("xl"), Batch(), Machine("tpu-v5p", 16), Training(optimizer="adamw"))
    assert "--optimizer adafactor" in options and "--model-parallel 2" in options
    assert remedies(spec_of("xxxl"), Batch(), Machine("cpu", 1), Training(precision="float32")) == []


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ConfigurationError, match="--batch 48 does not divide into 32"):
        device_memory(spec_of("tiny"), Batch(48), Machine(), Training())


# What XLA's own memory analysis says of one training step of scalecli: arguments and temporaries of one device, on the
# JAX backend, compiled for so many TPU v5e chips by libtpu 0.0.51 and jax 0.10.2; bfloat16, 512 + 114 tokens.
XLA_BYTES = [
    ("tiny", "transformer", 1, 16, False, 687_553_536),
    ("tiny", "transformer", 1, 16, True, 304_069_632),
    ("tiny-nl12", "transformer", 1, 4, False, 534_307_840),
    ("small", "transformer", 1, 8, False, 1_168_359_424),
    ("base", "transformer", 16, 128, False, 3_905_298_944),
    ("tiny", "universal", 4, 128, False, 8_070_964_224),
]


@pytest.mark.parametrize(("name", "architecture", "chips", "sequences", "rematerialised", "found"), XLA_BYTES)
def test_what_xla_takes_for_a_tpu(name, architecture, chips, sequences, rematerialised, found):
    training = Training(rematerialised=rematerialised)
    memory = device_memory(spec_of(name, architecture), Batch(sequences, 512, 114), Machine("tpu-v5e", chips), training)
    assert found == pytest.approx(memory.total, rel=0.2)
