import click
import pytest
from click.testing import CliRunner

from scalecli.analysis.advice.shapes import Setting
from scalecli.cli.shape.choosing import (
    ALTERNATIVE_COLUMNS,
    CANDIDATE_COLUMNS,
    alternative_notes,
    alternative_rows,
    candidate_notes,
    candidate_rows,
    choosing_options,
)
from scalecli.costs import Batch
from scalecli.costs.hardware import Machine
from scalecli.costs.memory import Training
from scalecli.errors import ConfigurationError, UsageError
from scalecli.references import resolve_model

PAPERS = Setting(Machine(), Training(), Batch())


def options(*arguments):
    """What the options arrive as."""
    received = {}

    @click.command()
    @choosing_options
    def command(**arrived):
        received.update(arrived)

    result = CliRunner().invoke(command, arguments)
    if result.exception:
        raise result.exception
    return received


def test_nothing_is_looked_for_without_options():
    assert options() == {"like": None, "cheaper": None, "budgets": {}}


def test_what_is_looked_for():
    assert options("--like", "base", "--cheaper", "Parameters")["cheaper"] == "parameters"
    given = options("--budget", "flops=8e12", "--budget", "parameters=200M", "--budget", "steps_per_s=2.5")
    assert given["budgets"] == {"flops": 8e12, "parameters": 2e8, "steps/s": 2.5}
    assert options("--budget", "memory=16G")["budgets"] == {"memory": 1.6e10}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--like", "base"], "--like MODEL and --cheaper COST go together"),
        (["--cheaper", "flops"], "go together"),
        (["--like", "base", "--cheaper", "flops", "--budget", "flops=1T"], "one of them at a time"),
        (["--like", "base", "--cheaper", "flop"], "no cost 'flop'; there are .*did you mean 'flops'"),
        (["--budget", "flops"], "COST=VALUE is accepted"),
        (["--budget", "speed=3"], "no cost 'speed'"),
        (["--budget", "flops=much"], "--budget flops=much: expected a number"),
        (["--budget", "flops=0"], "a number above 0"),
        (["--budget", "flops=-1"], "a number above 0"),
        (["--budget", "flops=1", "--budget", "flops=2"], "limited twice"),
    ],
)
def test_options_that_do_not_fit(arguments, message):
    with pytest.raises(UsageError, match=message):
        options(*arguments)


def test_candidates():
    rows = candidate_rows("transformer", {"flops": 8e12}, PAPERS)
    assert all(set(row) == {column.key for column in CANDIDATE_COLUMNS} for row in rows)
    assert rows[0]["name"] == "small-nl18" and rows[0]["used_percent"] == pytest.approx(98.1, abs=0.1)
    assert "16 tpu-v3, model parallelism 1, 128 x 512 + 114 tokens" in candidate_notes(PAPERS)[-1]


def test_no_candidate_is_an_error_that_says_the_limits():
    message = "no size of glu has parameters up to 1e.06, steps/s of at least 5 on 16 tpu-v3"
    with pytest.raises(ConfigurationError, match=message):
        candidate_rows("glu", {"parameters": 1e6, "steps/s": 5}, PAPERS)


def test_alternatives():
    model = resolve_model("base")
    rows = alternative_rows(model, "parameters", PAPERS)
    assert all(set(row) == {column.key for column in ALTERNATIVE_COLUMNS} for row in rows)
    assert [row["name"] for row in rows[:2]] == ["base", "small-el32"]
    assert rows[0]["difference"] is None and rows[1]["change_percent"] == pytest.approx(-36.1, abs=0.1)
    notes = alternative_notes(model, "parameters", rows, PAPERS)
    assert notes[0] == "small-nl16: offered by the paper instead, though the score is lower."


def test_no_alternative_is_said():
    model = resolve_model("tiny", architecture="glu")
    rows = alternative_rows(model, "flops", PAPERS)
    assert [row["name"] for row in rows] == ["glu-tiny"]
    assert alternative_notes(model, "flops", rows, PAPERS)[0] == (
        "Nothing is published that is as good as tiny and has better flops."
    )


def test_a_model_without_a_published_score_is_refused():
    with pytest.raises(ConfigurationError, match=r"--like base-nl14: no score of it is published.*--budget"):
        alternative_rows(resolve_model("base-nl14"), "flops", PAPERS)
