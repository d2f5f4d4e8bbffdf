"""Runs in a bucket: worked on here, kept there, and gone on with by any machine."""

import json
import re
import signal

import pytest

from scalecli.manifest import load_manifest
from scalecli.storage import layout
from scalecli.storage.run_storage import open_storage
from scalecli.training import checkpoints
from tests.buckets import emulator, storage_server  # noqa: F401
from tests.runs.conftest import command, metrics
from tests.runs.stopping.test_resuming import same_as

RUN = "gs://bucket/deep/run"


@pytest.fixture
def bucket(emulator):  # noqa: F811
    emulator.put("bucket", "elsewhere", b"makes the bucket")
    return emulator


@pytest.fixture
def stored(bucket, reference):
    """The address of a run that was copied to the bucket."""
    return bucket.upload("bucket", "deep/run", reference)


def brought(cache, *steps):
    """What a machine gets of the run."""
    storage = open_storage(RUN, cache)
    storage.refresh()
    for step in steps:
        folder = storage.directory / f"checkpoints/{step:08d}"
        storage.fetch(folder / layout.WEIGHTS, folder / layout.OPTIMIZER)
    return storage.directory


def test_another_machine_goes_on_to_the_same_bits(bucket, material, reference, tmp_path, signalled):
    signalled(signal.SIGTERM, 8)
    line = command(*material.reference(RUN, cache_directory=tmp_path / "first")).failed(130)
    assert line.startswith(f"{RUN}: interrupted after step 8 of 24, which is saved")
    assert load_manifest(RUN).status == "interrupted"
    assert max(metrics(brought(tmp_path / "look")))[0] == 8
    signalled(signal.SIGTERM, 0)
    ran = command(*material.reference(RUN, cache_directory=tmp_path / "second"), "--format", "json")
    assert ran.code == 0, ran.err
    assert f"{RUN}: going on from step 8" in ran.err
    assert json.loads(ran.out)["tables"]["run"][0]["run"] == RUN
    resumed = brought(tmp_path / "third", 24)
    assert same_as(reference, resumed)
    manifest = load_manifest(RUN)
    assert (manifest.status, manifest.name) == ("completed", "run")
    assert checkpoints.checkpoint_steps(resumed / "checkpoints") == manifest.checkpoints.kept == [6, 20, 24]
    names = [name.removeprefix("deep/run/") for name in bucket.names("bucket")]
    assert not [name for name in names if "00000012" in name]
    assert len([name for name in names if name.startswith("tensorboard/events")]) == 2  # one of each life
    ran = command(*material.reference(RUN, cache_directory=tmp_path / "fourth"))
    assert (ran.code, f"{RUN}: already complete" in ran.err) == (0, True)


def test_a_dry_run_says_how_far_it_is_and_writes_nothing(bucket, stored, material, tmp_path):
    bucket.changes.clear()
    arguments = material.reference(stored, cache_directory=tmp_path, steps=30)
    ran = command(*arguments, "--dry-run", "--format", "json")
    assert ran.code == 0, ran.err
    plan = json.loads(ran.out)["tables"]["plan"][0]
    assert (plan["directory"], plan["steps_done"]) == (RUN, 24)
    assert not bucket.changes


def test_a_run_is_measured_where_it_is(bucket, stored, reference, material, tmp_path):
    options = ["--text", material.text, "--examples", 8, "--batch", 8, "--cache-directory", tmp_path]
    ran = command("eval", stored, *options, "--checkpoints", "6")
    assert ran.code == 0, ran.err
    address = re.search(r"results in (\S+)", ran.err)[1]
    assert re.fullmatch(rf"{RUN}/eval/text-[0-9a-f]{{8}}-6", address)
    manifest = load_manifest(address)
    assert (manifest.kind, manifest.steps, manifest.parent.path) == ("eval", 6, "../..")
    assert manifest.data.vocabulary.file == f"{RUN}/vocabulary.model"
    # Of the parent neither the optimizer nor another checkpoint was fetched.
    fetched = {file.name for file in (tmp_path / "runs-read").rglob("*.safetensors")}
    assert fetched == {layout.WEIGHTS} and not list(tmp_path.rglob("00000024/*.safetensors"))
    ran = command("eval", f"{stored}/checkpoints/00000006", *options, "--run", tmp_path / "here")
    assert ran.code == 0, ran.err
    here = load_manifest(tmp_path / "here")
    assert here.results == manifest.results and here.parent.path == RUN
    ran = command("compare", stored, address, "--format", "json")
    assert ran.code == 0, ran.err
    assert [row["name"] for row in json.loads(ran.out)["tables"]["models"]] == [
        load_manifest(stored).name,
        manifest.name,
    ]


def test_a_run_is_exported_from_where_it_is(stored, reference, tmp_path):
    for run in (stored, reference):
        target = tmp_path / run.__class__.__name__
        ran = command("export", run, "--to", "hugging-face", target, "--step", 6, "--cache-directory", tmp_path)
        assert ran.code == 0, ran.err
    one, other = (tmp_path / kind / "model.safetensors" for kind in ("str", type(reference).__name__))
    assert one.read_bytes() == other.read_bytes()


def test_a_run_is_gone_on_from_where_it_is(bucket, stored, reference, material, tmp_path, no_training):
    """Weights and state of the optimizer; the default place of a finetuned run is beside it."""
    arguments = ["--text", material.text, "--inputs-length", 32, "--batch", 8, "--validation-examples", 8]
    own = ["--run", "gs://bucket/deep/child", "--cache-directory", tmp_path, "--steps", 25, "--keep-optimizer"]
    ran = command("pretrain", stored, *arguments, *own)
    assert ran.code == 0, ran.err
    child = load_manifest("gs://bucket/deep/child")
    assert (child.start_step, child.parent.path) == (24, "../run")
    other = open_storage("gs://bucket/deep/child", tmp_path / "another machine")
    other.refresh()
    folder = other.directory / "checkpoints/00000025"
    other.fetch(folder / layout.WEIGHTS)
    weights = checkpoints.load_arrays(folder, layout.WEIGHTS)
    before = checkpoints.load_arrays(reference / "checkpoints/00000024", layout.WEIGHTS)
    assert all((weights[path] == before[path]).all() for path in before)  # its steps do nothing here
    (tmp_path / "a.tsv").write_text("sentence\tlabel\n" + "some words\t1\n" * 4)
    options = ["--name", "t", "--train", tmp_path / "a.tsv", "--validation", tmp_path / "a.tsv"]
    options += ["--input", "{sentence}", "--target", "label", "--cache-directory", tmp_path]
    ran = command("finetune", stored, *options, "--dry-run", "--format", "json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["tables"]["plan"][0]["directory"] == f"{RUN}-t"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("eval", "gs://bucket/none"), 4, "gs://bucket/none: no run.yaml there, and so no run"),
        (("eval", RUN, "--step", "7"), 4, f"{RUN}/checkpoints: no checkpoint of step 7; there are 6, 20, 24"),
        (("export", "gs://other/run", "--to", "keras-hub", "x"), 4, "gs://other/run: no such bucket"),
        (("eval", RUN, "--run", RUN), 3, f"{RUN}: holds a pretrain run, which results would overwrite"),
    ],
)
def test_what_is_not_there_is_one_line(stored, material, tmp_path, arguments, code, message):
    text = ["--text", material.text] if arguments[0] == "eval" else []
    assert message in command(*arguments, *text, "--cache-directory", tmp_path).failed(code)


def test_a_manifest_leads_to_no_other_folder(bucket, stored, material, tmp_path):
    manifest = bucket.get("bucket", "deep/run/run.yaml").decode()
    bucket.put("bucket", "deep/run/run.yaml", manifest.replace("directory: checkpoints", "directory: ../x").encode())
    line = command("eval", stored, "--text", material.text, "--cache-directory", tmp_path).failed(3)
    assert line == f"{RUN}/run.yaml: checkpoints.directory is '../x'; in a bucket it is checkpoints"


def test_a_bucket_that_cannot_be_written_is_found_before_anything_is_computed(bucket, material, tmp_path, no_training):
    no_training[0] = None  # a step would fail
    bucket.writing_faults = [403] * 20
    line = command(*material.pretraining(RUN, cache_directory=tmp_path)).failed(1)
    assert re.match(rf"{RUN}/\S+: cannot be written \(.*Forbidden", line)
