"""Depth against width: least squares as by the normal equations, intervals that hold, verdicts and their reasons."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from scalecli.analysis.statistics.depth_and_width import depth_tests
from scalecli.shape import parse_name
from tests.analysis.rows.synthetic import row, table_rows
from tests.documents import tables

# Widths at several depths; costs as they may be, of no importance here.
SHAPES = {
    **{"tiny": 1e9, "tiny-nl8": 2e9, "tiny-nl16": 4e9, "mini": 3e9, "mini-nl8": 6e9},
    **{"small": 8e9, "small-nl12": 1.6e10, "small-nl24": 3.2e10, "base": 3e10},
}


def depth_of(name):
    shape = parse_name(name)
    return shape.encoder_layers + shape.decoder_layers


def plane(name, gain):
    return -4 + 0.5 * np.log10(SHAPES[name] / 1e9) + gain * np.log2(depth_of(name))


def rows_of(gain, noise=0.0, seeds=1, names=tuple(SHAPES), generator=None):
    """Runs on a plane, `seeds` of each shape."""
    generator = generator or np.random.default_rng(0)
    return [
        row(name, flops=SHAPES[name], upstream=plane(name, gain) + noise * generator.normal())
        for name in names
        for _ in range(seeds)
    ]


def by_hand(rows, cost, quality):
    """The gain, and half of its interval, from the normal equations."""
    y = np.array([row.value(quality) for row in rows])
    x = np.stack(
        [
            np.ones(len(y)),
            np.log10([row.value(cost) for row in rows]),
            np.log2([depth_of(row.name) for row in rows]),
        ],
        1,
    )
    inverse = np.linalg.inv(x.T @ x)
    solution = inverse @ x.T @ y
    variance = ((y - x @ solution) ** 2).sum() / (len(y) - 3)
    return solution[2], stats.t.ppf(0.975, len(y) - 3) * np.sqrt(variance * inverse[2, 2])


def test_the_gain_and_its_interval_from_the_deviations_of_models():
    rows = rows_of(0.1, noise=0.05)
    (test,) = depth_tests(rows, "flops", "upstream")
    gain, margin = by_hand(rows, "flops", "upstream")
    assert (test.shapes, test.runs, test.noise) == (9, 9, "models")
    assert (test.gain, test.low, test.high) == pytest.approx((gain, gain - margin, gain + margin))


def test_the_interval_from_seeds():
    """Pooled variance within shapes, of three degrees of freedom; three shapes are enough then, all on the plane."""
    rows = rows_of(0.1, noise=0.05, seeds=2, names=("small", "small-nl12", "base"))
    (test,) = depth_tests(rows, "flops", "upstream")
    y = np.array([row.upstream for row in rows])
    x = np.stack([np.ones(6), np.log10([row.flops for row in rows]), np.log2([depth_of(row.name) for row in rows])], 1)
    variance = ((y[::2] - y[1::2]) ** 2 / 2).sum() / 3
    margin = stats.t.ppf(0.975, 3) * np.sqrt(variance * np.linalg.inv(x.T @ x)[2, 2])
    gain = (np.linalg.pinv(x) @ y)[2]
    assert (test.noise, test.runs, test.is_bent) == ("seeds", 6, False)
    assert (test.gain, test.low, test.high) == pytest.approx((gain, gain - margin, gain + margin))


@pytest.mark.parametrize("seeds", [1, 2])
def test_intervals_contain_the_truth(seeds):
    generator = np.random.default_rng(seeds)
    held = 0
    for _ in range(100):
        (test,) = depth_tests(rows_of(0.1, 0.05, seeds, generator=generator), "flops", "upstream")
        held += test.low <= 0.1 <= test.high
    assert 88 <= held <= 99  # of 95 in a hundred: outside once in a hundred and fifty


@pytest.mark.parametrize(
    ("gain", "noise", "verdict"),
    [(0.1, 0.01, "depth beats width"), (-0.1, 0.01, "width beats depth"), (0.0, 0.05, "the runs can't tell")],
)
def test_verdicts(gain, noise, verdict):
    (test,) = depth_tests(rows_of(gain, noise), "flops", "upstream")
    assert test.verdict == verdict
    # A cost that is a speed, and a quality that is a loss, turn around.
    turned = [
        row(each.name, steps_per_s=1e9 / each.flops, **{"a/loss": -each.upstream}) for each in rows_of(gain, noise)
    ]
    (other,) = depth_tests(turned, "steps_per_s", "a/loss")
    assert (other.gain, other.low, other.high) == pytest.approx((test.gain, test.low, test.high))


@pytest.mark.parametrize("quality", [-4.0, -4.1, -1 / 3])
def test_equal_qualities_beat_nothing_by_rounding(quality):
    (test,) = depth_tests(
        [row(name, flops=flops, upstream=quality) for name, flops in SHAPES.items()], "flops", "upstream"
    )
    assert (test.gain, test.low, test.high, test.verdict) == (0.0, 0.0, 0.0, "the runs can't tell")


def test_a_model_that_comes_twice_is_no_second_seed():
    rows = rows_of(0.1, noise=0.05)
    assert depth_tests([*rows, *rows], "flops", "upstream") == depth_tests(rows, "flops", "upstream")
    copies = [replace(row, steps_per_s=2.0) for row in rows]  # all the same to the last digit but for their speed
    (test,) = depth_tests([*rows, *copies], "flops", "upstream")
    assert (test.noise, test.runs) == ("models", 9)


def test_shapes_that_lie_off_the_plane_by_more_than_seeds_explain():
    rows = rows_of(0.1, noise=0.001, seeds=2)
    assert not depth_tests(rows, "flops", "upstream")[0].is_bent
    bent = [row(each.name, flops=each.flops, upstream=each.upstream - 0.2 * (each.name == "small")) for each in rows]
    assert depth_tests(bent, "flops", "upstream")[0].is_bent


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (rows_of(0.1, names=("small", "small-nl12")), "it needs 5 shapes, or 3 of which some have several seeds"),
        (rows_of(0.1, names=("small", "small-nl12", "small-nl24", "base")), "it needs 5 shapes"),
        (rows_of(0.1, seeds=2, names=("small", "base")), "it needs 5 shapes"),
        (
            [row(f"small-nl{2**k}", flops=1e9 * 2**k, upstream=-3.0 + 0.1 * k) for k in range(5)],
            "depth does not vary at equal flops",
        ),
        ([row(f"base-ff{k}", flops=1e9 * k, upstream=-3.0) for k in range(1, 7)], "depth does not vary at equal flops"),
        ([row(f"base-nl{k}", flops=0, upstream=-3.0) for k in range(1, 7)], "flops is not above 0 everywhere"),
    ],
)
def test_what_is_not_tested_says_why(rows, reason):
    (test,) = depth_tests(rows, "flops", "upstream")
    assert test.verdict == "not tested" and reason in test.reason and test.gain is None


def test_table_4_says_that_depth_beats_width(compare):
    rows = [row for row in table_rows("scale-efficiently/table-4") if row.flops_sequences == 128]
    gain, margin = by_hand(rows, "flops", "downstream")
    code, out, _ = compare("--published", "table-4", "--quality", "downstream", "--pareto", "--format", "json")
    (tested,) = tables(out)["depth"]
    assert (code, tested["shapes"], tested["verdict"]) == (0, 13, "depth beats width")
    assert (tested["gain"], tested["low"], tested["high"]) == pytest.approx((gain, gain - margin, gain + margin))
    assert gain == pytest.approx(2.69, abs=0.01)  # points of the mean for twice the depth
    people = compare("--published", "table-4", "--quality", "downstream", "--pareto")[1]
    (line,) = [line for line in people.splitlines() if "depth beats width" in line]
    assert "1.87 to 3.51" in line
    few = compare("small", "base", "--quality", "downstream", "--pareto")[1]
    assert "not tested: transformer: flops: downstream (2 shapes, 2 runs): it needs 5 shapes" in few
