"""scalecli: a workbench for scaling studies of encoder-decoder Transformers."""

import os
from pathlib import Path

__version__ = "0.1.0"

# Else gcsfs, whoever imports it, asks for the kind of every bucket first, by gRPC, and waits a minute where that has no
# answer.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")


def shapes_directory() -> Path:
    """The folder of YAML data: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "shapes"
    return installed if installed.is_dir() else package.parent / "shapes"
