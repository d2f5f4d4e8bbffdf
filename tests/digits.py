"""scikit-learn's digits, 1,797 real images of 8 x 8 pixels, as PNG files in a folder for each class."""

import tensorflow as tf
from sklearn.datasets import load_digits


def write_digits(folder, digits=range(10), per_class=None):
    """Writes the digits of these classes, all or so many of each, as FOLDER/7/00012.png; returns the folder."""
    found = load_digits()
    for digit in digits:
        (folder / str(digit)).mkdir(parents=True)
        for number in (found.target == digit).nonzero()[0][:per_class]:
            pixels = (found.images[number, :, :, None] * 255 / 16).round().astype("uint8")
            tf.io.write_file(str(folder / str(digit) / f"{number:05d}.png"), tf.io.encode_png(pixels))
    return folder
