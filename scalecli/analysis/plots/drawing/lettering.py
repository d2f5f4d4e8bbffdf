"""Sizes of type, and how much room a text takes before it is drawn. All lengths are in points (1/72 inch)."""

from __future__ import annotations

import bisect
import functools

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.textpath import TextToPath

from scalecli.tables import printable

TITLE, PANEL_TITLE, AXIS, TICK, LABEL, LEGEND, CAPTION = 11.0, 9.0, 8.0, 7.5, 6.5, 7.5, 7.0
INK, GRAY, FAINT = "#222222", "#777777", "#E4E4E4"

_FONT = "DejaVu Sans"  # comes with matplotlib: a picture is the same on every machine
_LINE_HEIGHT = 1.35
_LONGEST = 300  # signs of a text; more are not as much as looked at
SETTINGS = {
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "text.hinting": "none",
    "text.parse_math": False,  # a $ in a run's name is a $
    "text.usetex": False,
}


def families(text: str) -> list[str]:
    """The font, and those of this machine that have what it lacks for a text: Chinese, Japanese, Korean and others."""
    return [_FONT] if text.isascii() else [_FONT, *_others(frozenset(text))]


@functools.lru_cache(1024)
def _others(signs: frozenset[str]) -> tuple[str, ...]:
    missing = {ord(sign) for sign in signs if sign.isprintable()} - _signs_of(findfont(_FONT))
    names = []
    for font in sorted(fontManager.ttflist, key=lambda font: (font.name, font.fname)) if missing else ():
        if font.style == "normal" and missing & (known := _signs_of(font.fname)):
            missing -= known
            names.append(font.name)
    return tuple(names)


@functools.cache
def _signs_of(file: str) -> frozenset[int]:
    return frozenset(get_font(file).get_charmap())


def line_height(size: float) -> float:
    """From one line of text to the next."""
    return size * _LINE_HEIGHT


@functools.lru_cache(4096)
def text_width(text: str, size: float, is_bold: bool = False) -> float:
    """How wide a text of one line is."""
    font = FontProperties(family=families(text), size=size, weight="bold" if is_bold else "normal")
    return TextToPath().get_text_width_height_descent(text, font, ismath=False)[0]


def shortened(text: str, size: float, width: float, is_bold: bool = False) -> str:
    """The text in one line, without its middle where it is wider than `width`."""
    text = printable(text)[:_LONGEST]
    if text_width(text, size, is_bold) <= width:
        return text

    def keep(count: int) -> str:
        return f"{text[: (count + 1) // 2]}…{text[len(text) - count // 2 :]}"

    fitting = range(len(text))
    too_many = bisect.bisect_left(fitting, True, key=lambda count: text_width(keep(count), size, is_bold) > width)
    return keep(max(too_many - 1, 0))


def wrapped(text: str, size: float, width: float) -> list[str]:
    """The text in lines no wider than `width`; a word that is wider than that is shortened."""
    lines: list[str] = []
    for word in printable(text).split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(shortened(word, size, width))
    return lines
