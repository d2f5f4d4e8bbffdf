"""Whether an imported model gives the log-likelihood that the original gives: a check of everything at once."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from scalecli import shapes_directory, strict
from scalecli.architectures import build_text_spec
from scalecli.data.text.pieces import EOS
from scalecli.data.text.vocabulary import Vocabulary
from scalecli.errors import ScalecliError
from scalecli.interchange.imported import Imported

_LENGTHS = 16  # what pools its inputs takes multiples of a power of two; padding is masked


@dataclass(frozen=True)
class Golden:
    """An example, and the log-likelihood of its target by released checkpoints of `step` (see the file's comment)."""

    input: str
    target: str
    step: int
    tolerance: float
    log_likelihoods: dict[str, float]


@functools.cache
def golden() -> Golden:
    """The example and its figures. Raises ConfigurationError when the file is not as it should be."""
    path = shapes_directory() / "published" / "golden_log_likelihoods.yaml"
    return strict.from_mapping(Golden, strict.load_yaml(path), str(path))


def log_likelihood(imported: Imported, vocabulary: Vocabulary) -> float:
    """The sum of log p of the golden target's tokens, its end of sequence among them, given the golden input."""
    from scalecli.models.encoder_decoder import EncoderDecoder, token_losses
    from scalecli.training.checkpoints import assign

    model = EncoderDecoder(build_text_spec(imported.architecture, imported.shape))
    assign(model.weights_by_path(), imported.weights, "the checkpoint")
    inputs, targets = (_tokens(text, vocabulary) for text in (golden().input, golden().target))
    losses = np.asarray(token_losses(model({"inputs": inputs, "targets": targets}), targets))
    return -float(losses[targets > 0].sum())


def check(computed: float, name: str | None, step: int) -> str:
    """Compares a log-likelihood with that of the released checkpoint `name`; returns what a reader should know.

    Raises:
        ScalecliError: it is another.
    """
    figures = golden()
    expected = figures.log_likelihoods.get(name or "")
    if expected is None or step != figures.step:
        known = ", ".join(figures.log_likelihoods)
        return f"log-likelihood {computed:.5f}; known are those of {known} at step {figures.step:,}"
    if not abs(computed - expected) <= figures.tolerance:
        raise ScalecliError(
            f"{name}: the log-likelihood of the example is {computed:.5f}, and the original's is {expected:.5f}; "
            f"{figures.tolerance:g} more or less is accepted"
        )
    return f"log-likelihood {computed:.5f}, within {figures.tolerance:g} of the original's {expected:.5f}"


def _tokens(text: str, vocabulary: Vocabulary) -> np.ndarray:
    """[1, length] ids with the end of sequence, and padding."""
    ids = [*vocabulary.encode(text), EOS]
    return np.asarray([ids + [0] * (-len(ids) % _LENGTHS)], "int32")
