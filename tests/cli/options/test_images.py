"""What `pretrain --images` and `eval --few-shot` refuse and show before anything is started, without TensorFlow."""

import json
import subprocess
import sys

import pytest

from scalecli.cli.main import run

SHAPE = "architecture: vit\nencoder_layers: 2\nd_model: 16\nd_ff: 32\nd_kv: 8\nheads: 2\nimage_size: 8\npatch_size: 4\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A shape file, and a folder of three classes whose files a dry run does not open."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shape.yaml").write_text(SHAPE)
    for name in ("ant", "bee", "cat"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(12):
            (tmp_path / "images" / name / f"{number}.png").write_bytes(b"")
    return tmp_path


@pytest.fixture
def plan(invoke):
    def plan(*arguments):
        code, out, err = invoke("pretrain", *arguments, "--dry-run", "--format", "json")
        (planned,) = json.loads(out)["tables"]["plan"] if out else [None]
        return code, planned, err

    return plan


def test_the_head_is_for_the_classes_that_there_are(plan, folder):
    code, planned, err = plan("shape.yaml", "--images", "images", "--batch", "10", "--steps", "3")
    assert code == 0, err
    assert planned["shape"]["classes"] == 3 and planned["data"] == "images"
    assert planned["lengths"] == {"inputs": 4, "targets": 1} and "vocabulary" not in planned
    assert planned["training_flops"] == 3 * planned["training_flops_per_step"] > 0
    (folder / "shape.yaml").write_text(SHAPE + "classes: 7\n")
    assert plan("shape.yaml", "--images", "images")[1]["shape"]["classes"] == 7
    (folder / "shape.yaml").write_text(SHAPE + "classes: 2\n")
    code, _, err = plan("shape.yaml", "--images", "images")
    assert code == 3 and "the shape file states classes: 2, too few for images, which has 3" in err


def test_a_preset_takes_the_classes_of_the_data(plan):
    assert plan("vit-s-nl24", "--images", "images")[1]["shape"]["classes"] == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["shape.yaml"], 2, "reads images: give a folder or a TensorFlow dataset by --images"),
        (["tiny", "--images", "images"], 2, "--images images: tiny (transformer) reads text; vit-s and the like"),
        (["shape.yaml", "--images", "images", "--text", "a.txt"], 2, "--text goes with text, not with --images"),
        (["shape.yaml", "--images", "images", "--inputs-length", "9"], 2, "--inputs-length goes with text"),
        (["shape.yaml", "--images", "images", "--vocabulary", "t5"], 2, "--vocabulary goes with text"),
        (["shape.yaml", "--images", "images", "--show-examples", "1"], 2, "--show-examples goes with text"),
        (["tiny", "--smallest-cut", "0.5"], 2, "--smallest-cut goes with --images"),
        (["tiny", "--no-flip"], 2, "--flip goes with --images"),
        (["shape.yaml", "--images", "images", "--smallest-cut", "0"], 3, "smallest_cut is 0.0; more than 0"),
        (["shape.yaml", "--images", "images", "--smallest-cut", "nan"], 3, "--smallest-cut is nan; a finite"),
        (["shape.yaml", "--images", "images", "--data-dir", "x"], 3, "--data-dir goes with a TensorFlow dataset"),
        (["shape.yaml", "--images", "images", "--split", "x"], 4, "images/x: no images; expected a folder"),
        (["shape.yaml", "--images", "images/"], 0, ""),
        (["shape.yaml", "--images", "images/ant"], 4, "images/ant: no images; expected a folder for each class"),
        (["shape.yaml", "--images", "./nowhere"], 4, "./nowhere: no such folder"),
        (["shape.yaml", "--images", "images", "--validation-examples", "0"], 3, "validation_examples is 0"),
    ],
)
def test_a_dry_run_refuses_what_a_run_would(plan, arguments, code, message):
    got, _, err = plan(*arguments)
    assert got == code and message in err, err
    assert err.count("\n") == bool(code)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--few-shot", "10"], "--few-shot N and --images go together"),
        (["--images", "images"], "--few-shot N and --images go together"),
        (["--images", "images", "--few-shot", "5", "--tasks", "sst2"], "tasks, --text and --images are different"),
    ],
)
def test_eval_refuses_what_does_not_go_together(capsys, arguments, message):
    assert run(["eval", "runs/first", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_dry_run_on_a_folder_imports_no_tensorflow():
    program = "import sys; from scalecli.cli.main import run; code = run(sys.argv[1:])\n"
    program += "sys.exit(100 if {'tensorflow', 'keras'} & set(sys.modules) else code)"
    arguments = ["pretrain", "shape.yaml", "--images", "images", "--dry-run"]
    ran = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
