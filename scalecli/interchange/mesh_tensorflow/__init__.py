"""Mesh-TensorFlow's checkpoints and the gin files beside them."""
