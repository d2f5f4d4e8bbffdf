"""Keras as the models are written for it, whatever keras.json says: on TensorFlow or JAX, in float32."""

from __future__ import annotations

import os

from scalecli.errors import ConfigurationError

BACKENDS = ("tensorflow", "jax")


def settle_keras() -> str:
    """Imports Keras with its default types and layouts, on the backend of KERAS_BACKEND, else TensorFlow; returns it.

    Raises:
        ConfigurationError: a backend that runs can't have, or that isn't installed, or a keras.json that Keras refuses.
    """
    backend = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    _check(backend)
    os.environ.update(KERAS_BACKEND=backend, KERAS_NNX_ENABLED="false")
    try:
        import keras
    except ValueError as error:
        raise ConfigurationError(f"keras.json or a KERAS_* variable: {error}") from error
    except ModuleNotFoundError as error:
        if error.name != backend:
            raise
        raise ConfigurationError(f"KERAS_BACKEND is {backend!r}, which is not installed") from error
    backend = keras.backend.backend()  # another one, if Keras was imported before
    _check(backend)
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    return backend


def _check(backend: str) -> None:
    if backend not in BACKENDS:
        raise ConfigurationError(f"KERAS_BACKEND is {backend!r}; runs need 'tensorflow', the default, or 'jax'")
