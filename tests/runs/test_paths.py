"""What a manifest names stays in its run's directory."""

import shutil

import pytest

from tests.runs.conftest import command


@pytest.mark.parametrize("path", ["/other/run", "../other", "checkpoints/../../other", "..", ""])
@pytest.mark.parametrize(("key", "own"), [("directory", "checkpoints"), ("file", "vocabulary.model")])
def test_a_manifest_leads_nowhere_else(reference, material, tmp_path, key, own, path):
    run = tmp_path / "run"
    shutil.copytree(reference, run)
    file = run / "run.yaml"
    text = file.read_text()
    assert f"{key}: {own}\n" in text
    file.write_text(text.replace(f"{key}: {own}\n", f"{key}: {path!r}\n"))
    line = command("eval", run, "--text", material.text, "--cache-directory", tmp_path / "cache").failed(3)
    assert f"{file}: " in line and f"{key} is {path!r}; a path within the run's directory is accepted" in line
