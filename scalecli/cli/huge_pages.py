"""Memory in pages of 2 MiB instead of 4 KiB, where Linux leaves that to each program.

What a model reads and writes is large. On two cores of a Xeon a training step took 0.95 of the time, greedy decoding
0.84 of it (small, float32, TensorFlow's own kernels). GLIBC_TUNABLES=glibc.malloc.hugetlb=0 turns it off.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_TUNABLE = "glibc.malloc.hugetlb"


def use_huge_pages() -> None:
    """Starts this program over with huge pages, unless it has them: glibc reads that setting when a program starts."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if _TUNABLE in tunables or not sys.executable or not sys.orig_argv or not _left_to_programs():
        return
    tunables = ":".join(filter(None, (tunables, f"{_TUNABLE}=1")))
    with contextlib.suppress(OSError):
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "GLIBC_TUNABLES": tunables})


def _left_to_programs() -> bool:
    try:
        return "[madvise]" in SETTING.read_text()
    except OSError:
        return False
