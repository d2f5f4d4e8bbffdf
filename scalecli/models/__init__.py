"""The Keras layer of each spec, and the scan over layers. Importing this package settles how Keras works."""

from scalecli.models.keras_settings import settle_keras

settle_keras()
