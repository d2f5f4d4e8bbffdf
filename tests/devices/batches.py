"""Batches whose rows, and so whose replicas' parts, have very different numbers of target tokens."""

import numpy as np

ROWS, INPUTS, TARGETS = 8, 16, 9


def batch_of(seed=0, packed=False):
    random = np.random.default_rng(seed)
    inputs, targets = random.integers(2, 128, (ROWS, INPUTS)), random.integers(2, 128, (ROWS, TARGETS))
    segments = {"inputs_segments": np.ones_like(inputs), "targets_segments": np.ones_like(targets)}
    for row in range(ROWS):
        for name, whole, real in (("inputs", inputs, 4 + row), ("targets", targets, 2 + row % TARGETS)):
            whole[row, real:] = 0
            segments[f"{name}_segments"][row, real // 2 :] = 2  # two examples a row
            segments[f"{name}_segments"][row, real:] = 0
    batch = {"inputs": inputs, "targets": targets, **(segments if packed else {})}
    return {name: whole.astype("int32") for name, whole in batch.items()}


def images_batch():
    """Labelled images for `trials.vision_model`; one of them only fills up the batch."""
    images = np.random.default_rng(0).uniform(-1, 1, (ROWS, 6, 6, 3)).astype("float32")
    return {"images": images, "labels": np.array([0, 1, 2, 3, 4, 0, 1, -1], "int32")}


def repeated(batch):
    """The rows over and over in batches of `ROWS`, as devices of TensorFlow read them."""
    import tensorflow as tf

    def batches(start_step, share):
        return tf.data.Dataset.from_tensor_slices(batch).repeat().batch(share.piece(ROWS), drop_remainder=True)

    return lambda devices: devices.batches(batches, 0)


def packed_text():
    """As `repeated`, packed batches of two steps that have rows of their own."""
    first, second = batch_of(packed=True), batch_of(seed=1, packed=True)
    return repeated({name: np.concatenate([first[name], second[name]]) for name in first})
