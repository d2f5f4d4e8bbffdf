"""Programs that are forked from a process with TensorFlow imported: importing it takes longer than most of them run."""

import ctypes
import multiprocessing
import os

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(["tests.devices.emulated_cli"])


def start(log, function, *arguments):
    """Starts the process that calls a function, with all output in the file `log`, its attribute from then on."""
    log.touch()
    process = _FORKING.Process(target=_as_program, args=(log, function, *arguments))
    process.start()
    process.log = log
    return process


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
