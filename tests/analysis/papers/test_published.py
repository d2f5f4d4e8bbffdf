import pytest

from scalecli.analysis.papers import published
from scalecli.analysis.papers.published import (
    PAPERS,
    PublishedTable,
    find_published,
    published_models,
    published_names,
    published_papers,
    published_tables,
)
from scalecli.errors import ConfigurationError, MissingError

TABLES = published_tables()


def figures(name):
    model = published_models()[name]
    scores = [model.results[key] for key in ("glue", "superglue", "squad")]
    return (model.parameters, model.flops, model.steps_per_s, model.upstream, *scores)


def row(path):
    table, _, name = path.rpartition("/")
    return {model.name: model for model in TABLES[table]}[name]


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


@pytest.mark.parametrize(
    ("path", "traits"),
    [
        ("scale-efficiently/table-1/xxxl", {"encoder_layers": 28, "d_model": 1280, "d_ff": 131072, "heads": 256}),
        ("scale-efficiently/table-3/nl12-xxl", {"encoder_layers": 12, "d_ff": 65536, "d_kv": 128}),
        ("architectures/table-2/albert", {"flops_downstream": -0.12, "upstream_downstream": -1.67}),
        ("architectures/table-2/mixer", {"flops_upstream": 0.32, "parameters_downstream": 0.65}),
        ("architectures/table-3/small", {"d_kv": 32, "heads": 8}),
        ("architectures/table-4/xl", {"encoder_layers": 48, "experts": 128, "d_model": 768}),
        ("architectures/table-5/large", {"encoder_recurrence": 3, "d_ff": 32768}),
    ],
)
def test_the_printed_traits(path, traits):
    assert row(path).traits.items() >= traits.items()
    assert row(path).results.keys().isdisjoint(traits)


@pytest.mark.parametrize(
    ("path", "results"),
    [
        ("scale-efficiently/table-6/small-nl24", {"hellaswag": 48.9, "winogrande": 65.9}),
        ("scale-efficiently/table-7/base", {"xsum": 32.3, "cnn_dailymail": 38.9, "multi_news": 20.2}),
        ("scale-efficiently/table-8/small-nl24", {"civil_comments": 88.4, "wiki_toxicity": 95.4, "imdb_reviews": 94.4}),
        ("scale-efficiently/table-5/vit-s-nl28", {"imagenet_10shot": 61.6}),
    ],
)
def test_scores_of_other_tasks(path, results):
    assert row(path).results.items() >= results.items()
    assert row(path).downstream is None


def test_vision_transformers_and_chips():
    model = published_models()["vit-b"]
    assert (model.architecture, model.flops, model.chips, model.upstream) == ("vit", 4.44e9, 64, None)
    chips = {name: model.chips for name, model in published_models().items() if model.chips != 16}
    assert chips == {
        **dict.fromkeys(("vit-s", "vit-b", "vit-s-nl24", "vit-s-nl28", "xxl", "xl-nl32"), 64),
        **dict.fromkeys(("nl12-xxl", "nl32-xl"), None),
    }


def test_every_table_of_the_papers_is_there():
    rows = {name: len(table) for name, table in TABLES.items()}
    assert rows == {
        **{f"scale-efficiently/table-{number}": count for number, count in {1: 8, 3: 2, 4: 14, 5: 4}.items()},
        **{f"scale-efficiently/table-{number}": 2 for number in (6, 7, 8)},
        **{f"architectures/table-{number}": count for number, count in enumerate((54, 11, 5, 5, 4), 1)},
    }
    assert len(published_models()) == 2 + 14 + 4 + 54
    first = published_papers()["scale-efficiently"]
    assert list(first.operators) == ["NL", "EL", "DL", "DM", "KV", "NH", "FF", "SH", "SKV"]
    assert (first.setup.pretraining.steps, first.setup.finetuning["learning_rate"]) == (524288, 1e-3)
    assert first.setup.model_parallelism == {"large": 2, "xl": 8, "xxl": 32}


def test_every_row_of_the_architectures_is_there():
    sizes = {}
    for name, model in published_models().items():
        if model.source == "architectures":
            assert name.startswith(f"{model.architecture}-")
            sizes[model.architecture] = sizes.get(model.architecture, 0) + 1
    four, five = {"universal", "performer", "dconv", "mixer"}, {"transformer", "evolved", "switch", "funnel", "mos"}
    five |= {"glu", "lconv"}
    assert sizes == {**dict.fromkeys(four, 4), **dict.fromkeys(five, 5), "albert": 3}


def test_prints_keep_their_digits():
    assert published_models()["transformer-small"].printed == {"parameters": "60M", "flops": "3.70T"}
    assert published_models()["evolved-large"].printed == {"parameters": "1.0B", "flops": "49.3T"}


def test_a_printed_average_is_taken_and_another_one_computed():
    models = published_models()
    assert models["small-nl24"].downstream == 79.92
    assert models["switch-base"].downstream == pytest.approx((84.2 + 74.1 + 86.5) / 3)
    for model in models.values():
        if model.architecture != "vit":
            scores = [model.results[key] for key in ("glue", "superglue", "squad")]
            assert model.downstream == pytest.approx(sum(scores) / 3, abs=0.035)


def test_alternatives_name_a_canonical_size():
    models = published_models()
    pairs = {name: model.instead_of for name, model in models.items() if model.instead_of}
    assert pairs["small-nl24"] == "base" and pairs["xl-nl32"] == "xxl" and len(pairs) == 9
    assert all(models[size].instead_of is None for size in pairs.values())


@pytest.mark.parametrize(
    ("name", "count"),
    [
        *(("scale-efficiently", 20), ("architectures", 54), ("table-4", 14), ("Table-5", 4)),
        *(("scale-efficiently/table-4", 14), ("architectures/table-4", 5), ("table-8", 2), ("small-nl24", 1)),
        *(("switch-*", 5), ("*-XL", 9), ("vit-?", 2), ("*", 74)),
    ],
)
def test_what_a_name_stands_for(name, count):
    assert len(find_published(name)) == count


def test_a_bare_table_is_of_scale_efficiently_and_names_do_not_collide():
    assert next(iter(PAPERS)) == "scale-efficiently"
    assert find_published("table-4") is TABLES["scale-efficiently/table-4"]
    names = published_names()
    assert len(names) == len(set(names)) == 2 + 12 + 7 + 74
    assert all(find_published(name) for name in names)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("swich-base", "no published paper, table or model 'swich-base'; did you mean 'switch-base'?"),
        ("tabel-4", "did you mean 'table-4'?"),
        ("architectures/table-6", "did you mean 'architectures/table-"),
        ("qqq*", "no published paper, table or model 'qqq*'; there are scale-efficiently, architectures, "),
    ],
)
def test_what_is_not_published_is_named_with_the_nearest(name, message):
    with pytest.raises(MissingError) as error:
        find_published(name)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("columns", "cells", "message"),
    [
        (["parametres"], ["1M"], "columns: unknown column 'parametres'; did you mean 'parameters'?"),
        (["parameters", "glue"], ["1M"], "rows.a: 1 cells for 2 columns"),
    ],
)
def test_a_table_s_columns_are_known_and_filled(columns, cells, message):
    with pytest.raises(ConfigurationError) as error:
        PublishedTable(title="t", columns=columns, rows={"a": cells})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("parameters", "many", "paper/table-1/a: expected a number such as 61M or 2.85B, found 'many'"),
        ("glue", "good", "paper/table-1/a: results.glue: expected a number, found 'good'"),
        ("chips", 1.5, "paper/table-1/a: chips: expected a whole number, found 1.5"),
    ],
)
def test_every_cell_has_its_type(column, cell, message):
    table = PublishedTable(title="t", columns=[column], rows={"a": [cell]})
    with pytest.raises(ConfigurationError) as error:
        published._model("paper", "table-1", table, "a")
    assert str(error.value) == message
