import os

import pytest

from scalecli.analysis.rows.run_search import find_runs
from scalecli.errors import MissingError
from tests.analysis.runs import save_run


def test_runs_are_found_however_deep_and_each_once(tmp_path):
    for place in ("b", "a", "a/eval/sst2", "deep/er/c", ".hidden/d", "a/checkpoints/300/e", "[1]/f"):
        save_run(tmp_path / place)
    (tmp_path / "deep" / "back").symlink_to(tmp_path, target_is_directory=True)
    elsewhere = tmp_path.parent / "elsewhere"
    save_run(elsewhere / "g")
    (tmp_path / "linked").symlink_to(elsewhere, target_is_directory=True)
    manifests, problems = find_runs(str(tmp_path))
    runs = [os.path.relpath(os.path.dirname(path), tmp_path) for path in manifests]
    assert runs == ["[1]/f", "a", "a/eval/sst2", "b", "deep/er/c", "linked/g"]
    assert problems == []


def test_runs_in_a_bucket():
    save_run("memory://search/a")
    save_run("memory://search/b/eval/c")
    expected = ["memory://search/a/run.yaml", "memory://search/b/eval/c/run.yaml"]
    assert [path.replace(":///", "://") for path in find_runs("memory://search/")[0]] == expected


def test_a_directory_that_cannot_be_read_is_reported(tmp_path, monkeypatch):
    save_run(tmp_path / "run")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    manifests, problems = find_runs(str(tmp_path))
    assert (len(manifests), problems) == (1, [f"{tmp_path}/closed: Permission denied"])


@pytest.mark.parametrize(("name", "message"), [("nothing", "no such directory"), ("file", "not a directory")])
def test_what_is_no_directory_is_an_error(tmp_path, name, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingError, match=message):
        find_runs(str(tmp_path / name))
