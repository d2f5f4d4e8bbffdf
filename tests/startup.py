"""What a command imports."""

import subprocess
import sys

HEAVY = {"tensorflow", "keras", "jax", "torch", "matplotlib", "scipy", "numpy", "pandas", "fsspec"}
_PROGRAM = """
import sys
from scalecli.cli.main import run
code = run(sys.argv[1:])
print(*sys.modules, file=sys.stderr)
sys.exit(code)
"""


def heavy_imports(arguments, folder) -> set[str]:
    """Runs a command in a folder; those of `HEAVY` that are loaded at its end. It has to end with 0."""
    return HEAVY & imports(arguments, folder)


def imports(arguments, folder) -> set[str]:
    """Runs a command in a folder; the modules that are loaded at its end. It has to end with 0."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())
