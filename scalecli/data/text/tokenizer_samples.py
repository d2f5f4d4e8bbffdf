"""Texts that two tokenizers are compared on: what people write, odd white space, and a vocabulary's own pieces."""

# ruff: noqa: RUF001 (letters that look like others are the point)

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from scalecli.data.text.pieces import UNIGRAM

_EQUALLY_LIKELY = 0.01
_PIECES_IN_A_TEXT = 8
_TEXTS_OF_PIECES = 2_000

TEXTS = (
    "The quick brown fox jumps over the lazy dog, doesn't it? Yes! 100% of them (all 1,024).",
    "Summarize: In 2019, T5 cost $1.3m; e-mail me@example.org or see https://example.org/a_b?c=d&e=f#g.",
    "Déjà vu: où est l'œuvre? – Ça va… «très bien» naïve façade, Ærøskøbing.",
    "Größere Straßen führen über Österreichs Brücken; „schön“ sagt Jürgen.",
    "¿Dónde está el niño? ¡Mañana! Ångström, Łódź, Škoda, İstanbul, ışık.",
    "Широкая электрификация южных губерний даст мощный толчок. Ελληνικά γράμματα. שלום עולם. مرحبا بالعالم",
    "私は東京に住んでいます。 中文字符测试。 한국어 문장입니다. हिन्दी में पाठ। ภาษาไทย",
    "def f(x):\n    return {'a': [x ** 2, ~x], \"b\": x <= 3 and x != 4}  # \\n |^`",
    "UPPER lower Title camelCase snake_case kebab-case 3.14159 1e-6 v1.1 A/B C++ R&D @home #tag",
    "emoji 🙂 and 👍 and ☕, arrows → ⇒, math ∑ ≤ ∞, money € £ ¥, dashes – — -",
    "ﬁne ｆｕｌｌｗｉｄｔｈ ½ ² ™ ℃ ① Ⅷ",
    "cafe\u0301 nai\u0308ve",
    " leading",
    "trailing ",
    "  two leading",
    "two trailing  ",
    "two  spaces,   three,    four",
    "tab\tand newline\nand both\n\nand\r\nreturn",
    "no\u00a0break, thin\u2009space, ideographic\u3000space, zero\u200bwidth",
    " ",
    "   ",
    "",
    "▁",
    "a ▁ b▁c",
    ".",
    "?!",
    "a",
    "aaaaaaaaaaaaaaaaaaaaaaaa",
)

SENTINELS = (
    "Thank you <extra_id_0> me to your party <extra_id_1> week.",
    "<extra_id_0> for inviting <extra_id_1> last <extra_id_2>",
    "ends with <extra_id_99>.",
    " <extra_id_10>, and <extra_id_9>",
    "two  <extra_id_3>  spaces",
    "<extra_id_0>",
)


def sample_texts(vocabulary: Any) -> Iterator[str]:
    """Yields the texts above but sentinels, and texts made of a SentencePiece processor's pieces and symbols."""
    yield from TEXTS
    pieces = vocabulary.get_piece_size()
    groups = range(0, pieces, _PIECES_IN_A_TEXT)
    for start in groups[:: max(1, len(groups) // _TEXTS_OF_PIECES)]:
        yield vocabulary.decode(list(range(start, min(start + _PIECES_IN_A_TEXT, pieces))))


def first_difference(
    texts: Iterable[str], model: Any, a: Callable[[str], list[int]], b: Callable[[str], list[int]]
) -> str | None:
    """The first text that two tokenizers of a SentencePiece model's pieces read as other ids, or None.

    Unigram pieces that are equally likely count as the same: SentencePiece adds up log-likelihoods as float32, the
    tokenizers library as float64, and so they choose differently between `4 33` and `43 3`.
    """
    return next((text for text in texts if (x := a(text)) != (y := b(text)) and not _as_likely(model, x, y)), None)


def _as_likely(model: Any, a: list[int], b: list[int]) -> bool:
    """Whether ids spell the same by unigram pieces that are as likely."""
    if model.trainer_spec.model_type != UNIGRAM or max([*a, *b]) >= len(model.pieces):
        return False
    (spelled, likelihood), (other, its_likelihood) = (
        ("".join(model.pieces[token].piece for token in ids), sum(model.pieces[token].score for token in ids))
        for ids in (a, b)
    )
    return spelled == other and abs(likelihood - its_likelihood) < _EQUALLY_LIKELY
