"""The operators on shapes: what each sets, its flag on the command line, and how it stands in a model's name.

The operators are those of "Scale Efficiently", Table 2, and one for each knob that an architecture adds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Operator:
    """What an operator sets: fields of a `Shape`, to a number, to true, or to one of some words.

    `option` is its flag on the command line, `help` what that says.
    """

    fields: tuple[str, ...]
    option: str
    help: str
    values: type[int] | type[bool] | tuple[str, ...] = int


# NL sets both stacks, where there are two, and SHKV both kinds of sharing. NE and NR are named in "Scaling Laws vs
# Model Architectures", Tables 4 and 5; the knobs that have no name there are ours.
OPERATORS: dict[str, Operator] = {
    "nl": Operator(("encoder_layers", "decoder_layers"), "--nl", "Layers of each stack."),
    "el": Operator(("encoder_layers",), "--el", "Encoder layers."),
    "dl": Operator(("decoder_layers",), "--dl", "Decoder layers."),
    "dm": Operator(("d_model",), "--dm", "d_model, the width of the residual stream."),
    "kv": Operator(("d_kv",), "--kv", "d_kv, the width of one head."),
    "nh": Operator(("heads",), "--nh", "Attention heads."),
    "ff": Operator(("d_ff",), "--ff", "d_ff, the hidden width of the feed-forward layers."),
    "shkv": Operator(("shared_heads", "tied_key_values"), "--shkv", "--sh and --skv.", bool),
    "sh": Operator(("shared_heads",), "--sh", "One key and one value head for all queries.", bool),
    "skv": Operator(("tied_key_values",), "--skv", "One projection for keys and values.", bool),
    "ne": Operator(("experts",), "--experts", "Experts of a layer (switch)."),
    "nr": Operator(("recurrence",), "--recurrence", "Recurrent steps; act makes one pass more (universal)."),
    "rt": Operator(
        ("recurrence_type",),
        "--recurrence-type",
        "How its passes are put together (universal).",
        ("act", "basic", "highway", "gated"),
    ),
    "ns": Operator(("softmaxes",), "--softmaxes", "Softmaxes that are mixed (mos)."),
    "nt": Operator(("taps",), "--taps", "Taps of a convolution, an odd number (lconv, dconv)."),
    "fb": Operator(("funnel_blocks",), "--funnel-blocks", "Blocks of the encoder; all but the first pool (funnel)."),
    "es": Operator(("embedding_size",), "--embedding-size", "Width of the factorised embedding (albert)."),
    "ss": Operator(
        ("shared_stacks",), "--shared-stacks", "Encoder and decoder share their layers (albert, transformer).", bool
    ),
    "np": Operator(("positions",), "--positions", "Longest input, in tokens (mixer)."),
    "lg": Operator(
        ("logits",),
        "--logits",
        "Logits by the embedding, or by a matrix of their own (glu, transformer).",
        ("tied", "untied"),
    ),
    "is": Operator(("image_size",), "--image-size", "Height and width of an image, in pixels (vit)."),
    "ps": Operator(("patch_size",), "--patch-size", "Height and width of a patch, in pixels (vit)."),
    "nc": Operator(("classes",), "--classes", "Classes of the head (vit)."),
    "nu": Operator(
        ("numerics",),
        "--numerics",
        "The original's GELU by tanh and epsilon of 1e-6, or transformers' by erf and 1e-12 (vit).",
        ("original", "transformers"),
    ),
}

# No field has more than eight digits, and Python refuses to read numbers of thousands of them.
_NUMBER = re.compile(rf"({'|'.join(code for code, each in OPERATORS.items() if each.values is int)})(-?\d{{1,12}})(k?)")


def operator_forms(code: str) -> tuple[str, ...]:
    """How an operator stands in a name, with N for a number: `nlN`, `sh`, or each word that it can be."""
    values = OPERATORS[code].values
    if isinstance(values, tuple):
        return values
    return (f"{code}N",) if values is int else (code,)


def operator_text(code: str, value: Any) -> str:
    """How an operator with its value stands in a name: `nl24`, `sh`, `basic`."""
    if OPERATORS[code].values is int:
        return f"{code}{value}"
    return code if value is True else str(value)


_WITHOUT_NUMBER: dict[str, tuple[str, Any]] = {
    form: (code, True if operator.values is bool else form)
    for code, operator in OPERATORS.items()
    if operator.values is not int
    for form in operator_forms(code)
}


def read_operator(text: str, released: bool) -> tuple[str, Any] | None:
    """The operator that a lower-case part of a name is, with its value, or None where it is none.

    `k` means x 1024, and so does a round thousand of DM and FF in a released name (dm1000 is a d_model of 1024).
    """
    if text in _WITHOUT_NUMBER:
        return _WITHOUT_NUMBER[text]
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    code, value = match[1], int(match[2])
    if released and code in ("dm", "ff") and value % 1000 == 0:
        value = value // 1000 * 1024
    return code, value * 1024 if match[3] else value
