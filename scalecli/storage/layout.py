"""The names of the files in a run's directory, besides its manifest."""

CHECKPOINTS = "checkpoints"  # holds a folder for each step, with the next three in it
WEIGHTS, OPTIMIZER, DESCRIPTION = "weights.safetensors", "optimizer.safetensors", "checkpoint.yaml"
METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
ARCHITECTURE = "architecture.py"  # a copy of a user's own, which is never executed
