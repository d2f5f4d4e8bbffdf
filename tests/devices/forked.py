"""Programs that are forked from a process with TensorFlow imported: importing it takes longer than most of them run."""

import ctypes
import multiprocessing
import os
import sys

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(["tests.devices.emulated_cli"])
_NEW = multiprocessing.get_context("spawn")


def start(log, function, *arguments, imported=True):
    """Starts the process that calls a function, with all output in the file `log`, its attribute from then on.

    With nothing imported it is a new process, for one that does without TensorFlow.
    """
    log.touch()
    process = (_FORKING if imported else _NEW).Process(target=_as_program, args=(log, function, *arguments))
    process.start()
    process.log = log
    return process


def run_tests(environment, *files):
    """Runs the tests of the files and exits as pytest does, but at once: freeing all graphs takes seconds."""
    os.environ.update(environment, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    import pytest

    code = pytest.main(["-q", "-p", "no:cacheprovider", *files])
    sys.stdout.flush()
    os._exit(code)


def _as_program(log, function, *arguments):
    """Exits as Python does, which is where TensorFlow may hang: multiprocessing would leave most of that out."""
    with log.open("wb") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    code = 0
    try:
        function(*arguments)
    except SystemExit as error:
        code = error.code or 0
    ctypes.pythonapi.Py_Exit(code)
