"""Runs made of vision transformers' weights, and their way out again."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from scalecli.interchange import vit_npz
from scalecli.interchange.hugging_face import vit as vit_hugging_face
from scalecli.manifest import load_manifest
from tests.interchange.hugging_face.test_vit import SHAPE, exported
from tests.runs.conftest import command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in each format, and a run of each, all of one model."""
    folder = tmp_path_factory.mktemp("vit")
    for name, module in (("hf", vit_hugging_face), ("original", vit_npz)):
        (folder / name).mkdir()
        module.write(folder / name, exported())
        ran = command("import", folder / name, "--run", folder / f"{name}-run", "--format", "json")
        assert ran.code == 0, ran.err
        record = json.loads(ran.out)["tables"]["run"][0]
        assert record["architecture"] == "vit" and record["parameters"] == exported().spec.parameters()
    return folder


@pytest.mark.parametrize(("name", "format"), [("hf", "hugging-face"), ("original", "vit-npz")])
def test_the_run_holds_what_was_read(folder, name, format):
    manifest = load_manifest(folder / f"{name}-run")
    assert (manifest.kind, manifest.status, manifest.architecture) == ("import", "completed", "vit")
    assert manifest.shape == SHAPE.to_dict() and manifest.objective is None
    assert (manifest.origin.format, manifest.data.kind, manifest.data.classes) == (format, "image-import", 7)
    assert (manifest.data.image_size, manifest.data.images) == (15, None)
    assert not (folder / f"{name}-run" / "vocabulary.model").exists()
    arrays = load_file(folder / f"{name}-run/checkpoints/00000000/weights.safetensors")
    assert all(arrays[path].tobytes() == array.tobytes() for path, array in exported().weights.items())
    again = command("import", folder / name, "--run", folder / f"{name}-run")
    assert again.code == 0 and "already imported" in again.err


@pytest.mark.parametrize("run", ["hf-run", "original-run"])
def test_either_run_goes_out_in_both_formats(folder, tmp_path, run):
    ran = command("export", folder / run, "--to", "hugging-face", tmp_path / "hf", "--format", "json")
    assert ran.code == 0, ran.err
    files = ["README.md", "config.json", "model.safetensors", "preprocessor_config.json"]
    assert [row["file"] for row in json.loads(ran.out)["tables"]["files"]] == files
    assert (tmp_path / "hf/model.safetensors").read_bytes() == (folder / "hf/model.safetensors").read_bytes()
    card = (tmp_path / "hf/README.md").read_text()
    assert "ViTForImageClassification.from_pretrained" in card and "- vit" in card and "T5" not in card
    ran = command("export", folder / run, "--to", "npz", tmp_path / "npz")
    assert ran.code == 0, ran.err
    first, second = (np.load(directory / "model.npz") for directory in (folder / "original", tmp_path / "npz"))
    assert first.files == second.files
    assert all(first[name].tobytes() == second[name].tobytes() for name in first.files)
    assert "numpy.load" in (tmp_path / "npz/README.md").read_text()


def test_classes_go_out_by_their_names(folder, tmp_path):
    assert list(labels_of(folder / "hf").values()) == [f"LABEL_{number}" for number in range(7)]
    shutil.copytree(folder / "hf-run", tmp_path / "run")
    (tmp_path / "run/classes.txt").write_text("crème brûlée\ncat\n")
    assert command("export", tmp_path / "run", "--to", "hugging-face", tmp_path / "hf").code == 0
    assert list(labels_of(tmp_path / "hf").values()) == ["crème brûlée", "cat", *(f"LABEL_{n}" for n in range(2, 7))]


def labels_of(folder):
    return json.loads((folder / "config.json").read_text())["id2label"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "keras-hub"], "--to keras-hub can't hold vit; hugging-face or npz is accepted"),
        (["--to", "npz", "--precision", "bfloat16"], "the original ViT's files hold float32"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_left(folder, tmp_path, options, message):
    assert message in command("export", folder / "hf-run", tmp_path / "out", *options).failed(3)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [["--vocabulary", "t5"], ["--verify"]])
def test_what_is_of_text_is_refused(folder, tmp_path, options):
    failed = command("import", folder / "hf", "--run", tmp_path / "run", *options).failed(2)
    assert f"{options[0]}: {folder}/hf is a model of images; leave it out" in failed
    assert not (tmp_path / "run").exists()


def test_text_does_not_go_out_as_npz(folder, reference, tmp_path):
    failed = command("export", reference, "--to", "npz", tmp_path / "out").failed(3)
    assert "--to npz can't hold transformer; hugging-face or keras-hub is accepted" in failed
