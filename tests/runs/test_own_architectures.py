"""Runs of users' architectures: what they remember, and what is executed."""

import hashlib

import pytest

from scalecli.architectures import loading
from scalecli.cli.main import run
from scalecli.manifest import load_manifest
from scalecli.studies import execution
from tests.documents import models
from tests.own_architectures import EXAMPLES, forget, forgetting, write

pytestmark = pytest.mark.usefixtures("forgetting")
__all__ = ["forgetting"]
SIZE = "tiny-dm16-ff16-nh2-kv8-nl1"
PRETRAINING = ("--steps", "1", "--batch", "4", "--inputs-length", "32", "--vocabulary", "train:500", "--warmup", "1")
REFUSED = {
    "fnet": "a Fourier transform mixes all positions of a row",
    "synthesizer": "its scores belong to the positions of a row",
}
TASK = ("--train", "t.tsv", "--validation", "t.tsv", "--input", "{text}", "--target", "label", "--metrics", "accuracy")
TUNING = ("--name", "toy", *TASK, "--steps", "1", "--batch", "4", "--task-inputs-length", "16")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCALECLI_CACHE", str(tmp_path / "cache"))
    (tmp_path / "t.tsv").write_text("text\tlabel\n" + "".join(f"number {n}\t{n % 2}\n" for n in range(8)))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_train_and_what_follows(name, tmp_path, capsys):
    own = ("--arch", str(EXAMPLES[name]))
    assert run(["pretrain", SIZE, *own, "--run", "first", *PRETRAINING]) == 0
    manifest = load_manifest("first")
    content = EXAMPLES[name].read_bytes()
    assert manifest.architecture == name and manifest.architecture_file.name == f"{name}.py"
    assert manifest.architecture_file.sha256 == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "first" / "architecture.py").read_bytes() == content
    capsys.readouterr()

    forget()
    assert run(["finetune", "first", *TUNING, "--run", "tuned"]) == 3
    assert f"its architecture {name} is code of a user's" in capsys.readouterr().err
    assert not list(loading._CODES)
    assert run(["finetune", "first", *own, *TUNING, "--packed", "--run", "tuned"]) == 0
    assert f"rows are padded, not packed: {REFUSED[name]}" in capsys.readouterr().err
    assert load_manifest("tuned").architecture_file == manifest.architecture_file
    assert run(["eval", "tuned", *own]) == 0
    capsys.readouterr()

    assert run(["compare", "first", "tuned", "published:glu-small", *own, "--arch", "glu", "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["first", "tuned", "glu-small"]

    forget()
    assert run(["compare", "first", "published:glu-small", "--format", "csv"]) == 0
    captured = capsys.readouterr()
    assert "first" not in captured.out and f"give --arch {name}.py" in captured.err


def test_a_file_that_has_changed(capsys):
    text = EXAMPLES["fnet"].read_text()
    assert run(["pretrain", SIZE, "--arch", write(text, "fnet.py"), "--run", "first", *PRETRAINING]) == 0
    forget()
    assert run(["shape", "first", "--arch", write(text + "# a comment\n", "fnet.py")]) == 0
    capsys.readouterr()

    changed = text.replace("build=build", "build=lambda shape: build(shape.changed(d_ff=32))")
    forget()
    again = ["pretrain", SIZE, "--arch", write(changed, "fnet.py"), "--run", "first", *PRETRAINING]
    for command in (["shape", "first", "--arch", "./fnet.py"], again):
        assert run(command) == 3
        error = capsys.readouterr().err.splitlines()[-1]
        before, after = (load_manifest("first").parameters.total + extra for extra in (0, 2 * 2 * 16 * 16))
        assert f"./fnet.py has changed since: {before:,} parameters then, {after:,} now; " in error


def test_a_study_trains_them_and_export_refuses_them(tmp_path, capsys, monkeypatch):
    def in_this_process(words):
        forget()  # as in the new one that a study starts
        return run(words)

    monkeypatch.setattr(execution, "run_process", in_this_process)
    write(EXAMPLES["fnet"].read_text(), "fnet.py")
    study = f"shapes: [{SIZE}]\narchitectures: [transformer, ./fnet.py]\nsteps: 2\n"
    study += "data: {vocabulary: 'train:500', inputs_length: 32}\npretrain: {batch: 4, warmup: 1}\n"
    (tmp_path / "mine.yaml").write_text(study)
    assert run(["study", "run", "mine.yaml"]) == 0
    runs = [SIZE, f"fnet-{SIZE}"]
    for name in runs:
        manifest = load_manifest(f"runs/mine/{name}")
        assert (manifest.status, manifest.steps) == ("completed", 2)
        assert manifest.architecture == ("fnet" if name.startswith("fnet") else "transformer")
        assert manifest.results[2]["validation/negative_log_perplexity"] < 0

    forget()
    capsys.readouterr()
    assert run(["compare", "runs/mine/*", "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert [row["name"] for row in models(captured.out)] == [SIZE]
    assert captured.err.splitlines()[0] == (
        f"warning: left out: runs/mine/fnet-{SIZE}/run.yaml: its architecture fnet is code of a user's, "
        "which runs only where a command names it: give --arch fnet.py (the run's directory holds a copy, "
        "architecture.py)"
    )
    assert run(["compare", "runs/mine/*", "--arch", "fnet.py", "--arch", "transformer", "--format", "json"]) == 0
    assert {row["name"] for row in models(capsys.readouterr().out)} == {*runs}

    forget()
    for target in ("hugging-face", "keras-hub", "npz"):
        assert run(["export", f"runs/mine/fnet-{SIZE}", "exported", "--to", target]) == 3
        assert capsys.readouterr().err == (
            f"error: {tmp_path}/runs/mine/fnet-{SIZE}: its architecture fnet is a user's, which no other library has; "
            f"transformer, glu and vit are accepted, and {tmp_path}/runs/mine/fnet-{SIZE}/checkpoints/00000002/"
            "weights.safetensors has the weights by name\n"
        )
    assert not (tmp_path / "exported").exists()


def test_a_study_has_them_beside_the_others(tmp_path, capsys):
    (tmp_path / "fnet.py").write_text(EXAMPLES["fnet"].read_text())
    study = "shapes: [tiny]\narchitectures: [transformer, ./fnet.py, ./fnet.py-np1024]\nsteps: 1\n"
    (tmp_path / "mine.yaml").write_text(study)
    assert run(["study", "run", "mine.yaml", "--dry-run", "--format", "json"]) == 0
    out = capsys.readouterr().out
    assert all(f'"{name}"' in out for name in ("tiny", "fnet-tiny", "fnet-np1024-tiny"))
