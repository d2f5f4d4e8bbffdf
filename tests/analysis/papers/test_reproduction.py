from collections import Counter

import pytest

from scalecli.analysis.papers.published import published_models, published_tables
from scalecli.analysis.papers.reproduction import Figure, reproduce, reproducible_rows

REPORT = {model.path: reproduce(model) for model in reproducible_rows()}
FIGURES = [(path, figure) for path, row in REPORT.items() for figure in row.figures]


def computed(path):
    return {figure.key: figure.computed for figure in REPORT[path].figures}


def test_every_row_that_prints_parameters_or_flops_is_there():
    printed = [model for rows in published_tables().values() for model in rows if model.parameters or model.flops]
    assert len(REPORT) == len(printed) == (8 + 2 + 14 + 4) + (54 + 5 + 5 + 4)
    assert Counter(figure.key for _, figure in FIGURES) == {"parameters": 96, "flops": 14 + 4 + 54}


@pytest.mark.parametrize(("path", "figure"), FIGURES, ids=lambda each: each if isinstance(each, str) else each.key)
def test_a_figure_agrees_or_has_a_reason(path, figure):
    assert figure.verdict != "unexplained"
    if figure.verdict in ("match", "rounding"):
        assert figure.reason is None
    else:
        assert abs(figure.error) > 0.02 and figure.reason.reason and figure.reason.evidence


def test_what_does_not_agree_is_what_the_papers_leave_open():
    differing = {(path, figure.key) for path, figure in FIGURES if figure.verdict not in ("match", "rounding")}
    both = ("parameters", "flops")
    assert differing == {
        ("scale-efficiently/table-1/xxxl", "parameters"),
        ("scale-efficiently/table-3/nl12-xxl", "parameters"),
        ("scale-efficiently/table-4/mini-nl8", "flops"),
        ("scale-efficiently/table-4/xxl", "flops"),
        ("scale-efficiently/table-5/vit-s", "parameters"),
        ("architectures/table-4/large", "parameters"),
        *((f"architectures/table-5/{size}", "parameters") for size in ("tiny", "base", "large")),
        *((f"architectures/table-1/universal-{size}", "parameters") for size in ("tiny", "base", "large")),
        *((f"architectures/table-1/universal-{size}", "flops") for size in ("tiny", "small")),
        ("architectures/table-1/evolved-small", "flops"),
        ("architectures/table-1/evolved-large", "parameters"),
        ("architectures/table-1/glu-large", "parameters"),
        ("architectures/table-1/mos-xl", "flops"),
        ("architectures/table-1/switch-xl", "flops"),
        *((f"architectures/table-1/{name}", key) for name in ("lconv-tiny", "lconv-small") for key in both),
        *((f"architectures/table-1/{name}", key) for name in ("dconv-tiny", "dconv-small") for key in both),
        ("architectures/table-1/lconv-base", "parameters"),
        ("architectures/table-1/lconv-xl", "parameters"),
        ("architectures/table-1/dconv-base", "flops"),
        ("architectures/table-1/mixer-large", "flops"),
        ("architectures/table-1/mixer-xl", "flops"),
    }


@pytest.mark.parametrize(
    ("path", "parameters", "tflops"),
    [
        ("scale-efficiently/table-4/small-nl24", 192_673_280, 9.93),
        ("scale-efficiently/table-4/large", 737_668_096, 34.3),
        ("scale-efficiently/table-4/xl", 2_851_598_336, 63.758),  # of 64 sequences, on 8 cores
        ("scale-efficiently/table-4/xl-nl32", 3_791_163_392, 168.9),  # of 128
        ("scale-efficiently/table-4/xxl", 11_307_321_344, 500.2),
        ("architectures/table-1/evolved-xl", 2_223_597_568, 71.05),
        ("architectures/table-1/universal-base", 123_816_194, 20.3),
        ("architectures/table-1/switch-xl", 29_586_839_808, 44.85),
        ("architectures/table-1/funnel-large", 737_668_096, 22.62),
        ("architectures/table-1/albert-small", 15_192_320, 3.53),
        ("architectures/table-1/mos-tiny", 26_879_488, 1.288),
        ("architectures/table-1/mos-large", 798_894_080, 34.87),
        ("architectures/table-1/glu-xl", 2_849_757_184, 61.22),
        ("architectures/table-1/lconv-xl", 2_248_206_336, 76.79),
        ("architectures/table-1/dconv-large", 1_191_340_032, 77.94),
        ("architectures/table-1/mixer-base", 232_340_352, 12.6),
    ],
)
def test_computed_figures_are_those_of_the_original_graphs(path, parameters, tflops):
    assert computed(path)["parameters"] == pytest.approx(parameters, rel=3e-6)
    assert computed(path)["flops"] == pytest.approx(tflops * 1e12, rel=0.004)


def test_rows_of_one_shape_agree_across_tables():
    assert (
        computed("architectures/table-4/small")["parameters"]
        == computed("architectures/table-1/switch-small")["parameters"]
    )
    assert (
        computed("scale-efficiently/table-3/nl32-xl")["parameters"]
        == computed("scale-efficiently/table-4/xl-nl32")["parameters"]
    )


@pytest.mark.parametrize(
    ("text", "computed", "verdict"),
    [
        ("100M", 101.9e6, "match"),
        ("100M", 102.1e6, "unexplained"),
        ("3B", 2.5e9, "rounding"),
        ("3B", 2.49e9, "unexplained"),
        ("3.0B", 2.85e9, "unexplained"),
    ],
)
def test_verdicts(text, computed, verdict):
    printed = {"100M": 100e6, "3B": 3e9, "3.0B": 3e9}[text]
    figure = Figure(key="parameters", text=text, printed=printed, computed=computed)
    assert figure.verdict == verdict and figure.error == pytest.approx(computed / printed - 1)


def test_a_row_has_the_worse_verdict_of_its_figures_and_its_conventions():
    assert REPORT["scale-efficiently/table-5/vit-s"].verdict == "contradiction"
    assert REPORT["scale-efficiently/table-4/base"].verdict == "rounding"
    mixture = reproduce(published_models()["mos-small"])
    assert mixture.verdict == "match" and "not in use" in mixture.conventions[0].reason
    assert reproduce(published_models()["small"]).conventions == []
