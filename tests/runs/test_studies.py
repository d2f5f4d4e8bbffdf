"""A study that really trains: what is missing, nothing twice, and the same data and steps for all."""

import json

import yaml

from scalecli.manifest import load_manifest
from tests.analysis.runs import save_run
from tests.runs.conftest import PIECES, command


def test_a_study_trains_what_is_missing_and_its_runs_are_runs_like_any_other(material, tmp_path):
    file, directory = tmp_path / "little.yaml", tmp_path / "runs"
    content = {
        "base": "tiny",
        "operators": ["nl2"],
        "narrow": 16,
        "data": {"text": [str(material.text)], "vocabulary": f"train:{PIECES}", "inputs_length": 32},
        "steps": 6,
        "pretrain": {"batch": 8, "validation_examples": 16, "cache_directory": str(material.folder / "cache")},
        "machine": {"chip": "cpu"},
    }
    file.write_text(yaml.safe_dump(content))
    other = directory / "narrow16-tiny"  # where a run of another configuration lies in the way
    save_run(other)
    in_the_way = (other / "run.yaml").read_bytes()

    ran = command("study", "run", file, "--directory", directory, "--format", "json")
    assert "1 of 2 runs failed: narrow16-tiny by exit code 3" in ran.failed(1)
    assert [row["status"] for row in json.loads(ran.out)["tables"]["status"]] == ["completed", "completed"]
    assert (other / "run.yaml").read_bytes() == in_the_way

    other.rename(tmp_path / "away")
    before = (directory / "narrow16-tiny-nl2" / "run.yaml").read_bytes()
    for _ in range(2):
        ran = command("study", "run", file, "--directory", directory)
        assert ran.code == 0, ran.err
    assert (directory / "narrow16-tiny-nl2" / "run.yaml").read_bytes() == before
    deep, shallow = (load_manifest(directory / f"narrow16-tiny{each}") for each in ("", "-nl2"))
    assert (deep.data, deep.steps, deep.seed, deep.objective) == (shallow.data, 6, shallow.seed, shallow.objective)
    assert (deep.shape["encoder_layers"], shallow.shape["encoder_layers"], deep.shape["d_model"]) == (4, 2, 16)

    ran = command("compare", *directory.iterdir(), "--format", "json")
    assert ran.code == 0, ran.err
    assert {row["name"] for row in json.loads(ran.out)["tables"]["models"]} == {"narrow16-tiny", "narrow16-tiny-nl2"}
