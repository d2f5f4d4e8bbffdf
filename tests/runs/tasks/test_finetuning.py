"""A pretrained run, finetuned on a task that it can learn, scored, measured on text, and set beside the others."""

import json
import pathlib
import random
import shutil
import signal

import pytest

from scalecli.data.text.vocabulary import load_vocabulary
from scalecli.manifest import load_manifest
from scalecli.storage import layout
from scalecli.storage.layout import MANIFEST
from tests.runs.conftest import SYLLABLES, command, metrics
from tests.runs.stopping.test_resuming import same_as

TASK = """
name: marker
train: train.tsv
validation: validation.tsv
input: "marker: {sentence}"
target: label
labels: [bad, good]
metrics: [accuracy, matthews]
lengths: {inputs: 32, targets: 6}
"""
MARKERS = ("nononono", "tititi")  # which of the two words is in the sentence is the label


def table(count, seed):
    draw = random.Random(seed)
    lines = ["sentence\tlabel"]
    for _ in range(count):
        label = draw.randrange(2)
        words = ["".join(draw.choices(SYLLABLES, k=2)) for _ in range(draw.randint(1, 5))]
        words.insert(draw.randrange(len(words) + 1), MARKERS[label])
        lines.append(f"{' '.join(words)}\t{label}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def task(material):
    """The task's file, with the tables beside it."""
    (material.folder / "train.tsv").write_text(table(500, 1))
    (material.folder / "validation.tsv").write_text(table(90, 2))
    file = material.folder / "task.yaml"
    file.write_text(TASK)
    return file


def finetuning(material, reference, directory, *arguments):
    usual = ["--batch", 32, "--steps", 140, "--learning-rate", 0.01, "--evaluation-batch", 32, "--checkpoint-every", 50]
    usual += ["--validate-every", 70, "--cache-directory", material.folder / "cache"]
    return command("finetune", reference, "--run", directory, *usual, *arguments)


@pytest.fixture(scope="module", params=["--padded", "--packed"])
def finetuned(request, material, reference, task):
    directory = material.folder / f"finetuned{request.param}"
    ran = finetuning(material, reference, directory, "--task", task, request.param)
    assert ran.code == 0, ran.err
    return directory


def test_the_task_is_learned(reference, finetuned):
    manifest, parent = load_manifest(finetuned), load_manifest(reference)
    assert (manifest.kind, manifest.status, manifest.data.packed) == (
        "finetune",
        "completed",
        "packed" in finetuned.name,
    )
    assert sorted(manifest.results) == [70, 140]
    assert manifest.results[140]["marker/accuracy"] > 85
    assert manifest.results[140]["marker/matthews"] > 70
    assert manifest.best.rule == "highest marker/accuracy"
    assert (manifest.dropout, manifest.schedule["name"]) == (0.1, "constant")
    assert manifest.shape == parent.shape
    assert (finetuned / manifest.parent.path).resolve() == reference.resolve()
    assert metrics(finetuned)[140, True]["loss"] < 0.2


def test_what_was_cut_is_in_the_manifest_and_said_once(material, reference, task, tmp_path, no_training):
    short = material.folder / "short.yaml"
    short.write_text(TASK.replace("name: marker", "name: short").replace("inputs: 32", "inputs: 12"))
    ran = finetuning(material, reference, tmp_path / "run", "--task", short, "--steps", 1)
    assert ran.code == 0, ran.err
    vocabulary = load_vocabulary(str(material.vocabulary), cache_directory=material.folder / "cache")
    warnings = load_manifest(tmp_path / "run").warnings
    for split, rows in (("train", 500), ("validation", 90)):
        lines = (material.folder / f"{split}.tsv").read_text().splitlines()[1:]
        texts = [f"marker: {line.partition(chr(9))[0]}" for line in lines]
        cut = sum(len(vocabulary.encode(text)) > 11 for text in texts)
        warning = f"short, {split}: {cut} of {rows} inputs cut to 12 tokens"
        assert 0 < cut < rows and warning in warnings and ran.err.count(warning) == 1


def test_an_evaluation_writes_predictions_and_scores(material, finetuned, task, tmp_path):
    arguments = ["--cache-directory", material.folder / "cache", "--batch", 32, "--format", "json"]
    ran = command("eval", finetuned, "--run", tmp_path / "eval", *arguments)
    assert ran.code == 0, ran.err
    manifest = load_manifest(tmp_path / "eval")
    run = load_manifest(finetuned)
    assert (manifest.kind, manifest.status, manifest.steps) == ("eval", "completed", 140)
    assert manifest.results[140].items() >= run.results[140].items()
    assert manifest.objective == {"name": "greedy decoding"}
    rows = {row["result"]: row for row in json.loads(ran.out)["tables"]["results"]}
    assert rows["marker/accuracy"]["value"] == pytest.approx(run.results[140]["marker/accuracy"])
    lines = [json.loads(line) for line in (tmp_path / "eval/predictions.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines] == list(range(90))
    assert all(line["input"].startswith("marker: ") for line in lines)
    assert {line["target"] for line in lines} == {"good", "bad"}
    right = sum(line["prediction"] == line["target"] for line in lines)
    assert 100 * right / 90 == pytest.approx(run.results[140]["marker/accuracy"])
    targets = [line["target"] for line in lines]
    most = max(targets.count("good"), targets.count("bad"))
    assert rows["marker/accuracy"]["baseline"] == pytest.approx(100 * most / 90)
    for row in (rows["marker/accuracy"], rows["marker/matthews"]):
        assert row["low"] <= row["value"] <= row["high"] <= 100 and row["examples"] == 90
        assert manifest.results[140][f"{row['result']}/low"] == pytest.approx(row["low"])


def test_the_likeliest_label_is_an_alternative_to_decoding(material, finetuned, tmp_path):
    arguments = ["--cache-directory", material.folder / "cache", "--batch", 32, "--format", "json"]
    ran = command("eval", finetuned, "--run", tmp_path / "eval", "--rank-classification", *arguments)
    assert ran.code == 0, ran.err
    manifest = load_manifest(tmp_path / "eval")
    assert manifest.objective == {"name": "rank classification"}
    decoded = load_manifest(finetuned).results[140]["marker/accuracy"]
    assert manifest.results[140]["marker/accuracy"] == pytest.approx(decoded, abs=3)


def test_the_three_runs_stand_in_one_table(material, reference, finetuned, task):
    cache = ["--cache-directory", material.folder / "cache"]
    ran = command("eval", finetuned, "--task", task, "--split", "train", "--batch", 100, *cache)
    assert ran.code == 0, ran.err
    evaluated = finetuned / "eval/marker-train-140"
    ran = command("compare", reference, finetuned, evaluated, "--format", "json")
    assert ran.code == 0, ran.err
    rows = json.loads(ran.out)["tables"]["models"]
    assert len(rows) == 3
    assert all(str(name) in ran.out for name in ("reference", finetuned.name))
    for name, value in (
        ("validation/negative_log_perplexity", load_manifest(reference).results[24]),
        ("marker/accuracy", load_manifest(finetuned).results[140]),
        ("marker/accuracy", load_manifest(evaluated).results[140]),
    ):
        assert f"{value[name]:.6g}"[:6] in ran.out


def test_perplexity_on_text(material, reference, tmp_path):
    arguments = [
        "--text",
        material.text,
        "--batch",
        8,
        "--examples",
        24,
        "--cache-directory",
        material.folder / "cache",
    ]
    ran = command("eval", reference, "--run", tmp_path / "eval", *arguments, "--format", "json")
    assert ran.code == 0, ran.err
    manifest = load_manifest(tmp_path / "eval")
    results = manifest.results[24]
    assert manifest.objective == {**load_manifest(reference).objective, "validation_examples": 24}
    assert manifest.parent.step == 24
    of_run = load_manifest(reference).results[24]
    for name in ("validation/negative_log_perplexity", "validation/unigram_negative_log_perplexity"):
        assert results[name] == pytest.approx(of_run[name], abs=0.3)  # other text of the same kind
        assert results[name] != of_run[name]
    assert {row["result"]: row["value"] for row in json.loads(ran.out)["tables"]["results"]} == pytest.approx(results)
    ran = command("eval", reference, "--run", tmp_path / "other batch", *arguments, "--batch", 5)
    assert ran.code == 0, ran.err
    assert load_manifest(tmp_path / "other batch").results[24] == pytest.approx(results, rel=1e-5)
    assert command("eval", reference, "--text", tmp_path / "none.txt").failed(4)
    assert "was not finetuned" in command("eval", reference).failed(2)


def test_an_earlier_checkpoint_can_be_chosen(material, reference, tmp_path):
    arguments = ["--text", material.text, "--batch", 8, "--examples", 8, "--cache-directory", material.folder / "cache"]
    folder = reference / "checkpoints/00000006"
    for number, model in enumerate(([folder], [reference, "--step", 6])):
        ran = command("eval", *model, "--run", tmp_path / str(number), *arguments)
        assert ran.code == 0, ran.err
    first, second = (load_manifest(tmp_path / name).results for name in "01")
    assert list(first) == [6]
    assert first == second


def test_a_finetuning_run_that_was_stopped_goes_on(material, reference, task, tmp_path, no_training):
    directory = tmp_path / "run"
    assert finetuning(material, reference, directory, "--task", task, "--steps", 50).code == 0
    ran = finetuning(material, reference, directory, "--task", task, "--steps", 100)
    assert ran.code == 0, ran.err
    assert "going on from step 50" in ran.err
    line = finetuning(material, reference, directory, "--task", task, "--packed", "--steps", 100).failed(3)
    assert "data.packed: False in the run, True now" in line


def test_another_step_of_the_parent_is_another_configuration(material, reference, task, tmp_path, no_training):
    directory = tmp_path / "run"
    arguments = ["--task", task, "--steps", 2]
    assert finetuning(material, reference, directory, *arguments, "--step", 6).code == 0
    assert load_manifest(directory).parent.step == 6
    line = finetuning(material, reference, directory, *arguments).failed(3)
    assert "parent.step: 6 in the run, 24 now" in line


def test_a_run_that_is_stopped_and_killed_ends_with_the_same_bits(material, reference, task, tmp_path, signalled):
    options = ["--task", task, "--packed", "--dropout", 0.1, "--batch", 4, "--steps", 12]
    options += ["--checkpoint-every", 4, "--validate-every", 6]
    undisturbed, directory = tmp_path / "undisturbed", tmp_path / "run"
    assert finetuning(material, reference, undisturbed, *options).code == 0
    signalled(signal.SIGTERM, 8)
    finetuning(material, reference, directory, *options).failed(130)
    shutil.rmtree(directory / "checkpoints/00000008")  # as if it had been killed before it could save
    signalled(signal.SIGTERM, 12)  # too late to stop anything
    ran = finetuning(material, reference, directory, *options)
    assert ran.code == 0, ran.err
    assert "going on from step 4" in ran.err
    assert same_as(undisturbed, directory)


def test_metrics_that_cannot_be_are_found_before_training(material, reference, task, tmp_path):
    for name in ("train.tsv", "validation.tsv"):
        shutil.copy(material.folder / name, tmp_path)
    (tmp_path / "task.yaml").write_text(TASK.replace("[accuracy, matthews]", "[pearson]"))
    line = finetuning(material, reference, tmp_path / "run", "--task", tmp_path / "task.yaml").failed(3)
    assert "metric 'pearson'" in line
    assert not (tmp_path / "run" / MANIFEST).exists()


@pytest.mark.parametrize("damage", ["newest", "other shape", "none left"])
def test_a_parent_whose_checkpoint_is_damaged(material, reference, task, tmp_path, damage):
    parent = pathlib.Path(shutil.copytree(reference, tmp_path / "parent"))
    if damage == "newest":
        (parent / "checkpoints/00000024" / layout.WEIGHTS).write_bytes(b"half")
        code, message = 4, "00000024/weights.safetensors: damaged"
    elif damage == "other shape":
        manifest = (parent / MANIFEST).read_text()
        (parent / MANIFEST).write_text(manifest.replace("d_ff: 32", "d_ff: 64"))
        code, message = 3, "checkpoint.yaml: d_ff is 32, and 64 in run.yaml; one of the two is damaged"
    else:
        shutil.rmtree(parent / "checkpoints")
        code, message = 4, "no checkpoint"
    assert message in finetuning(material, parent, tmp_path / "run", "--task", task).failed(code)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--step", 7], 4, "no checkpoint of step 7; there are 6, 20, 24"),
        (["--evaluation-batch", 0], 3, "evaluation_batch is 0"),
        (["--name", "other"], 2, "leave out --name"),
    ],
)
def test_what_cannot_be_is_one_line(material, reference, task, tmp_path, arguments, code, message):
    assert message in finetuning(material, reference, tmp_path / "run", "--task", task, *arguments).failed(code)


def test_a_label_that_is_not_in_the_list_is_named_with_its_line(material, reference, task, tmp_path):
    (tmp_path / "validation.tsv").write_text((material.folder / "validation.tsv").read_text() + "tititi\t2\n")
    shutil.copy(material.folder / "train.tsv", tmp_path)
    shutil.copy(task, tmp_path)
    line = finetuning(material, reference, tmp_path / "run", "--task", tmp_path / "task.yaml").failed(3)
    assert f"{tmp_path / 'validation.tsv'}:92: '2' is not a label of task marker; it has 'bad', 'good'" in line


def test_a_run_that_is_not_there_and_a_task_that_is_not_given(material, reference, task, tmp_path):
    nowhere = tmp_path / "nowhere"
    assert str(nowhere) in finetuning(material, nowhere, tmp_path / "run", "--task", task).failed(4)
    assert "no task" in finetuning(material, reference, tmp_path / "run").failed(2)


def test_rows_are_as_long_as_the_examples_need(material, reference, task, tmp_path, no_training):
    longer = task.with_name("longer.yaml")
    longer.write_text(TASK.replace("inputs: 32, targets: 6", "inputs: 512, targets: 62"))
    assert finetuning(material, reference, tmp_path, "--task", longer, "--steps", 50).code == 0
    manifest = load_manifest(tmp_path)
    assert (manifest.data.inputs_length, manifest.data.targets_length) == (64, 8)
    ran = command("finetune", reference, "--task", longer, "--run", tmp_path / "plan", "--dry-run", "--format", "json")
    assert json.loads(ran.out)["tables"]["plan"][0]["lengths"] == {"inputs": 512, "targets": 62}
    assert "a run pads to what its longest example needs" in ran.err
