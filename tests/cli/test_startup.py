import pytest

from tests.analysis.runs import child_of, save_run
from tests.startup import heavy_imports, imports


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "--version",
        "shape small",
        "shape --released",
        "flops small",
        "compare",
        "compare small",
        "compare runs/* small",
        "compare --list runs",
    ],
)
def test_nothing_heavy_is_imported(command, tmp_path):
    parent = save_run(tmp_path / "runs/first")
    save_run(tmp_path / "runs/second", **child_of(parent, "../first"))
    assert heavy_imports(command.split(), tmp_path) == set()


def test_published_models_alone_need_no_architectures(tmp_path):
    assert "scalecli.architectures" not in imports(["compare", "small", "base"], tmp_path)
    assert "scalecli.architectures" in imports(["shape", "small"], tmp_path)


def test_what_fits_does_import_some(tmp_path):
    command = "compare --published table-4 --fit flops:upstream"
    assert "numpy" in heavy_imports(command.split(), tmp_path)
