"""Keras works as the models need it, whatever keras.json and KERAS_BACKEND say, or one line says what is accepted."""

import json
import os
import subprocess
import sys

import pytest

from scalecli.devices import Request, open_devices
from scalecli.errors import ConfigurationError

OTHER = {"floatx": "float64", "epsilon": 1e-3, "backend": "torch", "image_data_format": "channels_first"}
SHOWN = """
import scalecli.models.blocks.stack
import keras
config, backend = keras.config, keras.backend.backend()
print([backend, config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy().name])
"""


def process(arguments, home, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return subprocess.run(
        [sys.executable, *arguments],
        env={**environment, "KERAS_HOME": str(home), **variables},
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.parametrize("variables", [{}, {"KERAS_BACKEND": ""}])
def test_settings_of_keras_json_are_not_the_models(tmp_path, variables):
    (tmp_path / "keras.json").write_text(json.dumps(OTHER))
    ran = process(["-c", SHOWN], tmp_path, **variables)
    assert ran.stdout.strip() == "['tensorflow', 'float32', 1e-07, 'channels_last', 'float32']", ran.stderr


@pytest.mark.parametrize(
    ("settings", "variables", "words"),
    [
        ({}, {"KERAS_BACKEND": "torch"}, "KERAS_BACKEND is 'torch'; runs need 'tensorflow', the default, or 'jax'"),
        ({"floatx": "float8"}, {}, "keras.json or a KERAS_* variable: Invalid `floatx`"),
    ],
)
def test_what_keras_or_runs_refuse_is_one_line(tmp_path, settings, variables, words):
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    (tmp_path / "text.txt").write_text("some text\n" * 1000)
    options = ["--text", tmp_path / "text.txt", "--vocabulary", "train:20", "--steps", "1", "--run", tmp_path / "run"]
    ran = process(["-m", "scalecli", "pretrain", "tiny", *map(str, options)], tmp_path, **variables)
    assert (ran.returncode, len(ran.stderr.splitlines())) == (3, 1), ran.stderr
    assert ran.stderr.startswith(f"error: {words}")
    assert not (tmp_path / "run").exists()


def test_devices_are_not_opened_on_another_backend(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    with pytest.raises(ConfigurationError, match="runs need 'tensorflow', the default, or 'jax'"):
        open_devices(Request())
