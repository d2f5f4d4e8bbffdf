"""Who may read what is written is the umask's to say, whichever library has written it."""

import os

import pytest

from tests.runs.conftest import PIECES, command


@pytest.mark.parametrize(("umask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750)])
def test_files_follow_the_umask(material, no_training, tmp_path, umask, file_mode, folder_mode):
    directory, cache = tmp_path / "work/run", tmp_path / "work/cache"
    before = os.umask(umask)
    try:
        options = {"steps": 1, "vocabulary": f"train:{PIECES}", "arch": "glu", "cache_directory": cache}
        assert command(*material.pretraining(directory, **options)).code == 0
        for target in ("hugging-face", "keras-hub"):
            ran = command("export", directory, tmp_path / "work" / target, "--to", target)
            assert ran.code == 0, ran.err
    finally:
        os.umask(before)
    written = [*(tmp_path / "work").rglob("*")]
    files = {file: file.stat().st_mode & 0o777 for file in written if file.is_file()}
    assert {file.suffix for file in files} >= {".safetensors", ".yaml", ".jsonl", ".npy", ".model", ".json", ".h5"}
    assert {file: oct(mode) for file, mode in files.items() if mode != file_mode} == {}
    assert {file for file in written if file.is_dir() and file.stat().st_mode & 0o777 != folder_mode} == set()
