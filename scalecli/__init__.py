"""scalecli: a workbench for scaling studies of encoder-decoder Transformers."""

from pathlib import Path

__version__ = "0.1.0"


def shapes_directory() -> Path:
    """The folder of YAML data: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "shapes"
    return installed if installed.is_dir() else package.parent / "shapes"
