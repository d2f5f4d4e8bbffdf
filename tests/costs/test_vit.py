from dataclasses import replace

import pytest

from scalecli.costs.vit import VitShape, vit_multiply_adds, vit_parameters, vit_shapes


@pytest.mark.parametrize(
    ("name", "parameters", "giga_multiply_adds"),
    [("vit-s", 36.1e6, 1.365), ("vit-b", 101.3e6, 4.422), ("vit-s-nl24", 86.5e6, 3.923), ("vit-s-nl28", 99.1e6, 4.562)],
)
def test_the_four_shapes_of_table_5(name, parameters, giga_multiply_adds):
    shape = vit_shapes()[name]
    assert vit_parameters(shape) == pytest.approx(parameters, rel=0.002)
    assert vit_multiply_adds(shape) / 1e9 == pytest.approx(giga_multiply_adds, abs=0.001)


def test_vit_b_with_imagenet_s_head_is_the_known_one():
    # ViT-B/32 of the ViT paper has 88,224,232 parameters with 1000 classes.
    assert vit_parameters(replace(vit_shapes()["vit-b"], classes=1000)) == 88_224_232


def test_no_depth_of_vit_s_gives_both_printed_figures():
    for layers in range(1, 40):
        shape = replace(vit_shapes()["vit-s"], layers=layers)
        fits = (abs(vit_parameters(shape) / 62e6 - 1) < 0.02, abs(vit_multiply_adds(shape) / 1.37e9 - 1) < 0.02)
        assert not all(fits)
    assert vit_parameters(replace(vit_shapes()["vit-s"], layers=16)) == pytest.approx(61.3e6, rel=0.002)


def test_a_shape_small_enough_to_count_by_hand():
    shape = VitShape(layers=1, d_model=2, d_ff=3, heads=1, image=4, patch=2, classes=5)
    assert (shape.patches, shape.pixels) == (4, 12)
    # patches, class token, places; attention, feed-forward, two norms; last norm; head
    assert vit_parameters(shape) == (12 * 2 + 2) + 2 + 5 * 2 + 4 * (4 + 2) + (6 + 3 + 6 + 2) + 2 * 4 + 4 + (10 + 5)
    assert vit_multiply_adds(shape) == 4 * 12 * 2 + (4 * 5 * 4 + 2 * 25 * 2 + 2 * 5 * 6) + 2 * 5
