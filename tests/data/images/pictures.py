"""Images that tell which they are: image `number` has that grey all over, whatever is cut out of it."""

import numpy as np
import tensorflow as tf

CLASSES = ("ant", "bee", "cat")


def pixels(number, side=6):
    return np.full((side, side, 1), number, np.uint8)


def class_of(number):
    return number % len(CLASSES)


def write_folder(folder, numbers, suffix="png"):
    """Writes images as FOLDER/CLASS/00012.png; returns the folder."""
    for number in numbers:
        file = folder / CLASSES[class_of(number)] / f"{number:05d}.{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(tf.io.encode_png(pixels(number)).numpy())
    return folder


def numbers_of(images):
    """Which images these views [..., size, size, 3] are of."""
    return np.rint((np.asarray(images)[..., 0, 0, 0] + 1) * 127.5).astype(int)
