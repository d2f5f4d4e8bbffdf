"""What a model will really see, for `--show-examples`: text, tokens, sentinels and segments of rows of batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from scalecli.cli.output.terminal import stdout_color
from scalecli.tables import printable

if TYPE_CHECKING:
    from scalecli.data.text.vocabulary import Vocabulary

SENTINEL_COLOR, END_COLOR, LABEL_COLOR = "magenta", "bright_black", "cyan"


def print_examples(
    batches: Iterator[Mapping[str, Any]], vocabulary: Vocabulary, count: int, tasks: list[str] | None = None
) -> None:
    """Prints the first `count` rows of batches on stdout, each side as text and as tokens, segment by segment.

    batches: NumPy arrays int32 [batch, length] `inputs` and `targets`, `inputs_segments` and `targets_segments` of
    packed rows, and of a mixture `task` [batch], places in `tasks`.
    """
    shown = 0
    while shown < count:
        batch = next(batches)
        for row in range(min(count - shown, len(batch["inputs"]))):
            shown += 1
            task = f", {tasks[int(batch['task'][row])]}" if tasks else ""
            _say(f"example {shown}{task}", before="\n", bold=True)
            for side in ("inputs", "targets"):
                tokens = batch[side][row]
                segments = batch.get(f"{side}_segments")
                segments = (tokens > 0).astype("int32") if segments is None else segments[row]
                _side(side, tokens, segments, vocabulary)


def _side(name: str, tokens: Any, segments: Any, vocabulary: Vocabulary) -> None:
    _say(f"{name}: {int((tokens > 0).sum())} of {len(tokens)} tokens", fg=LABEL_COLOR)
    numbers = range(1, int(segments.max()) + 1)
    for number in numbers:
        ids = tokens[segments == number].tolist()
        prefix = f"  segment {number} " if len(numbers) > 1 else "  "
        click.echo(f"{prefix}text    {printable(vocabulary.decode(ids))}", color=stdout_color())
        click.echo(f"{prefix}tokens  {' '.join(_token(token, vocabulary) for token in ids)}", color=stdout_color())


def _token(token: int, vocabulary: Vocabulary) -> str:
    """A token as its piece, in which ▁ is a space; sentinels and the end of sequence in colors of their own."""
    piece = printable(vocabulary.piece(token))
    if token in vocabulary.sentinels:
        return click.style(piece, fg=SENTINEL_COLOR, bold=True)
    return click.style(piece, fg=END_COLOR) if piece == "</s>" else piece


def _say(text: str, before: str = "", **style: Any) -> None:
    click.secho(f"{before}{printable(text)}", color=stdout_color(), **style)
