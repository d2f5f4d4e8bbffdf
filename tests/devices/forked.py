"""Processes for tests, most of them forked from one with TensorFlow imported: importing takes longer than most run."""

import ctypes
import multiprocessing
import os
import sys

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(["tests.devices.emulated_cli"])
_NEW = multiprocessing.get_context("spawn")


def start(log, function, *arguments, fork=True):
    """Starts the process that calls a function, with all output in the file `log`, its attribute from then on.

    With `fork=False` nothing is imported: for a process that does without TensorFlow.
    """
    log.touch()
    process = (_FORKING if fork else _NEW).Process(target=_as_program, args=(log, function, *arguments))
    process.start()
    process.log = log
    return process


def run_tests(environment, *files):
    """Runs the tests of the files and ends with pytest's exit code at once: freeing all graphs would take seconds."""
    os.environ.update(environment, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")  # importing plugins takes a second
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
