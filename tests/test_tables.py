import pytest

from scalecli.tables import Column, Link, differing, humanise, latex, markdown

COLUMNS = [Column("name", "Name"), Column("flops", "FLOPs", "flops"), Column("upstream", "Upstream", "float")]
ROWS = [
    {"name": "a|b_c", "flops": 3.7e12, "upstream": -2.0206},
    {"name": "50% & <more>", "flops": None, "upstream": float("nan")},
]


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (60_506_624, "count", "60.5M"),
        (2_850_000_000, "count", "2.85B"),
        (999_499, "count", "999K"),
        (999_500, "count", "1.00M"),
        (9_996, "count", "10.0K"),
        (99_960, "count", "100K"),
        (512, "count", "512"),
        (0, "count", "0"),
        (-1500, "count", "-1.50K"),
        (3.7e12, "flops", "3.70T"),
        (367e12, "flops", "367T"),
        (8.62e11, "flops", "862G"),
        (1.5e19, "flops", "15.0E"),
        (493_000_000, "bytes", "493 MB"),
        (12, "bytes", "12 B"),
        (-2.0206, "float", "-2.021"),
        (23, "float", "23"),
        (2.5e-7, "float", "2.5e-07"),
        ("text", "text", "text"),
        (True, "text", "yes"),
        (None, "count", "-"),
        (float("nan"), "float", "-"),
        (float("inf"), "flops", "inf"),
        ("two\nlines \x1b[31mred\u202e", "text", "two lines  [31mred "),
    ],
)
def test_values_as_people_read_them(value, kind, text):
    assert humanise(value, kind) == text


def test_markdown_marks_and_escapes():
    rows = [*ROWS, {"name": Link("run [1]", "a b/run(1).yaml")}]
    assert markdown(rows, COLUMNS, {(0, "flops")}).splitlines() == [
        "| Name | FLOPs | Upstream |",
        "| --- | ---: | ---: |",
        "| a\\|b_c | **3.70T**\\* | -2.021 |",
        "| 50% & \\<more> | - | - |",
        "| [run \\[1]](a%20b/run%281%29.yaml) | - | - |",
    ]


def test_latex_is_booktabs_with_every_special_sign_escaped():
    assert latex(ROWS, COLUMNS, {(0, "flops")}).splitlines() == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"Name & FLOPs & Upstream \\",
        r"\midrule",
        r"a\textbar{}b\_c & \textbf{3.70T} & $-$2.021 \\",
        r"50\% \& \textless{}more\textgreater{} & -- & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    signs = latex([{"name": r"[*\~^#$_{}"}], COLUMNS[:1]).splitlines()[4]
    assert signs == r"{[}{*}\textbackslash{}\textasciitilde{}\textasciicircum{}\#\$\_\{\} \\"


def test_without_titles_latex_has_no_head():
    assert latex([{"name": "a"}], [Column("name", "")]).splitlines()[1:3] == [r"\toprule", r"a \\"]


def test_only_what_differs_beside_the_first_column():
    rows = [{"name": "a", "flops": 1, "upstream": None}, {"name": "a", "flops": 1, "upstream": -2.0}]
    assert [column.key for column in differing(rows, COLUMNS)] == ["name", "upstream"]
    assert [column.key for column in differing(rows[:1], COLUMNS)] == ["name"]
