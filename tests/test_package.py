"""What is installed: the data lies inside the wheel, where an installed package looks for it."""

import subprocess
import sys
import zipfile
from pathlib import Path

from scalecli import shapes_directory

ROOT = Path(__file__).parents[1]


def test_a_wheel_holds_every_module_every_shape_and_every_task(tmp_path):
    # Built from a copy, so that no build folder is left in the checkout.
    copy = tmp_path / "copy"
    for path in ("scalecli", "shapes", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / path
        files = [source] if source.is_file() else [each for each in source.rglob("*") if each.is_file()]
        for file in files:
            if "__pycache__" not in file.parts:
                target = copy / file.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(copy)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "scalecli").rglob("*.py")}
    shapes = {f"scalecli/shapes/{file.relative_to(shapes_directory())}" for file in shapes_directory().rglob("*.yaml")}
    tasks = {str(file.relative_to(ROOT)) for file in (ROOT / "scalecli/data/tasks/registry").glob("*.yaml")}
    pages = {str(file.relative_to(ROOT)) for end in ("css", "js") for file in (ROOT / "scalecli").rglob(f"*.{end}")}
    shapes |= {f"scalecli/shapes/examples/{file.name}" for file in (shapes_directory() / "examples").glob("*.py")}
    assert len(shapes) >= 6 and len(tasks) == 6 and len(pages) >= 2
    assert modules | shapes | tasks | pages | {"scalecli/py.typed", "scalecli/devices/tpu-constraints.txt"} <= names
