"""`scalecli import`, from folders and from a bucket on loopback."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from scalecli.architectures import build_spec
from scalecli.data.text.vocabulary_training import train_vocabulary
from scalecli.interchange.mesh_tensorflow import checkpoint as mesh_tensorflow
from scalecli.manifest import load_manifest
from scalecli.released import released_by_name
from scalecli.runs import verifying
from scalecli.runs.verifying import Golden
from scalecli.shape import Shape
from tests import oracle
from tests.analysis.runs import save_run
from tests.interchange.conftest import emulator, storage_server  # noqa: F401 - fixtures
from tests.interchange.mesh_tensorflow.writer import gin_of, random_weights, slots_of, variables_of, write_checkpoint
from tests.runs.conftest import documents

SHAPE = Shape(2, 1, d_model=16, d_ff=32, d_kv=8, heads=2, vocabulary=384)
SPEC = build_spec("transformer", SHAPE)
NAME = "mini-nl24"


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A folder with a vocabulary and a checkpoint of steps 3 and 7."""
    folder = tmp_path_factory.mktemp("import")
    train_vocabulary(documents(400), 200, folder / "vocabulary.model")
    for step in (3, 7):
        variables = variables_of(SPEC, random_weights(SPEC, seed=step))
        write_checkpoint(folder / "mesh", {**variables, **slots_of(variables)}, step=step, gin=gin_of(SPEC, SHAPE))
    return folder


@pytest.fixture
def importing(invoke, material, tmp_path):
    """Runs the subcommand into tmp_path/run."""

    def importing(source, *flags, vocabulary=material / "vocabulary.model"):
        directories = ("--run", tmp_path / "run", "--cache-directory", tmp_path / "cache")
        given = ("--vocabulary", vocabulary) if vocabulary else ()
        return invoke("import", source, *directories, *given, *flags, "--format", "json")

    return importing


def test_what_it_says(importing, material, tmp_path):
    code, out, err = importing(material / "mesh", "--optimizer")
    assert code == 0, err
    record = json.loads(out)["tables"]["run"][0]
    assert record == {
        "run": str(tmp_path / "run"),
        "format": "mesh-tensorflow",
        "source": str(material / "mesh"),
        "architecture": "transformer",
        "shape": SHAPE.to_dict(),
        "parameters": SPEC.parameters(),
        "step": 7,
        "precision": "bfloat16",
        "optimizer": "taken",
        "files": 4,
        "bytes": sum(file.stat().st_size for file in (material / "mesh").iterdir() if "-3." not in file.name),
        "notes": "none",
    }
    assert load_manifest(tmp_path / "run").command_line.startswith("scalecli")


def test_a_dry_run_reads_all_and_writes_nothing(importing, material, tmp_path):
    code, out, err = importing(material / "mesh", "--dry-run", "--step", "3")
    assert code == 0, err
    assert (
        json.loads(out)["tables"]["run"][0]["step"] == 3
        and "(not written)" in json.loads(out)["tables"]["run"][0]["run"]
    )
    assert not (tmp_path / "run").exists()
    broken = tmp_path / "mesh"
    shutil.copytree(material / "mesh", broken)
    (broken / "model.ckpt-3.data-00000-of-00001").write_bytes(b"short")
    code, out, err = importing(broken, "--dry-run", "--step", "3")
    assert (code, out) == (4, "") and "truncated" in err and len(err.splitlines()[-1:]) == 1


@pytest.mark.parametrize(
    ("source", "flags", "code", "message"),
    [
        ("small-nl24x", (), 4, "no released checkpoint 'small-nl24x'; did you mean 't5-efficient-small-nl24'"),
        ("base", (), 2, "'base' has 2 trainings"),
        (
            "{material}",
            (),
            4,
            r"no checkpoint in a known format: Mesh-TensorFlow .*, Hugging Face .*, KerasHub .*, T5X",
        ),
        ("{material}/mesh", ("--step", "5"), 4, "has no checkpoint of step 5; there are 3, 7"),
        ("{material}/mesh", ("--run", "gs://a/b"), 3, "must be a local directory"),
        ("{material}/mesh", ("--vocabulary", "nothing.model"), 4, "nothing.model: no such file"),
        ("hf:../../etc", (), 4, "hf:../../etc"),
    ],
)
def test_errors(importing, material, tmp_path, source, flags, code, message):
    exit_code, out, err = importing(source.format(material=material), *flags)
    assert (exit_code, out) == (code, "")
    assert re.search(rf"^error: .*{message}", err.splitlines()[-1]), err
    assert not (tmp_path / "run").exists()


@pytest.fixture
def released(emulator, material):  # noqa: F811
    """A released checkpoint's folder, in its own bucket, on loopback."""
    (checkpoint,) = released_by_name(NAME)
    bucket, _, prefix = checkpoint.url.removeprefix("gs://").partition("/")
    assert emulator.upload(bucket, prefix, material / "mesh") == checkpoint.url
    emulator.put(bucket, f"{prefix}/eval/events.out", b"x" * 1000)
    return checkpoint


def golden_of(value, step=7):
    figures = verifying.golden()
    return Golden(figures.input, figures.target, step, figures.tolerance, {f"t5-efficient-{NAME}": value})


def test_a_run_needs_no_import(importing, tmp_path):
    save_run(tmp_path / "own")
    code, out, err = importing(tmp_path / "own")
    line = f"error: {tmp_path}/own is a run already; pretrain, finetune, eval and compare take it as it is\n"
    assert (code, out, err) == (2, "", line)


@pytest.mark.parametrize("off", [0.0, 0.04, 0.06])
def test_a_released_name_is_fetched_and_verified(importing, released, material, tmp_path, monkeypatch, off):
    from scalecli.data.text.vocabulary import load_vocabulary

    vocabulary = load_vocabulary(str(material / "vocabulary.model"), cache_directory=tmp_path / "cache")
    read = mesh_tensorflow.read(material / "mesh", step=7, optimizer=False)
    figures = golden_of(verifying.log_likelihood(read, vocabulary) + off)
    monkeypatch.setattr(verifying, "golden", lambda: figures)
    code, out, err = importing(NAME, "--verify")
    if off > 0.05:
        assert code == 1 and f"error: t5-efficient-{NAME}: the log-likelihood of the example is" in err
        assert not (tmp_path / "run").exists()
        return
    assert code == 0, err
    assert re.search(r"log-likelihood -\d+\.\d{5}, within 0.05 of the original's", err)
    assert json.loads(out)["tables"]["run"][0]["source"] == released.url
    assert "unlike its name" in json.loads(out)["tables"]["run"][0]["notes"]
    manifest = load_manifest(tmp_path / "run")
    assert (manifest.origin.source, manifest.steps) == (released.url, 7)
    fetched = {file.name for file in (tmp_path / "cache").rglob("*") if file.is_file()}
    assert {"model.ckpt-7.index", "operative_config.gin"} <= fetched
    assert not {"model.ckpt-3.index", "events.out"} & fetched


def test_a_step_of_a_bucket_is_chosen(importing, released, tmp_path):
    code, out, err = importing(released.url, "--step", "3", "--verify")
    assert code == 0, err
    assert json.loads(out)["tables"]["run"][0]["step"] == 3 and "known are those of t5-efficient-base" in err
    assert "no checkpoint of step 5; there are 3, 7" in importing(released.url, "--step", "5")[2]


def test_a_shard_that_comes_damaged_makes_no_run(importing, released, emulator, tmp_path):  # noqa: F811
    bucket, _, prefix = released.url.removeprefix("gs://").partition("/")
    emulator.describe(bucket, f"{prefix}/model.ckpt-7.data-00000-of-00001", md5Hash="AAAAAAAAAAAAAAAAAAAAAA==")
    code, out, err = importing(NAME)
    assert (code, out) == (4, "") and "came damaged" in err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


@oracle.needs_oracle
def test_the_originals_checkpoint_from_a_bucket(importing, emulator, tmp_path):  # noqa: F811
    """Down to the logits, through the run: what is served is what the original library wrote."""
    from scalecli.models.encoder_decoder import EncoderDecoder
    from scalecli.runs.trained import open_trained

    folder = Path(oracle.FOLDER) / "ckpt_d128_adafactor"
    address = emulator.upload("scenic-bucket", "scaling_explorer/mine", folder)
    small = train_vocabulary(documents(400), 100, tmp_path / "small.model")
    code, _, err = importing(address, "--optimizer", vocabulary=small.path)
    assert code == 0, err
    trained = open_trained(str(tmp_path / "run"), tmp_path)
    model = EncoderDecoder(trained.spec)
    trained.load_into(model)
    expected = np.load(folder / "expected.npz")
    logits = np.asarray(model({name: expected[name] for name in ("inputs", "targets")}))
    real = expected["targets"] > 0
    np.testing.assert_allclose(logits[real], expected["logits"][real], atol=1e-4)
