import itertools

import pytest

from scalecli.analysis.plots.drawing.palette import Sizes, styles


def test_groups_differ_in_color_or_shape_and_the_first_in_both():
    all_styles = list(styles([str(index) for index in range(104)]).values())
    assert len({(style.color, style.marker) for style in all_styles}) == 104
    first = all_styles[:8]
    assert len({style.color for style in first}) == len({style.marker for style in first}) == 8
    assert len({style.marker for style in all_styles[:12]}) == 12  # the architectures


def test_texts_are_dark_enough_to_be_read_on_white():
    for style in styles([str(index) for index in range(8)]).values():
        channels = [int(style.ink[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels]
        luminance = sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
        assert 1.05 / (luminance + 0.05) >= 4.5


def test_sizes_grow_with_the_logarithm_of_parameters():
    sizes = Sizes([10**7, 10**9, 10**11, None])
    diameters = [sizes.diameter(10**power) for power in (7, 8, 9, 10, 11)]
    steps = [after - before for before, after in itertools.pairwise(diameters)]
    assert (diameters[0], diameters[-1]) == (Sizes.SMALLEST, Sizes.LARGEST) and steps == pytest.approx([steps[0]] * 4)
    assert sizes.diameter(None) == Sizes.UNKNOWN
    assert sizes.examples() == [10**7, 10**8, 10**9, 10**10, 10**11]


@pytest.mark.parametrize("parameters", [[], [None], [5 * 10**7, 6 * 10**7]])
def test_all_marks_are_of_one_size_where_models_are(parameters):
    sizes = Sizes(parameters)
    assert not sizes.differ and {sizes.diameter(each) for each in (*parameters, 10**9)} == {Sizes.UNKNOWN}


def test_a_narrow_range_has_its_ends_as_examples():
    assert Sizes([61_000_000, 193_000_000]).examples() == [61_000_000, 193_000_000]
