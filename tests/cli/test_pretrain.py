"""What `pretrain` refuses and shows before anything is started; nothing here imports TensorFlow."""

import json
import os
import re

import click
import pytest

from scalecli.cli.main import run
from scalecli.costs.hardware import Machine
from scalecli.costs.this_machine import COMPILE_SECONDS, IMPORT_SECONDS
from scalecli.data.text.vocabulary_training import train_vocabulary
from scalecli.errors import ScalecliError
from scalecli.manifest import save_manifest
from scalecli.shape import presets
from tests.manifests import example_manifest

FIELDS = "encoder_layers: 2\ndecoder_layers: 2\nd_model: 16\nd_ff: 32\nd_kv: 8\nheads: 2\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A text, a vocabulary of 30 pieces (130 ids, 256 rows), and a shape file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("one or two words of a text\n" * 60)
    train_vocabulary(["the quick brown fox jumps over the lazy dog and on and on"] * 50, 30, tmp_path / "v.model")
    (tmp_path / "shape.yaml").write_text(FIELDS)
    return tmp_path


@pytest.fixture
def plan(invoke):
    """A dry run."""
    return lambda *arguments: invoke("pretrain", *arguments, "--dry-run", "--format", "json")


def rows(out):
    return json.loads(out)["tables"]["plan"][0]["shape"]["vocabulary"]


USUAL = ("shape.yaml", "--text", "text.txt", "--vocabulary", "v.model")


def test_the_rows_are_those_of_the_vocabulary(plan):
    assert rows(plan(*USUAL)[1]) == 256
    assert rows(plan("tiny", "--vocabulary", "v.model")[1]) == 256
    assert rows(plan("tiny", "--vocabulary", "t5")[1]) == 32_128
    assert rows(plan("tiny", "--vocabulary", "train:300")[1]) == 512
    assert not os.path.exists("runs")


def test_a_shape_files_own_rows_are_kept_or_refused(plan, folder):
    (folder / "shape.yaml").write_text(FIELDS + "vocabulary: 300\n")
    assert rows(plan(*USUAL)[1]) == 300
    assert rows(plan(*USUAL, "--nl", "3")[1]) == 300
    code, out, err = plan("shape.yaml", "--text", "text.txt", "--vocabulary", "train:201")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "vocabulary: 300, too few for 301 ids (201 pieces and 100 sentinels)" in err


def test_a_written_preset_takes_the_rows_of_the_vocabulary(plan, capsys):
    assert run(["shape", "tiny", "-o", "written.yaml"]) == 0
    capsys.readouterr()
    assert rows(plan("written.yaml", "--vocabulary", "v.model")[1]) == 256


def test_a_run_needs_its_checkpoint(plan, folder):
    save_manifest(example_manifest(shape=presets()["tiny"].to_dict()), "runs/first")
    code, _, err = plan("runs/first")
    assert code == 4 and "no checkpoint" in err
    (folder / "runs/first/checkpoints/00000300").mkdir(parents=True)
    assert rows(plan("runs/first")[1]) == 32_128


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--run", "s3://bucket/x"], 2, "s3://bucket/x: a local directory or gs://BUCKET/FOLDER is accepted"),
        (["--cache-directory", "gs://bucket/x"], 3, "gs://bucket/x: what is written to must be a local directory"),
        (["--text", "nowhere*.txt"], 4, "nowhere*.txt: no file matches"),
        (["--validation-text", "nowhere.txt"], 4, "nowhere.txt: no file matches"),
        (["--vocabulary", "nowhere.model"], 4, "nowhere.model: no such file"),
        (["--vocabulary", "text.txt"], 4, "text.txt: not a SentencePiece model"),
        (["--vocabulary", "train:9"], 3, "train:N takes a number of pieces from 10 on"),
        (["--vocabulary", "train:²"], 3, "train:N takes a number of pieces from 10 on"),
        (["--vocabulary", "train:" + "9" * 5000], 3, "train:N takes a number of pieces from 10 on"),
        (["--data-dir", "x"], 3, "--data-dir goes with --dataset"),
        (["--split", "x"], 3, "--split goes with --dataset"),
        (["--validation-split", "x"], 3, "--validation-split goes with --dataset"),
        (["--show-examples", "0"], 2, "'--show-examples': 0 is not in the range 1<=x<=1000000."),
        (["--learning-rate", "inf"], 3, "--learning-rate is inf; a finite number"),
        (["--z-loss", "nan"], 3, "--z-loss is nan; a finite number"),
        (["--dropout", "nan"], 3, "--dropout is nan; a finite number"),
        (["--noise-density", "nan"], 3, "--noise-density is nan; a finite number"),
        (["--mean-span-length", "inf"], 3, "--mean-span-length is inf; a finite number"),
        (["--peak-flops", "0"], 3, "--peak-flops is 0.0; a number above 0"),
        (["--peak-flops", "inf"], 3, "--peak-flops is inf; a number above 0"),
        (["--keep-step", "3", "--keep-step", "-1"], 3, "--keep-step is -1; a number above 0"),
    ],
)
def test_a_dry_run_refuses_what_a_run_would(plan, folder, arguments, code, message):
    got, out, err = plan(*USUAL, *arguments)
    assert (got, out, err.count("\n")) == (code, "", 1)
    assert message in err
    assert sorted(os.listdir(folder)) == ["shape.yaml", "text.txt", "v.model"]


def test_a_run_that_is_remote_and_in_no_bucket_is_refused(plan):
    save_manifest(example_manifest(shape=presets()["tiny"].to_dict()), "memory://bucket/run")
    code, _, err = plan("memory://bucket/run")
    assert code == 2 and "memory://bucket/run: no address of a bucket; gs://BUCKET/FOLDER is accepted" in err


def test_the_directory_may_be_the_one_at_hand(plan, folder, monkeypatch):
    (folder / "study").mkdir()
    monkeypatch.chdir(folder / "study")
    assert json.loads(plan("tiny", "--run", ".")[1])["tables"]["plan"][0]["directory"] == str(folder / "study")


@pytest.fixture
def start(monkeypatch, capsys):
    """Runs a command that would train; gives its exit code and stderr, which ends in STARTED where it got so far."""

    def started(job, reporter):
        raise ScalecliError("STARTED")

    monkeypatch.setattr("scalecli.runs.training.carry_out", started)

    def invoke(*arguments):
        return run(["pretrain", *arguments]), capsys.readouterr().err

    return invoke


def test_a_dry_run_estimates_the_time_on_this_machine(plan, monkeypatch):
    monkeypatch.setattr("scalecli.costs.this_machine.this_machine", lambda: Machine("cpu", 1))

    def hours(steps):
        return json.loads(plan(*USUAL, "--steps", steps)[1])["tables"]["plan"][0]["hours"]

    start = (IMPORT_SECONDS + COMPILE_SECONDS) / 3600
    assert hours(2000) - start == pytest.approx(2 * (hours(1000) - start))
    assert hours(1000) > start


def test_a_default_of_steps_that_takes_days_is_warned_of_or_asked_about(start, monkeypatch, folder):
    monkeypatch.setattr("scalecli.costs.this_machine.this_machine", lambda: Machine("cpu", 1))
    code, err = start("base", "--vocabulary", "v.model")
    warning, last = err.splitlines()
    assert code == 1 and last == "error: STARTED"
    assert re.fullmatch(
        r"warning: 524,288 steps, the default of --steps, take about [\d,.]+ days on this machine, "
        "by a roofline estimate",
        warning,
    )
    assert "default of --steps" not in start("base", "--vocabulary", "v.model", "--steps", "524288")[1]
    assert "default of --steps" not in start("shape.yaml", "--vocabulary", "v.model", "--inputs-length", "8")[1]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    asked = []
    monkeypatch.setattr(click, "confirm", lambda text, **options: asked.append((text, options)))
    assert "STARTED" in start("base", "--vocabulary", "v.model")[1]
    ((text, options),) = asked
    assert text.endswith(" on this machine, by a roofline estimate. Start?") and options == {"abort": True, "err": True}
    (folder / "runs" / "base").mkdir(parents=True)  # a run that is gone on with
    assert "default of --steps" not in start("base", "--vocabulary", "v.model")[1] and len(asked) == 1
