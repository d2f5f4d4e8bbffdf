"""A run made by import is a run: what it holds, what it is refused for, and that everything else takes it."""

import dataclasses
import json
import re

import numpy as np
import pytest

from scalecli.architectures import build_spec
from scalecli.data.text.vocabulary import load_vocabulary
from scalecli.errors import ConfigurationError, MissingError, ScalecliError, UsageError
from scalecli.interchange.mesh_tensorflow import checkpoint as mesh_tensorflow
from scalecli.manifest import load_manifest
from scalecli.runs import verifying
from scalecli.runs.importing import Source
from scalecli.shape import Shape
from scalecli.storage import layout
from scalecli.training import checkpoints
from tests.interchange.mesh_tensorflow.writer import (
    gin_of,
    random_weights,
    slots_from,
    slots_of,
    variables_of,
    write_checkpoint,
)
from tests.interchange.plain import model_of
from tests.runs.conftest import command, metrics

SHAPE = Shape(2, 2, d_model=16, d_ff=32, d_kv=8, heads=2, vocabulary=384)
SPEC = build_spec("transformer", SHAPE)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A Mesh-TensorFlow folder with a checkpoint of step 3."""
    variables = variables_of(SPEC, random_weights(SPEC))
    return write_checkpoint(
        tmp_path_factory.mktemp("mesh"), {**variables, **slots_of(variables)}, gin=gin_of(SPEC, SHAPE)
    )


def importing(material, source, directory, *flags):
    """Runs the subcommand with the small vocabulary."""
    cache = material.folder / "cache"
    return command(
        *("import", source, "--run", directory, "--vocabulary", material.vocabulary, "--cache-directory", cache, *flags)
    )


@pytest.fixture(scope="module")
def imported(material, original):
    """The directory of an imported run, with the optimizer's state."""
    directory = material.folder / "imported"
    ran = importing(material, original, directory, "--optimizer")
    assert ran.code == 0, ran.err
    return directory


def test_the_run_holds_what_was_read(material, original, imported):
    manifest = load_manifest(imported)
    assert (manifest.kind, manifest.status, manifest.steps) == ("import", "completed", 3)
    assert (manifest.architecture, manifest.shape) == ("transformer", SHAPE.to_dict())
    assert (manifest.parameters.total, manifest.checkpoints.kept) == (SPEC.parameters(), [3])
    origin = manifest.origin
    assert (origin.format, origin.source, origin.precision) == ("mesh-tensorflow", str(original), "bfloat16")
    assert set(origin.files) == {each.name for each in original.iterdir()}
    for name, file in origin.files.items():
        assert file.bytes == (original / name).stat().st_size and len(file.sha256) == 64
    assert (imported / "vocabulary.model").read_bytes() == material.vocabulary.read_bytes()
    read = mesh_tensorflow.read(original, step=None, optimizer=True)
    for file, expected in ((layout.WEIGHTS, read.weights), (layout.OPTIMIZER, read.optimizer)):
        arrays = checkpoints.load_arrays(imported / "checkpoints/00000003", file)
        assert arrays.keys() == expected.keys()
        for path, array in expected.items():
            np.testing.assert_array_equal(arrays[path], array)


def test_the_same_once_more_changes_nothing_and_another_is_refused(material, original, imported, tmp_path):
    before = {file: file.read_bytes() for file in imported.rglob("*") if file.is_file()}
    again = importing(material, original, imported, "--optimizer")
    assert again.code == 0 and f"{imported}: already imported" in again.err
    moved = importing(material, write_copy(original, tmp_path / "moved"), imported, "--optimizer")
    assert moved.code == 0 and "already imported" in moved.err
    without = importing(material, original, imported)
    assert "optimizer.name: adafactor in the run, nothing now" in without.failed(3)
    other = write_checkpoint(
        tmp_path / "other", variables_of(SPEC, random_weights(SPEC, seed=7)), gin=gin_of(SPEC, SHAPE)
    )
    assert "data.identity: sha256:" in importing(material, other, imported).failed(3)
    assert before == {file: file.read_bytes() for file in imported.rglob("*") if file.is_file()}


def write_copy(folder, target):
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_an_import_that_was_cut_short_is_done_again(material, original, tmp_path):
    assert importing(material, original, tmp_path / "run").code == 0
    (tmp_path / "run/run.yaml").unlink()
    (tmp_path / "run/checkpoints/00000003/weights.safetensors").write_bytes(b"half")
    ran = importing(material, original, tmp_path / "run")
    assert ran.code == 0 and "already imported" not in ran.err
    assert checkpoints.load_arrays(tmp_path / "run/checkpoints/00000003", layout.WEIGHTS)


def damaged(folder, name, content):
    (folder / name).write_bytes(content)


HOSTILE = {
    "truncated shard": (("model.ckpt-3.data-00000-of-00001", b"x" * 1000), 4, "truncated"),
    "index that is none": (("model.ckpt-3.index", b"x" * 1000), 4, "not the index of a checkpoint"),
    "state elsewhere": (("checkpoint", b'model_checkpoint_path: "../../etc/passwd"'), 4, "only plain names"),
    "gin with code": (("operative_config.gin", b"d_ff = __import__('os').abort()"), 3, "nothing of it is run"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_written_of_what_is_refused(material, original, tmp_path, name):
    change, code, message = HOSTILE[name]
    folder = write_copy(original, tmp_path / "folder")
    damaged(folder, *change)
    assert message in importing(material, folder, tmp_path / "run").failed(code)
    assert not (tmp_path / "run").exists()


def test_a_vocabulary_with_more_ids_than_rows(material, tmp_path):
    shape = dataclasses.replace(SHAPE, vocabulary=256)
    spec = build_spec("transformer", shape)
    folder = write_checkpoint(tmp_path / "folder", variables_of(spec, random_weights(spec)))
    said = importing(material, folder, tmp_path / "run").failed(3)
    assert "300 ids (200 pieces and 100 sentinels) for an embedding of 256 rows" in said


def test_the_vocabulary_beside_the_checkpoint_is_taken(material, original, tmp_path):
    folder = write_copy(original, tmp_path / "folder")
    (folder / "spiece.model").write_bytes(material.vocabulary.read_bytes())
    ran = command("import", folder, "--run", tmp_path / "run", "--cache-directory", tmp_path / "cache")
    assert ran.code == 0, ran.err
    assert load_manifest(tmp_path / "run").data.vocabulary.name == "spiece.model"
    assert (tmp_path / "run/vocabulary.model").read_bytes() == material.vocabulary.read_bytes()


def test_pretraining_goes_on_exactly(material, tmp_path):
    """With what a run had at step 3, imported from the original's form, the run's own next losses."""
    settings = {"steps": 6, "dropout": 0.1, "validate_every": 6, "keep_step": 3, "learning_rate": 0.01}
    assert command(*material.pretraining(tmp_path / "first", **settings)).code == 0
    source = tmp_path / "first/checkpoints/00000003"
    weights = checkpoints.load_arrays(source, layout.WEIGHTS)
    state = checkpoints.load_arrays(source, layout.OPTIMIZER)
    shape = Shape.from_dict(load_manifest(tmp_path / "first").shape, "the test")
    spec = build_spec("transformer", shape)
    variables = {**variables_of(spec, weights), **slots_from(spec, state)}
    folder = write_checkpoint(tmp_path / "mesh", variables, gin=gin_of(spec, shape))
    for flags, refused in (((), 4), (("--optimizer",), 0)):
        directory = tmp_path / f"imported{refused}"
        assert importing(material, folder, directory, *flags).code == 0
        _, _, *rest = material.pretraining(tmp_path / f"second{refused}", **settings, vocabulary=None)
        ran = command("pretrain", directory, *rest, "--keep-optimizer")
        planned = command("pretrain", directory, *rest, "--keep-optimizer", "--dry-run", "--format", "json")
        if refused:
            assert "holds no state of the optimizer" in planned.failed(refused)
            assert "holds no state of the optimizer; an import takes it by --optimizer" in ran.failed(refused)
    assert (ran.code, planned.code) == (0, 0), ran.err
    plan = json.loads(planned.out)["tables"]["plan"][0]
    assert (plan["steps_done"], plan["training_flops"]) == (6, 3 * plan["training_flops_per_step"])
    manifest = load_manifest(tmp_path / "second0")
    assert (manifest.start_step, manifest.steps, manifest.checkpoints.kept[-1]) == (3, 6, 6)
    first, second = metrics(tmp_path / "first"), metrics(tmp_path / "second0")
    assert set(second) == {key for key in first if key[0] > 3}
    for key, figures in second.items():
        assert figures == first[key], key
    assert manifest.flops.training_total * 2 == load_manifest(tmp_path / "first").flops.training_total
    _, _, *rest = material.pretraining(tmp_path / "third", **{**settings, "steps": 3}, vocabulary=None)
    another = command("pretrain", directory, *rest, "--keep-optimizer", "--optimizer", "adamw").failed(3)
    assert "its optimizer is adafactor, and this run's adamw; give --optimizer adafactor" in another
    assert "goes on from step 3; give more" in command("pretrain", directory, *rest, "--keep-optimizer").failed(3)


def test_only_a_run_has_an_optimizer_to_keep(material, tmp_path):
    said = command(*material.pretraining(tmp_path / "run"), "--keep-optimizer").failed(2)
    assert "--keep-optimizer goes on with a run" in said


def test_pretrain_finetune_eval_and_compare_take_it(material, imported, tmp_path):
    arguments = material.pretraining(tmp_path / "pretrained", vocabulary=None, steps=2)
    ran = command(arguments[0], imported, *arguments[2:])
    assert ran.code == 0, ran.err
    assert load_manifest(tmp_path / "pretrained").parent.step == 3
    (tmp_path / "a.tsv").write_text("sentence\tlabel\n" + "ba be\t1\nbi bo\t0\n" * 4)
    task = ("--train", tmp_path / "a.tsv", "--validation", tmp_path / "a.tsv", "--name", "mine")
    task += ("--input", "{sentence}", "--target", "label", "--metrics", "accuracy")
    cache = ("--cache-directory", material.folder / "cache")
    tuned = command("finetune", imported, "--run", tmp_path / "tuned", *task, "--steps", 2, "--batch", 4, *cache)
    assert tuned.code == 0, tuned.err
    measured = ("--text", material.text, "--examples", 2, "--batch", 2, "--run", tmp_path / "measured", *cache)
    ran = command("eval", imported, *measured, "--format", "json")
    assert ran.code == 0, ran.err
    evaluation = load_manifest(tmp_path / "measured")
    assert (evaluation.kind, evaluation.origin, evaluation.data.inputs_length) == ("eval", None, 512)
    ran = command("compare", imported, tmp_path / "tuned", "--format", "json")
    assert ran.code == 0, ran.err
    rows = {row["name"]: row for row in json.loads(ran.out)["tables"]["models"]}
    assert rows["imported"]["parameters"] == SPEC.parameters()
    assert rows["imported"]["upstream"] is None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("small-nl24", "gs://scenic-bucket/scaling_explorer/scaling_explorer/"),
        ("t5-efficient-small-nl24", "gs://scenic-bucket/scaling_explorer/scaling_explorer/"),
        ("google/t5-efficient-small-nl24", "gs://scenic-bucket/scaling_explorer/scaling_explorer/"),
        ("hf:google/t5-efficient-small-nl24", "hf:google/t5-efficient-small-nl24"),
        ("google/t5-v1_1-small", "hf:google/t5-v1_1-small"),
        ("gs://bucket/folder", "gs://bucket/folder"),
        (".", "."),
    ],
)
def test_what_a_source_is(text, address):
    source = Source.of(text)
    assert source.address.startswith(address)
    assert (source.released is not None) == (address.startswith("gs://scenic"))
    if source.released:
        assert (source.name, source.released.name) == ("t5-efficient-small-nl24",) * 2
        assert Source.of(f"{source.address}/").released == source.released


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("base", UsageError, "'base' has 2 trainings: gs://.* and gs://.*; give one of the addresses"),
        (
            "small-nl25",
            MissingError,
            "no released checkpoint 'small-nl25'; did you mean 't5-efficient-small-nl2.*hf:NAME",
        ),
        ("./nothing", MissingError, "./nothing: no such folder"),
        ("a/b/c", MissingError, "a/b/c: no such folder"),
    ],
)
def test_what_is_no_source(text, error, message):
    with pytest.raises(error, match=message):
        Source.of(text)


def test_the_log_likelihood_is_the_sum_over_the_targets_tokens(material, original):
    read = mesh_tensorflow.read(original, step=None, optimizer=False)
    vocabulary = load_vocabulary(str(material.vocabulary), cache_directory=material.folder / "cache")
    golden = verifying.golden()
    inputs, targets = ([*vocabulary.encode(text), 1] for text in (golden.input, golden.target))
    logits = np.asarray(model_of(SPEC, read.weights)({"inputs": np.array([inputs]), "targets": np.array([targets])}))[0]
    log_p = logits.astype("float64") - np.log(np.exp(logits.astype("float64")).sum(-1, keepdims=True))
    expected = log_p[np.arange(len(targets)), targets].sum()
    assert verifying.log_likelihood(read, vocabulary) == pytest.approx(expected, rel=1e-5)
    assert expected < -20


@pytest.mark.parametrize(
    ("found", "name", "step", "said"),
    [
        (-64.44, "t5-efficient-base", 524288, "log-likelihood -64.44000, within 0.05 of the original's -64.40410"),
        (-137.14, "t5-efficient-base-nl36", 524288, "within 0.05"),
        (
            -1.0,
            "t5-efficient-base",
            100000,
            "log-likelihood -1.00000; known are those of t5-efficient-base, .* 524,288",
        ),
        (-1.0, "t5-efficient-xl", 524288, "known are those of"),
        (-1.0, None, 3, "known are those of"),
    ],
)
def test_the_golden_figures(found, name, step, said):
    assert re.search(said, verifying.check(found, name, step))


@pytest.mark.parametrize("found", [-64.46, -64.34, float("nan"), -np.inf])
def test_another_figure_is_an_error(found):
    with pytest.raises(ScalecliError, match=r"t5-efficient-base: the log-likelihood .* the original's is -64.40410"):
        verifying.check(found, "t5-efficient-base", 524288)


def test_every_golden_figure_is_of_a_released_checkpoint():
    for name in verifying.golden().log_likelihoods:
        with_two = name == "t5-efficient-base"
        if with_two:
            with pytest.raises(UsageError):
                Source.of(name)
        else:
            assert Source.of(name).released.name == name


def test_an_origin_belongs_to_an_import(imported):
    with pytest.raises(ConfigurationError, match="origin: expected where kind is import"):
        dataclasses.replace(load_manifest(imported), kind="pretrain")
