"""Checkpoints of other libraries, in and out. No module here imports TensorFlow or Keras before it is used."""
