"""Encoded images as arrays: decoded, cut, turned, scaled and normalized, in the graph of tf.data.

Whatever is in the file, three colors come out: gray is taken for all three, and what is transparent lies on white.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scalecli.errors import ConfigurationError

if TYPE_CHECKING:
    import tensorflow as tf

MOST_PIXELS = 2**26  # of an image, which takes 0.8 GB as numbers: some kilobytes of a file can say that they hold more
_ASPECT_RATIOS = (3 / 4, 4 / 3)  # of a random cut: width by height
_MIDDLE = 7 / 8  # of the shorter side: what is measured on; 224 of 256 pixels


@dataclass(frozen=True)
class Cuts:
    """What of an image is seen in training (Szegedy et al. 2015, "Going Deeper with Convolutions", section 6).

    A rectangle of at least `smallest_cut` of the area, 3:4 to 4:3, anywhere in it; with `flip` half of them mirrored.

    Raises:
        ConfigurationError: no such share of an area.
    """

    smallest_cut: float = 0.05
    flip: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.smallest_cut <= 1:
            raise ConfigurationError(f"smallest_cut is {self.smallest_cut}; more than 0 and at most 1 is accepted")


def decode_as_is(contents: tf.Tensor) -> tf.Tensor:
    """The first picture of a JPEG, PNG, GIF or BMP, uint8 [height, width, channels]."""
    import tensorflow as tf

    return tf.io.decode_image(contents, channels=0, expand_animations=False)


def decode(contents: tf.Tensor) -> tf.Tensor:
    """The same in three colors, float32 [height, width, 3] from 0 to 255."""
    import tensorflow as tf

    pixels = tf.cast(decode_as_is(contents), tf.float32)
    channels = tf.shape(pixels)[2]
    colors = tf.cond(channels < 3, lambda: tf.repeat(pixels[:, :, :1], 3, axis=2), lambda: pixels[:, :, :3])
    alpha = tf.where(channels % 2 == 0, pixels[:, :, -1:] / 255, 1.0)
    return tf.ensure_shape(255 + (colors - 255) * alpha, [None, None, 3])


def random_view(contents: tf.Tensor, n: tf.Tensor, seed: int, size: int, cuts: Cuts) -> tf.Tensor:
    """What training sees of an encoded image as its n-th example: float32 [size, size, 3] from -1 to 1.

    A function of (seed, n): `n` is an int64 scalar.
    """
    import tensorflow as tf

    pixels = decode(contents)
    cut_seed, flip_seed = tf.unstack(tf.stack([[tf.constant(seed, tf.int64), 2 * n], [seed, 2 * n + 1]]))
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(pixels),
        tf.zeros([1, 0, 4]),
        cut_seed,
        min_object_covered=0.0,
        aspect_ratio_range=_ASPECT_RATIOS,
        area_range=(cuts.smallest_cut, 1.0),
        max_attempts=100,
        use_image_if_no_bounding_boxes=True,
    )
    view = tf.image.resize(tf.slice(pixels, begin, extent), [size, size])
    if cuts.flip:
        view = tf.cond(tf.random.stateless_uniform([], flip_seed) < 0.5, lambda: tf.reverse(view, [1]), lambda: view)
    return _normalized(view, size)


def middle_view(contents: tf.Tensor, size: int) -> tf.Tensor:
    """What is seen of an encoded image when a model is measured: float32 [size, size, 3] from -1 to 1.

    The middle square, 7/8 as wide as the shorter side; all of an image that has the very size already.
    """
    import tensorflow as tf

    pixels = decode(contents)
    height, width = tf.unstack(tf.shape(pixels)[:2])
    shorter = tf.cast(tf.minimum(height, width), tf.float32)
    side = tf.maximum(tf.cast(tf.round(_MIDDLE * shorter), tf.int32), 1)
    middle = pixels[(height - side) // 2 :, (width - side) // 2 :][:side, :side]
    fits = (height == size) & (width == size)
    return _normalized(tf.cond(fits, lambda: pixels, lambda: tf.image.resize(middle, [size, size])), size)


def _normalized(pixels: tf.Tensor, size: int) -> tf.Tensor:
    import tensorflow as tf

    return tf.ensure_shape(pixels / 127.5 - 1, [size, size, 3])
