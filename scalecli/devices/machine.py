"""What this machine has of TPUs, and whether the TensorFlow that is installed can use it. Imports no TensorFlow.

A TensorFlow for TPUs whose libtpu is of another time aborts the process while it is imported, so that is looked at
before.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from scalecli.errors import ConfigurationError

PCI = Path("/sys/bus/pci/devices")
_GOOGLE = "0x1ae0"  # its network cards and disks have it, too
_CHIPS = {  # PCI device ids, as in jax/_src/hardware_utils.py
    "0x0027": "v2 or v3",
    "0x005e": "v4",
    "0x0062": "v5p",
    "0x0063": "v5e",
    "0x006f": "v6e",
    "0x0076": "tpu7x",
}

# Releases of libtpu that export all the functions that TensorFlow 2.20 asks for.
TENSORFLOW_TPU, LIBTPU = "2.20.0", "0.0.21"
_OLDEST, _NEWEST = (0, 0, 14), (0, 0, 31)
INSTALL = f"pip uninstall -y tensorflow tensorflow-tpu; pip install tensorflow-tpu=={TENSORFLOW_TPU} libtpu=={LIBTPU}"


def tpu_chips() -> list[str]:
    """The kind of each TPU chip on this machine's PCI bus, such as `v5e`."""
    kinds = []
    for device in sorted(PCI.glob("*")):
        try:
            vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "device"))
        except OSError:
            continue
        if vendor == _GOOGLE and kind in _CHIPS:
            kinds.append(_CHIPS[kind])
    return kinds


def installed(package: str) -> str | None:
    """The version of an installed package; None if there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def check_tensorflow() -> None:
    """Checks that the installed TensorFlow can be imported.

    Raises:
        ConfigurationError: it is the one for TPUs, and its libtpu is missing or of another time, or its files are mixed
            with plain TensorFlow's; says what to install.
    """
    version = installed("tensorflow-tpu")
    if version is None or os.environ.get("TPU_LOAD_LIBRARY") == "0":
        return
    plain, libtpu = installed("tensorflow"), installed("libtpu")
    if plain:
        raise ConfigurationError(
            f"tensorflow {plain} and tensorflow-tpu {version} are installed into the same folder; {INSTALL}"
        )
    if libtpu is None or not _OLDEST <= _numbers(libtpu) <= _NEWEST:
        raise ConfigurationError(
            f"tensorflow-tpu {version} would abort with libtpu {libtpu or 'missing'} (0.0.14 to 0.0.31 fit); {INSTALL}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdecimal())


def check_import() -> None:
    """Imports TensorFlow for TPUs in a process of its own.

    Raises:
        ConfigurationError: that process was aborted.
    """
    if installed("tensorflow-tpu") is None:
        return
    ran = subprocess.run([sys.executable, "-c", "import tensorflow"], capture_output=True, text=True)
    if ran.returncode:
        said = next((line for line in reversed(ran.stderr.splitlines()) if line.strip()), f"code {ran.returncode}")
        raise ConfigurationError(f"tensorflow-tpu can't be imported ({said.strip()[:200]}); {INSTALL}")
