"""The table of released checkpoints that `scalecli shape --released` prints."""

from __future__ import annotations

from typing import Any

from scalecli.architectures import DEFAULT_ARCHITECTURE, build_spec
from scalecli.cli.output.formats import Column
from scalecli.costs import BATCHES, flops
from scalecli.errors import UsageError, nearest
from scalecli.released import released_checkpoints

COLUMNS = (
    Column("name", "Name"),
    Column("encoder_layers", "EL", "float"),
    Column("decoder_layers", "DL", "float"),
    Column("d_model", "DM", "float"),
    Column("d_ff", "FF", "float"),
    Column("d_kv", "KV", "float"),
    Column("heads", "NH", "float"),
    Column("shared_heads", "SH"),
    Column("tied_key_values", "SKV"),
    Column("parameters", "Params", "count"),
    Column("forward_flops", "Forward", "flops"),
    Column("folder", "Folder"),
    Column("hugging_face", "Hugging Face"),
    Column("gap", "Gap"),
)


def released_table(size: str | None = None, knob: str | None = None) -> tuple[list[dict[str, Any]], tuple[Column, ...]]:
    """The rows and columns of the released checkpoints, of one size and with one operator if these are given.

    FLOPs are those of the convention `forward` over its usual batch.

    Raises:
        UsageError: no released checkpoint has such a size or operator; names the nearest.
    """
    checkpoints = released_checkpoints()
    sizes = dict.fromkeys(checkpoint.size for checkpoint in checkpoints)
    knobs = dict.fromkeys(operator for checkpoint in checkpoints for operator in checkpoint.operators)
    size, knob = (_known(text, known, what) for text, known, what in ((size, sizes, "size"), (knob, knobs, "operator")))
    rows = []
    for checkpoint in checkpoints:
        if (size is None or checkpoint.size == size) and (knob is None or knob in checkpoint.operators):
            shape = checkpoint.shape
            spec = build_spec(DEFAULT_ARCHITECTURE, shape)
            figures = {
                "parameters": spec.parameters(),
                "forward_flops": sum(flops(spec, BATCHES["forward"], "forward").values()),
            }
            texts = {key: getattr(checkpoint, key) for key in ("name", "folder", "hugging_face", "gap")}
            fields = {column.key: getattr(shape, column.key) for column in COLUMNS if hasattr(shape, column.key)}
            rows.append({**fields, **figures, **texts})
    return rows, COLUMNS


def _known(text: str | None, known: dict[str, None], what: str) -> str | None:
    if text is None or text.lower() in known:
        return text and text.lower()
    hint = nearest(text.lower(), known) or f"; there are {', '.join(known)}"
    raise UsageError(f"no released checkpoint has the {what} {text!r}{hint}")
