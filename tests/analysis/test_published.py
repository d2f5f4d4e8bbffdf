import pytest

from scalecli import shapes_directory, strict
from scalecli.analysis.published import PublishedTable, parse_count, published_models
from scalecli.errors import ConfigurationError


def figures(name):
    model = published_models()[name]
    return (model.parameters, model.flops, model.steps_per_s, model.upstream, model.glue, model.superglue, model.squad)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("small", (61_000_000, 3.7e12, 23, -2.021, 77.45, 62.88, 80.39)),
        ("small-nl24", (193_000_000, 10e12, 9, -1.783, 83.11, 71.11, 85.45)),
        ("small-el32", (143_000_000, 10e12, 10, -1.897, 82.77, 70.66, 86.01)),
        ("xxl", (11_300_000_000, 367e12, 1, -1.430, 86.91, 79.20, 89.50)),
        ("xl-nl32", (3_800_000_000, 169e12, 3, -1.500, 86.94, 79.87, 89.46)),
        ("nl12-xxl", (3_600_000_000, None, None, -1.46, 85.1, 76.5, 88.1)),
        ("transformer-base", (223_000_000, 11.4e12, 9.3, -1.75, 83.8, 74.0, 86.3)),
        ("switch-base", (2_000_000_000, 12.7e12, 8.4, -1.66, 84.2, 74.1, 86.5)),
        ("funnel-xl", (2_900_000_000, 40.3e12, 1.89, -1.61, 79.8, 68.0, 83.7)),
        ("glu-xl", (2_850_000_000, 61.3e12, 1.0, -1.49, 87.6, 82.9, 89.4)),
        ("mixer-xl", (2_860_000_000, 48.3e12, 1.2, -1.61, 57.3, 58.9, 65.7)),
    ],
)
def test_the_printed_figures(name, expected):
    assert figures(name) == pytest.approx(expected)


def test_every_row_of_the_papers_is_there():
    models = published_models()
    counts = {source: sum(model.source == source for model in models.values()) for source in ("scale-efficiently",)}
    assert counts == {"scale-efficiently": 14 + 2}
    sizes = {}
    for name, model in models.items():
        if model.source == "architectures":
            assert name.startswith(f"{model.architecture}-")
            sizes[model.architecture] = sizes.get(model.architecture, 0) + 1
    four, five = {"universal", "performer", "dconv", "mixer"}, {"transformer", "evolved", "switch", "funnel", "mos"}
    five |= {"glu", "lconv"}
    assert sizes == {**dict.fromkeys(four, 4), **dict.fromkeys(five, 5), "albert": 3}


def test_a_printed_average_is_taken_and_another_one_computed():
    models = published_models()
    assert models["small-nl24"].average == 79.92
    assert models["switch-base"].average == pytest.approx((84.2 + 74.1 + 86.5) / 3)
    for model in models.values():
        assert model.average == pytest.approx((model.glue + model.superglue + model.squad) / 3, abs=0.035)


def test_every_table_has_as_many_cells_as_columns():
    tables = 0
    for path in (shapes_directory() / "published").glob("sca*.yaml"):
        for title, content in strict.load_yaml(path).items():
            if isinstance(content, dict) and "columns" in content:
                table = strict.from_mapping(PublishedTable, content, f"{path}: {title}")
                assert all(len(cells) == len(table.columns) for cells in table.rows.values()), title
                tables += 1
    assert tables == 7 + 5


def test_counts_are_read_as_printed():
    assert [parse_count(text) for text in ("61M", "2.85B", "11.3B", "5K")] == [61e6, 2.85e9, 11.3e9, 5e3]
    for text in ("61", "M", "61m", ""):
        with pytest.raises(ConfigurationError):
            parse_count(text)
