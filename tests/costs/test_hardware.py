import pytest

from scalecli.costs.hardware import Machine, chips, energy_kwh
from scalecli.errors import ConfigurationError

TPUS = ("tpu-v2", "tpu-v3", "tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e")


def test_the_chips():
    assert tuple(chips()) == (*TPUS, "a100-40", "a100-80", "h100", "h200", "cpu")


@pytest.mark.parametrize("name", chips())
def test_every_figure_of_a_chip_can_be(name):
    chip = chips()[name]
    assert 1e11 < chip.float32_flops < 1e15
    assert chip.bfloat16_flops is None or chip.float32_flops <= chip.bfloat16_flops < 1e15
    assert 1e10 < chip.memory_bytes < 2e11
    # Products need more operations than bytes on every machine: else a column has the wrong unit.
    assert 1 < chip.float32_flops / chip.memory_bytes_per_s < 1000
    assert chip.interconnect_bytes_per_s < chip.memory_bytes_per_s
    assert 10 < chip.watts <= 700 and chip.power


def test_a_tpu_v3():
    """As cloud.google.com/tpu/docs/v3 has it."""
    chip = chips()["tpu-v3"]
    assert (chip.flops("bfloat16"), chip.memory_bytes, chip.memory_bytes_per_s) == (123e12, 32 * 2**30, 900e9)
    machine = Machine("tpu-v3", 16, 8)
    assert (machine.devices, machine.replicas, machine.device_memory_bytes) == (32, 4, 16 * 2**30)


def test_precision_where_nobody_says():
    assert {name for name, chip in chips().items() if chip.precision == "float32"} == {"cpu"}
    with pytest.raises(ConfigurationError, match=r"slower in bfloat16.*--precision float32"):
        chips()["cpu"].flops("bfloat16")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("tpu-v7",), r"no chip 'tpu-v7'; there are tpu-v2, .*cpu; did you mean 'tpu-v"),
        (("v5p",), "did you mean 'tpu-v5p'"),
        (("H100",), "did you mean 'h100'"),
        (("tpu-v3", 16, 5), "--model-parallel 5 does not divide the 32 devices of 16 tpu-v3; 1, 2, 4, 8, 16, 32 are"),
        (("tpu-v3", 0), "from 1"),
        (("cpu", 2), "--chips 2: cpu has no interconnect; --chips 1"),
    ],
)
def test_machines_that_cannot_be(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        Machine(*settings)


def test_a_batch_divides_over_the_replicas():
    assert Machine("tpu-v3", 16, 2).sequences_per_replica(128) == 8
    with pytest.raises(ConfigurationError, match=r"--batch 100 does not divide into 32 equal shares.*multiple of 32"):
        Machine("tpu-v3", 16).sequences_per_replica(100)


def test_more_chips_than_the_interconnect_joins_are_warned_of():
    assert Machine("h100", 8).warnings() == []
    assert "h100 are joined 8 at most" in Machine("h100", 16).warnings()[0]


def test_energy_of_t5s_own_training():
    """11B took 85.7 MWh in 20 days on 512 TPU v3 at a PUE of 1.12 (Patterson et al. 2021, Table 4)."""
    assert energy_kwh(Machine("tpu-v3", 512), 20 * 24 * 3600, pue=1.12) == pytest.approx(85_700, rel=0.01)


def test_energy_is_proportional_to_chips_time_and_overhead():
    one = energy_kwh(Machine("h100", 1), 3600, pue=1.0)
    assert one == pytest.approx(0.7)
    assert energy_kwh(Machine("h100", 4), 7200, pue=1.5) == pytest.approx(12 * one)
