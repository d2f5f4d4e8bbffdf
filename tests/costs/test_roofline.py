from dataclasses import astuple, replace

import pytest

from scalecli.architectures import TEXT_ARCHITECTURES, build_spec
from scalecli.costs import Batch
from scalecli.costs.hardware import Machine
from scalecli.costs.memory import Training
from scalecli.costs.roofline import ACCURACY, FITTED, Constants, device_work, estimate, step_seconds
from scalecli.errors import ConfigurationError
from scalecli.shape import parse_name, presets
from tests.costs import speeds

BATCH = Batch(128, 512, 128)


@pytest.fixture(scope="module")
def published():
    return speeds.rows()


def spec_of(name, architecture="transformer"):
    return build_spec(architecture, parse_name(name, architecture))


def test_the_published_speeds_are_all_there(published):
    assert len(published) == 68 and len({row.name for row in published}) == 68
    assert {row.machine.chips for row in published} == {16, 64}


def test_the_constants_are_the_fit(published):
    """Rounded to three digits."""
    assert astuple(FITTED) == pytest.approx(astuple(speeds.fit(published)), rel=5e-3)


def test_the_accuracy_that_is_printed_is_theirs(published):
    computed = speeds.accuracy(published, FITTED)
    assert astuple(ACCURACY) == pytest.approx(astuple(computed), abs=5e-4)


def test_the_fit_finds_constants_that_made_the_speeds(published):
    """So it is the rows that decide, not where it starts."""
    made = Constants(product_efficiency=0.3, elementwise_bytes=8.0, weight_passes=5.0, step_seconds=0.002)
    rows = [replace(row, steps_per_s=speeds.estimated(row, made).steps_per_s) for row in published]
    assert astuple(speeds.fit(rows)) == pytest.approx(astuple(made), rel=1e-3)


@pytest.mark.parametrize("architecture", TEXT_ARCHITECTURES)
def test_every_architecture_has_a_speed(architecture):
    speed = estimate(build_spec(architecture, presets(architecture)["base"]), BATCH, Machine(), Training())
    assert 1 < speed.steps_per_s < 20
    assert speed.steps_per_s == pytest.approx(1 / sum(speed.seconds.values()))
    assert speed.seconds[speed.limit] == max(speed.seconds.values())


def test_what_limits_is_named():
    machine = Machine()
    assert estimate(spec_of("tiny"), BATCH, machine, Training()).limit == "fixed time of a step"
    assert estimate(spec_of("base"), BATCH, machine, Training()).limit == "matrix products"
    assert estimate(spec_of("xl"), Batch(1), Machine("h200", 1), Training()).limit == "memory"
    assert estimate(spec_of("xl"), Batch(8), Machine("h200", 8), Training()).limit == "interconnect"


def test_matrix_products_are_those_of_the_training_flops():
    spec = spec_of("base")
    work = device_work(spec, BATCH, Machine("h100", 1), Training())
    counted = spec.multiply_adds(512, 128)
    products = sum(
        counted[component] for component in ("attention projections", "attention scores", "feed-forward", "logits")
    )
    assert work.product_flops == 6 * 128 * products
    assert work.elementwise == 3 * 128 * (counted["elementwise"] + counted["products"])
    assert work.weight_bytes == 4 * spec.parameters()
    assert work.interconnect_bytes == 0


def test_rematerialisation_does_the_forward_pass_again():
    plain, again = (device_work(spec_of("base"), BATCH, Machine(), Training(rematerialised=on)) for on in (False, True))
    assert again.product_flops == pytest.approx(plain.product_flops * 4 / 3)
    assert again.weight_bytes == plain.weight_bytes


def test_replicas_add_up_gradients_and_their_devices_partial_sums():
    spec = spec_of("base")
    gradients = 4 * spec.parameters()
    data_parallel = device_work(spec, BATCH, Machine("h100", 4), Training())
    assert data_parallel.interconnect_bytes == pytest.approx(2 * 3 / 4 * gradients)
    model_parallel = device_work(spec, BATCH, Machine("h100", 2, 2), Training())
    # Forwards and backwards: two sublayers of the encoder, three of the decoder; embeddings and the logits' gradient.
    sums = 12 * 2 * 2 * 512 + 12 * 2 * 3 * 128 + 512 + 2 * 128
    assert model_parallel.interconnect_bytes == pytest.approx(2 * 1 / 2 * 2 * 128 * 768 * sums)


def test_what_every_core_repeats_does_not_get_less_by_model_parallelism():
    spec = spec_of("large", "lconv")
    one, two = (device_work(spec, BATCH, Machine("tpu-v3", 16, parallel), Training()) for parallel in (1, 2))
    assert two.product_flops > 1.2 * one.product_flops
    dense = spec_of("large")
    one, two = (device_work(dense, BATCH, Machine("tpu-v3", 16, parallel), Training()) for parallel in (1, 2))
    assert two.product_flops == pytest.approx(one.product_flops)


def test_float32_moves_more_and_is_no_faster():
    spec, machine = spec_of("base"), Machine("h100", 8)
    narrow, wide = (
        step_seconds(device_work(spec, BATCH, machine, training), machine, training)
        for training in (Training(), Training(precision="float32"))
    )
    assert wide["matrix products"] == pytest.approx(2 * narrow["matrix products"])
    assert narrow["memory"] < wide["memory"] < 2 * narrow["memory"]


def test_bfloat16_on_a_cpu_is_refused():
    with pytest.raises(ConfigurationError, match="float32"):
        estimate(spec_of("tiny"), Batch(1), Machine("cpu", 1), Training())
