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
    names = ("encoder_decoder", "flops", "blocks/scan", "dropout", "losses", "rematerialise", "vision")
    files = [*(f"models/{name}" for name in names), "evaluation/decoding/greedy", "models/layers/fused_attention"]
    paths = [TESTS / folder / f"test_{name}.py" for folder, name in (file.rsplit("/", 1) for file in files)]
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            "not every_size and not teacher_forcing and not float32 and not triton",
            *map(str, paths),
        ],
        cwd=TESTS.parent,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert " passed" in ran.stdout
