"""Data and model parallelism on eight virtual CPUs of JAX: one device's numbers, without TensorFlow installed."""

import sys
from types import SimpleNamespace

import jax
import keras
import numpy as np
import pytest

from scalecli.devices import Request, open_devices
from scalecli.devices.jax import JaxDevices, PlannedDevices
from scalecli.devices.one_device import ONE_DEVICE
from scalecli.errors import ConfigurationError
from scalecli.models.encoder_decoder import EncoderDecoder
from tests import oracle
from tests.devices.batches import batch_of, images_batch
from tests.devices.trials import SMALL_RATE, STEPS, assert_same, trial_on, vision_model
from tests.steps import steps_of


def devices_of(count, model_parallel=1):
    return JaxDevices(jax.devices()[:count], model_parallel)


def repeated(batch):
    return lambda devices: iter([jax.tree.map(devices._shared_rows, batch)] * STEPS)


@pytest.fixture(scope="module")
def alone():
    return trial_on(devices_of(1), repeated(batch_of(packed=True)))


@pytest.mark.parametrize(("count", "model_parallel", "accumulation"), [(8, 1, 1), (8, 2, 1), (4, 4, 2)])
def test_any_mesh_is_one_device(alone, count, model_parallel, accumulation):
    devices = devices_of(count, model_parallel)
    several = trial_on(devices, repeated(batch_of(packed=True)), accumulation=accumulation)
    assert_same(several, alone)
    whole = [variable.value.sharding.is_fully_replicated for variable in several.optimizer.variables]
    assert all(whole) == (model_parallel == 1)


def test_adamw_has_moments_where_the_weights_are():
    devices = devices_of(4, 2)
    options = {"optimizer": "adamw", "rate": 1e-3}
    several = trial_on(devices, repeated(batch_of(packed=True)), **options)
    assert_same(several, trial_on(devices_of(1), repeated(batch_of(packed=True)), **options))
    state = several.optimizer.state_by_path(several.variables)
    for path, variable in several.variables.items():
        for kind in ("momentum", "velocity"):
            assert state[f"{path}/{kind}"].value.sharding == variable.value.sharding, path
    assert not all(variable.value.sharding.is_fully_replicated for variable in several.variables.values())


IMAGES = {"batches": repeated(images_batch()), "make": vision_model, "rate": SMALL_RATE}


@pytest.fixture(scope="module")
def images_alone():
    return trial_on(devices_of(1), **IMAGES)


@pytest.mark.parametrize(("count", "model_parallel", "accumulation"), [(8, 1, 1), (4, 2, 2)])
def test_any_mesh_of_a_vision_transformer_is_one_device(images_alone, count, model_parallel, accumulation):
    several = trial_on(devices_of(count, model_parallel), accumulation=accumulation, **IMAGES)
    assert_same(several, images_alone)
    is_whole = {path: each.value.sharding.is_fully_replicated for path, each in several.variables.items()}
    assert is_whole["logits/kernel"] and is_whole["encoder/0/feed_forward/input"] == (model_parallel == 1)


@pytest.mark.parametrize("architecture", ["switch", "evolved"])
def test_experts_and_branches_are_split(architecture):
    devices = devices_of(4, 2)
    model = devices.new_model(lambda: EncoderDecoder(oracle.small_spec(architecture)))
    weights = model.weights_by_path()
    split = {path: tuple(variable.value.sharding.spec) for path, variable in weights.items()}
    if architecture == "switch":
        assert split["encoder/0/experts/input"] == (None, "data", None, "model")
        assert split["encoder/0/experts/router"] == (None, None, None)
    else:
        path = next(path for path in split if path.startswith("decoder/0/") and path.endswith("cross_attention/query"))
        assert split[path] == (None, None, "model")
    whole, values = EncoderDecoder(oracle.small_spec(architecture)), devices.numpy(weights)
    for path, variable in whole.weights_by_path().items():
        variable.assign(values[path])
    losses = [
        where.mapped(model, lambda batch, model=model: model.losses(batch).cross_entropy, "rows")(batch_of())
        for where, model in ((devices, model), (ONE_DEVICE, whole))
    ]
    np.testing.assert_allclose(*losses, atol=1e-5)


def test_a_layout_is_planned_without_values():
    def make():
        return EncoderDecoder(oracle.small_spec("transformer"))

    model = devices_of(4, 2).new_model(make)
    before = len(jax.live_arrays())
    planned = PlannedDevices(jax.devices()[:4], 2)
    skeleton = planned.new_model(make)
    steps, optimizer = steps_of(skeleton, 0.01, devices=planned)
    with keras.StatelessScope():
        pass  # at whose end Keras gives values to variables that it knows to have none
    lowered = steps.lowered({"inputs": ((4, 16), "int32"), "targets": ((4, 8), "int32")})
    assert len(jax.live_arrays()) - before < 3  # the optimizer's own count of steps
    weights, state, batch = lowered.in_avals[0]
    for found, variables in ((weights, skeleton.trainable_variables), (state, optimizer.variables)):
        assert [each.shape for each in found] == [tuple(variable.shape) for variable in variables]
    assert batch["inputs"].shape == (4, 16)
    for planned_one, real in zip(skeleton.variables, model.variables, strict=True):
        assert planned.sharding(planned_one).is_equivalent_to(real.value.sharding, len(real.shape))


def test_strategies_that_are_not_jaxs_are_refused():
    assert keras.backend.backend() == "jax"
    with pytest.raises(ConfigurationError, match="is TensorFlow's"):
        open_devices(Request("mirrored"))
    with pytest.raises(ConfigurationError, match="does not divide the 8 devices"):
        open_devices(Request(model_parallel=3))
    assert [open_devices(Request(usual_parallel=usual)).replicas for usual in (1, 2, 3)] == [8, 4, 8]
    assert open_devices(Request(model_parallel=1, usual_parallel=2)).replicas == 8
    with pytest.raises(ConfigurationError, match="does not divide heads 4"):
        devices_of(8, 8).new_model(lambda: EncoderDecoder(oracle.small_spec("transformer")))


def test_tensorflow_leaves_gpus_to_jax_before_it_reads_anything(monkeypatch):
    hidden = []
    config = SimpleNamespace(set_visible_devices=lambda devices, kind: hidden.append((devices, kind)))
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    open_devices(Request("one"))
    assert hidden == [([], "GPU")]


@pytest.fixture
def all_platforms():
    """JAX is not told which platforms to take."""
    jax.devices()
    before = jax.config.jax_platforms
    jax.config.update("jax_platforms", None)
    yield
    jax.config.update("jax_platforms", before)


@pytest.mark.parametrize(
    ("chips", "coordinator", "kind", "joined"),
    [
        ([], None, "auto", False),
        ([], "host:1234", "auto", True),
        (["v5e"] * 4, None, "auto", True),
        (["v5e"] * 4, None, "one", False),
    ],
)
def test_processes_join_as_a_coordinator_or_a_tpu_slice_tells(
    all_platforms, monkeypatch, chips, coordinator, kind, joined
):
    calls = []
    monkeypatch.setattr("scalecli.devices.jax.tpu_chips", lambda: chips)
    monkeypatch.setattr(jax.distributed, "initialize", lambda: calls.append(True))
    if coordinator:
        monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", coordinator)
    open_devices(Request(kind))
    assert bool(calls) == joined
