import pytest

from scalecli.analysis.papers.published import published_models
from scalecli.analysis.rows.run_costs import cost_notes, cost_of
from scalecli.analysis.rows.sources import row_of_published, row_of_run
from scalecli.manifest import Environment, Strategy, Throughput
from tests.analysis.runs import child_of, save_run


def cost(directory, *devices, **changes):
    environment = Environment(python="3.11.7", scalecli="0.1.0", devices=list(devices))
    return cost_of(row_of_run(save_run(directory / "run", environment=environment, **changes), "forward"))


def test_a_run_s_time_is_its_steps_at_its_speed(tmp_path):
    spent = cost(tmp_path, "CPU:0", "2 cores, x86_64")
    # 300 steps at 2.5 steps/s; 15 W for two cores and 1.1 for the data center.
    assert spent.hours == pytest.approx(120 / 3600)
    assert (spent.chip, spent.devices, spent.device_hours) == ("cpu", 2, pytest.approx(240 / 3600))
    assert spent.kwh == pytest.approx(15 * 120 * 1.1 / 3.6e6)
    assert spent.kg_co2e == pytest.approx(spent.kwh * 0.429)
    assert cost(tmp_path, "CPU:0", "8 cores, x86_64").kwh == pytest.approx(4 * spent.kwh)


@pytest.mark.parametrize(
    ("device", "chip", "watts"),
    [
        ("GPU:0 NVIDIA H200", "h200", 700),
        ("GPU:0 NVIDIA H100 80GB HBM3", "h100", 700),
        ("GPU:0 NVIDIA A100-SXM4-40GB", "a100-40", 400),
        ("GPU:0 NVIDIA A100-SXM4-80GB", "a100-80", 400),
        ("GPU:0 NVIDIA GeForce RTX 4090", None, None),
        ("GPU:0", None, None),
    ],
)
def test_the_chip_is_the_one_that_the_manifest_names(tmp_path, device, chip, watts):
    spent = cost(tmp_path, "CPU:0", device, "16 cores, x86_64", strategy=Strategy(kind="mirrored", replicas=4))
    assert (spent.chip, spent.devices) == (chip, 4)
    assert spent.kwh == (watts and pytest.approx(4 * watts * 120 * 1.1 / 3.6e6))
    assert (spent.kg_co2e is None) == (watts is None)


def test_an_evaluation_takes_from_its_start_to_its_end(tmp_path):
    save_run(tmp_path / "first")
    child = child_of(tmp_path / "first", "../first", kind="eval")
    assert cost(tmp_path, "CPU:0", **child).hours == 1
    assert cost(tmp_path, "CPU:0", **child, finished=None) is None


def test_without_a_speed_there_is_no_cost(tmp_path):
    assert cost(tmp_path, "CPU:0", throughput=None) is None
    assert cost(tmp_path, "CPU:0", throughput=Throughput(steps_per_s=0.0, tokens_per_s=0.0)) is None


def test_published_models_cost_their_pretraining():
    spent = cost_of(row_of_published(published_models()["small"]))
    # 524,288 steps at 23 steps/s on 16 chips of 310 W.
    assert spent.device_hours == pytest.approx(16 * 524_288 / 23 / 3600)
    assert spent.kwh == pytest.approx(16 * 310 * 524_288 / 23 * 1.1 / 3.6e6)
    assert cost_of(row_of_published(published_models()["nl12-xxl"])) is None


def test_notes_say_what_energy_rests_on(tmp_path):
    costs = [cost(tmp_path, "CPU:0"), cost_of(row_of_published(published_models()["small"])), cost(tmp_path, "GPU:0")]
    (note,) = cost_notes(costs)
    assert note.startswith("Energy: cpu 15 W (two cores' share, our guess); tpu-v3 310 W (server share, measured in")
    assert note.endswith("x time x 1.1 (PUE); CO2e: 0.429 kg/kWh.")
    assert cost_notes(costs[2:]) == []
