"""The tests of the models and of decoding once more, on the JAX backend, in a process of their own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="this is the process on the other backend")
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_models_and_decoding_on_jax():
    names = ("encoder_decoder", "flops", "scan", "dropout", "losses", "rematerialise", "vision")
    paths = [*(str(TESTS / "models" / f"test_{name}.py") for name in names), str(TESTS / "evaluation/test_decoding.py")]
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            "not every_size and not teacher_forcing",
            *paths,
        ],
        cwd=TESTS.parent,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert " passed" in ran.stdout
