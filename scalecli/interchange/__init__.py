"""Checkpoints of other libraries, in and out. No module here imports TensorFlow or Keras before it is used."""

import ml_dtypes  # teaches NumPy bfloat16, which other libraries store weights in
