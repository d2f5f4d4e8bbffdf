import itertools
import re
import warnings

import matplotlib
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

from scalecli.analysis.plots.build import cost_quality
from scalecli.analysis.plots.drawing import lettering
from scalecli.analysis.plots.drawing.lettering import SETTINGS, shortened, text_width, wrapped
from scalecli.analysis.plots.drawing.picture import draw, render, render_panels
from scalecli.analysis.plots.figure import Line, with_lines
from tests.analysis.plots.figures import figure_of, mark, published_rows


@pytest.fixture(scope="module")
def busy():
    """Sixty models in two panels, with fitted lines."""
    rows = published_rows("architectures/table-1", "table-4")[:60]
    figure = cost_quality(rows, ["flops"], ["upstream", "downstream"])
    fits = [
        Line("fit", (1e12, 1e14), (-2.6 + shift, -1.6 + shift), group, f"{0.5 + shift:.2f}")
        for shift, group in zip((0, 0.1, 0.2), figure.groups, strict=False)
    ]
    return with_lines(figure, "flops", "upstream", fits)


def texts(figure, scale):
    """Every text that is drawn with its box in pixels, and the size of the sheet."""
    with matplotlib.rc_context(SETTINGS):
        drawn = draw(figure).figure
        drawn.set_dpi(100 * scale)
        canvas = FigureCanvasAgg(drawn)
        canvas.draw()
        shown = [text for text in drawn.findobj(Text) if text.get_text().strip() and text.get_visible()]
        return [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in shown], drawn.bbox


@pytest.mark.parametrize("scale", [1, 2])
def test_no_text_is_clipped_or_lies_on_another_one(busy, scale):
    shown, sheet = texts(busy, scale)
    names = [text for text, _ in shown]
    assert len(names) > 150 and not any("No room" in name for name in names)
    outside = [text for text, box in shown if box.x0 < 0 or box.y0 < 0 or box.x1 > sheet.x1 or box.y1 > sheet.y1]
    assert outside == []
    overlapping = [
        (one, other)
        for (one, box), (other, beside) in itertools.combinations(shown, 2)
        if box.x0 < beside.x1 and beside.x0 < box.x1 and box.y0 < beside.y1 and beside.y0 < box.y1
    ]
    assert overlapping == []


@pytest.mark.parametrize("format", ["svg", "pdf", "png"])
def test_the_same_figure_gives_the_same_bytes(format):
    figure = figure_of([mark("a"), mark("b", x=2e12, y=60.0, parameters=10**8, is_efficient=True)])
    assert render(figure, format) == render(figure, format)


def test_ids_lead_to_marks_labels_and_lines():
    line = Line("frontier", (1e12, 2e12), (50.0, 60.0), label="64 chips")
    figure = figure_of([mark("a"), mark("b", x=2e12, y=60.0)], [line])
    (svg,), unplaced = render_panels(figure, "here")
    svg = svg.decode()
    assert unplaced == 0 and 'id="figure-0-line-0"' in render(figure, "svg").decode()
    for name in ("here-0-0", "here-0-1", "here-0-0-label", "here-0-1-back", "here-0-line-0", "here-0-line-0-label"):
        assert f'id="{name}"' in svg
    assert "<dc:date>" not in svg


def test_panels_for_a_page_are_alone_and_leave_the_picture_as_it_was(busy):
    before = render(busy, "svg")
    panels, _ = render_panels(busy, "here")
    assert render(busy, "svg") == before and len(panels) == 2
    sizes = {re.search(rb'viewBox="0 0 ([\d.]+ [\d.]+)"', panel)[1] for panel in panels}
    assert len(sizes) == 1
    for index, panel in enumerate(panels):
        assert {int(number) for number in re.findall(rb'id="here-(\d)-', panel)} == {index}
        comments = re.findall(rb"<!-- (.*?) -->", panel)
        titles = [each.title.encode() for each in busy.panels]
        assert titles[index] in comments and titles[1 - index] not in comments
        assert busy.title.encode() not in comments and busy.title.encode() in before


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
@pytest.mark.parametrize(
    "marks",
    [
        [mark("alone")],
        [mark("same"), mark("place")],
        [mark("$x_1$ and \\frac"), mark("a\nb\x1b[31m", y=60.0)],
        [mark("模型 🙂", y=10.0), mark("x" * 500, x=3e12)],
        [mark(f"model-{index}", y=50.0 + index % 3) for index in range(120)],
        [mark(str(index), x=1e12 * (index + 1), group=f"group {index} " * 5) for index in range(40)],
        [mark("zero", y=0.0), mark("tiny", x=1.0, y=1e-12), mark("huge", x=1e22, y=1e9)],
    ],
)
def test_whatever_names_and_values_there_are_the_texts_keep_apart(marks):
    shown, sheet = texts(figure_of(marks, title="t" * 300, caption=("word " * 100, "w" * 300)), 1)
    assert all(box.x0 >= 0 and box.x1 <= sheet.x1 + 0.5 and box.y0 >= 0 for _, box in shown)
    assert not any(
        box.x0 < beside.x1 and beside.x0 < box.x1 and box.y0 < beside.y1 and beside.y0 < box.y1
        for (_, box), (_, beside) in itertools.combinations(shown, 2)
    )
    render(figure_of(marks), "png")


def test_a_long_legend_becomes_a_table_below():
    few, many = (
        [mark(str(index), x=1e12 + index, group=f"group-{index}") for index in range(count)] for count in (8, 54)
    )
    (short, sheet), (long, larger) = texts(figure_of(few), 1), texts(figure_of(many), 1)
    boxes = {text: box for text, box in long if text.startswith("group-")}
    axis = next(box for text, box in long if text == "FLOPs")
    assert len(boxes) == 54 and len({round(box.x0) for box in boxes.values()}) > 3
    assert all(box.y1 < axis.y0 for box in boxes.values()) and larger.x1 < sheet.x1
    assert len({round(box.x0) for text, box in short if text.startswith("group-")}) == 1


def test_signs_that_the_font_lacks_are_taken_from_another_one(tmp_path):
    sign = "漢"
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "sign"])
    builder.setupCharacterMap({ord(sign): "sign"})
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 900), (900, 900), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    builder.setupGlyf({".notdef": square, "sign": square})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "sign": (2500, 0)})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "AAA Test Square", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "square.ttf")
    before = list(fontManager.ttflist)
    try:
        fontManager.addfont(tmp_path / "square.ttf")
        lettering._others.cache_clear()
        assert lettering.families(f"a{sign}") == ["DejaVu Sans", "AAA Test Square"]
        assert lettering.families("é") == ["DejaVu Sans"]
        text_width.cache_clear()
        assert text_width(sign, 10) == pytest.approx(25, abs=0.5)  # as wide as that font says
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            render(figure_of([mark(f"{sign}-model")]), "png")
    finally:
        fontManager.ttflist[:] = before
        lettering._others.cache_clear()
        text_width.cache_clear()


def test_labels_without_room_are_counted():
    crowd = [mark(f"a-model-with-a-name-{index}", y=50.0 + 0.001 * index) for index in range(120)]
    drawn_texts, _ = texts(figure_of(crowd), 1)
    (line,) = [text for text, _ in drawn_texts if text.startswith("No room for ")]
    shown = sum(text.startswith("a-model") for text, _ in drawn_texts)
    assert line == f"No room for {120 - shown} labels: the points' file has all names."


def test_long_texts_lose_their_middle():
    text = shortened("a-very-long-name-of-a-run-of-somebody", 8, 80)
    assert text.startswith("a-very") and text.endswith("body") and "…" in text and text_width(text, 8) <= 80
    assert shortened("short", 8, 80) == "short"


def test_lines_are_broken_between_words():
    lines = wrapped("one two three four five six seven", 8, 60)
    assert " ".join(lines) == "one two three four five six seven"
    assert len(lines) > 1 and all(text_width(line, 8) <= 60 for line in lines)
