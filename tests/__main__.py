"""All tests, two processes at a time: python -m tests [options of pytest]

XLA keeps every program that it has compiled until its process ends, which would come to twenty gigabytes. So each
process runs a few files alone.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).parent
AT_ONCE = 2
# Folders whose tests compile models, which come first, and how many of their files share a process.
FILES = {"runs": 4, "devices": 6, "models": 3, "interchange": 6, "training": 3, "evaluation": 4}
NOTHING_COLLECTED = 5


def groups():
    """Lists of files, each for a process of its own."""
    files: dict[str, list[Path]] = {}
    for file in sorted(FOLDER.rglob("test_*.py")):
        files.setdefault(file.relative_to(FOLDER).parts[0] if file.parent != FOLDER else "", []).append(file)
    for folder in sorted(files, key=lambda each: (each not in FILES, list(FILES).index(each) if each in FILES else 0)):
        size = FILES.get(folder, len(files[folder]))
        for start in range(0, len(files[folder]), size):
            yield files[folder][start : start + size]


def run(group):
    """The exit code of one group's process, after what it printed."""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *sys.argv[1:], *map(str, group)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    names = ", ".join(str(file.relative_to(FOLDER)) for file in group)
    print(f"{names}\n{ran.stdout}", flush=True)
    return ran.returncode


if __name__ == "__main__":
    with ThreadPoolExecutor(AT_ONCE) as processes:
        codes = list(processes.map(run, groups()))
    failed = sum(code not in (0, NOTHING_COLLECTED) for code in codes)
    print(f"{len(codes)} processes, {failed} failed")
    sys.exit(bool(failed))
