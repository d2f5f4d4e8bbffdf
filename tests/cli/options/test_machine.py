import json
from dataclasses import replace

import click
import pytest
from click.testing import CliRunner

from scalecli import costs
from scalecli.architectures import build_spec
from scalecli.cli.options.machine import RUN_COLUMNS, RUN_NARROW, run_figures, run_from, run_notes, run_options
from scalecli.cli.output.formats import print_record
from scalecli.costs import Batch
from scalecli.costs.hardware import Machine
from scalecli.costs.memory import Training
from scalecli.errors import ConfigurationError
from scalecli.shape import parse_name


@click.command()
@click.argument("size")
@run_options
def command(size, run):
    if run is None:
        click.echo("none")
    else:
        print_record(
            "runs", run_figures(build_spec("transformer", parse_name(size)), Batch(), run), RUN_COLUMNS, "json"
        )


def invoke(*arguments):
    result = CliRunner().invoke(command, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def figures(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)["tables"]["runs"][0]


def test_without_any_option_there_is_no_run():
    assert invoke("base").output == "none\n"


def test_any_option_completes_the_papers_run():
    row = figures("base", "--chip", "tpu-v3")
    assert row == figures("base", "--steps", "524288") == figures("base", "--chips", "16")
    assert (row["chip"], row["chips"], row["replicas"], row["steps"]) == ("tpu-v3", 16, 32, 2**19)
    assert (row["optimizer"], row["precision"], row["rematerialised"]) == ("adafactor", "bfloat16", False)
    # The papers trained 9.3 steps a second of 128 targets, here 114.
    assert row["steps_per_s"] == pytest.approx(9.4, abs=0.2)


def test_the_sums_of_a_run():
    row = figures("small", "--steps", "1000", "--pue", "1.5", "--grid", "0.2")
    spec = build_spec("transformer", parse_name("small"))
    assert row["run_flops"] == 1000 * sum(costs.flops(spec, Batch(), "training").values())
    assert row["tokens"] == 1000 * 128 * (512 + 114)
    assert row["hours"] == pytest.approx(1000 / row["steps_per_s"] / 3600)
    assert row["device_hours"] == pytest.approx(16 * row["hours"])
    assert row["kwh"] == pytest.approx(row["device_hours"] * 0.310 * 1.5)
    assert row["kg_co2e"] == pytest.approx(0.2 * row["kwh"])
    assert row["tokens_per_s"] == pytest.approx(row["steps_per_s"] * 128 * 626, abs=1)
    peak = 16 * 123e12
    assert row["peak_percent"] == pytest.approx(100 * row["run_flops"] / (row["hours"] * 3600) / peak)


def test_what_does_not_fit_says_what_would():
    machine = ("--model-parallel", "8", "--chips", "8")
    row = figures("xl", *machine)
    assert row["fits"] is False and row["device_bytes"] > row["device_memory"]
    assert row["fits_with"] == "--rematerialise or --chips 16 or --batch 64"
    row = figures("xl", *machine, "--rematerialise")
    assert row["fits"] is True and row["fits_with"] is None
    assert (
        figures("xxxl", "--chip", "tpu-v2", "--chips", "1", "--model-parallel", "2")["fits_with"] == "no single option"
    )


def test_parts_of_memory_add_up():
    row = figures("base", "--optimizer", "adamw", "--precision", "float32")
    parts = ("weights", "gradients", "optimizer_state", "activations")
    assert row["device_bytes"] == sum(row[part] for part in parts)
    assert row["optimizer_state"] == 2 * row["weights"]


@pytest.mark.parametrize(("chip", "chips", "precision"), [("cpu", 1, "float32"), ("h100", 8, "bfloat16")])
def test_as_many_chips_as_are_joined(chip, chips, precision):
    run = run_from({"chip": chip})
    assert run.machine == Machine(chip, chips) and run.training == Training(precision=precision)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--chip", "tpu-v33"], "no chip 'tpu-v33'.*did you mean 'tpu-v3'"),
        (["--model-parallel", "3"], "--model-parallel 3 does not divide the 32 devices"),
        (["--model-parallel", "8"], "--model-parallel 8 does not divide heads 12"),
        (["--chips", "3"], "--batch 128 does not divide into 6 equal shares"),
        (["--chip", "cpu", "--chips", "2"], "cpu has no interconnect"),
        (["--chip", "cpu", "--precision", "bfloat16"], "slower in bfloat16 than in float32; use --precision float32"),
    ],
)
def test_runs_that_cannot_be(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        invoke("base", *arguments)


@pytest.mark.parametrize("arguments", [["--chips", "0"], ["--pue", "0"], ["--optimizer", "adam"], ["--steps", "x"]])
def test_values_that_cannot_be(arguments):
    assert invoke("base", *arguments).exit_code == 2


def test_notes_state_how_good_the_estimate_is_and_what_power_is():
    papers, other = run_from({}), run_from({"chip": "tpu-v5e"})
    first, second = run_notes(papers)
    assert "68 published speeds 56 are met within 25%" in first and "extrapolation" not in first
    assert "310 W for each tpu-v3 (server share, measured" in second and "0.429 kg/kWh" in second
    assert "on tpu-v5e it is an extrapolation" in run_notes(other)[0] and "our guess" in run_notes(other)[1]
    many = replace(other, machine=Machine("h100", 16))
    assert "joined 8 at most" in run_notes(many)[-1]


def test_narrow_columns_are_columns():
    assert set(RUN_NARROW) <= {column.key for column in RUN_COLUMNS}
