"""How encoded images become arrays: every kind of pixel, random cuts, the middle."""

import numpy as np
import pytest
import tensorflow as tf

from scalecli.data.images.views import Cuts, decode, middle_view, random_view
from scalecli.errors import ConfigurationError

WHOLE = Cuts(smallest_cut=1.0, flip=False)


def pixels(height, width, channels, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_grey_is_three_equal_colours_and_what_is_transparent_lies_on_white():
    for channels in (1, 2, 3, 4):
        image = pixels(6, 5, channels)
        found = tf.function(decode)(tf.io.encode_png(image)).numpy()
        colours = image[..., :3] if channels > 2 else image[..., :1].repeat(3, axis=2)
        opacity = image[..., -1:] / 255 if channels in (2, 4) else 1.0
        np.testing.assert_allclose(found, 255 * (1 - opacity) + colours * opacity, atol=1e-3, err_msg=str(channels))


def test_a_jpeg_and_a_sixteen_bit_png():
    smooth = np.linspace(0, 255, 64).reshape(8, 8, 1).astype("uint8")
    assert np.abs(decode(tf.io.encode_jpeg(smooth)).numpy() - smooth).max() < 12
    wide = tf.io.encode_png(smooth.astype("uint16") * 257)
    np.testing.assert_allclose(decode(wide).numpy()[..., :1], smooth, atol=1)


def test_a_random_view_is_a_function_of_seed_and_number():
    contents = tf.io.encode_png(pixels(20, 16, 3))

    def view(n, seed=3):
        return random_view(contents, tf.constant(n, tf.int64), seed, 8, Cuts(0.3)).numpy()

    views = [view(n) for n in range(40)]
    assert all(each.shape == (8, 8, 3) and each.min() >= -1 and each.max() <= 1 for each in views)
    assert np.array_equal(view(5), views[5])
    assert not np.array_equal(view(5, seed=4), views[5])
    assert len({each.tobytes() for each in views}) > 35  # a small image has few cuts


def test_a_cut_is_at_least_as_large_as_asked_for_and_half_are_mirrored():
    """The image's red is the column and its green the row, so that a view tells what was cut out."""
    side = 64
    ramp = np.arange(side, dtype="uint8") * 4
    image = np.stack(
        [np.tile(ramp, (side, 1)), np.tile(ramp[:, None], (1, side)), np.zeros((side, side), "uint8")], axis=2
    )
    contents = tf.io.encode_png(image)
    areas, mirrored, ratios = [], 0, []
    for n in range(120):
        red, green, _ = np.moveaxis(random_view(contents, tf.constant(n, tf.int64), 0, 32, Cuts(0.25)).numpy(), 2, 0)
        width, height = (np.ptp(each) * 127.5 / 4 / side for each in (red, green))
        areas.append(width * height)
        ratios.append(width / height)
        mirrored += red[0, 0] > red[0, -1]
    assert 0.2 < min(areas) < 0.4 and 0.8 < max(areas) <= 1
    assert 0.7 < min(ratios) < 0.9 and 1.1 < max(ratios) < 1.42
    assert 40 < mirrored < 80
    views = [random_view(contents, tf.constant(n, tf.int64), 0, 32, Cuts(0.25, flip=False)).numpy() for n in range(20)]
    assert all(view[0, 0, 0] < view[0, -1, 0] for view in views)


def test_the_whole_image_may_be_asked_for():
    image = pixels(8, 8, 3)
    view = random_view(tf.io.encode_png(image), tf.constant(0, tf.int64), 0, 8, WHOLE)
    np.testing.assert_allclose(view, image / 127.5 - 1, atol=1e-5)


def test_the_middle_is_what_is_measured_on():
    image = np.zeros((32, 64, 1), "uint8")
    image[2:30, 18:46] = 255  # 7/8 of 32, in the middle
    assert middle_view(tf.io.encode_png(image), 14).numpy().min() == 1
    exact = pixels(16, 16, 3)
    np.testing.assert_allclose(middle_view(tf.io.encode_png(exact), 16), exact / 127.5 - 1, atol=1e-5)
    assert middle_view(tf.io.encode_png(pixels(1, 1, 1)), 4).shape == (4, 4, 3)


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_a_share_that_cannot_be(share):
    with pytest.raises(ConfigurationError, match=r"smallest_cut is .* at most 1 is accepted"):
        Cuts(share)
