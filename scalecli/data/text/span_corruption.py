"""Span corruption (T5 paper, sections 3.1.4 and 3.3.4): sentinels replace spans of a segment, which must be predicted.

Everything is a function of (seed, step): batch `step` can be made without the ones before it, so a run that starts
again sees the data it would have seen. Shapes are static throughout, as XLA wants them. The numbers are those that
TensorFlow draws on the host, where tf.data runs; inside a function compiled by XLA its generator draws others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from scalecli.data import MOST_TOKENS
from scalecli.data.order import WHOLE, HostShare, shuffled_index
from scalecli.data.text.pieces import EOS, PAD
from scalecli.data.text.tokens import TokenStore
from scalecli.data.text.vocabulary import Vocabulary
from scalecli.errors import ConfigurationError, MissingError

if TYPE_CHECKING:
    import tensorflow as tf

_VALIDATION_SEED = 0
COUNTED_TOKENS = 50_000_000  # frequencies of so many tokens are those of any more


@dataclass(frozen=True)
class SpanCorruption:
    """The objective: how much of a segment is noise, and in spans of which mean length, for inputs of a given length.

    Lengths are in tokens and count the end of sequence. T5's values are the defaults; they give segments of 568 tokens
    and targets of 114. Raises ConfigurationError for values that leave nothing to read or nothing to predict.
    """

    inputs_length: int = 512
    noise_density: float = 0.15
    mean_span_length: float = 3.0

    def __post_init__(self) -> None:
        if not 0 < self.noise_density < 1:
            raise ConfigurationError(f"noise_density {self.noise_density}: it lies between 0 and 1")
        if not self.mean_span_length >= 1:
            raise ConfigurationError(f"mean_span_length {self.mean_span_length}: it is at least 1")
        if not 3 <= self.inputs_length <= MOST_TOKENS:
            raise ConfigurationError(f"inputs_length {self.inputs_length}: it is from 3 to {MOST_TOKENS:,}")

    @cached_property
    def segment_length(self) -> int:
        """The tokens of raw text per example: the most whose corrupted form fits in the inputs.

        At a density of one half it is one token less where the targets would be longer than the inputs, as in T5.
        """
        # With a sentinel for each noise token nothing but the end of sequence is added.
        length = self.inputs_length - 1
        while _lengths(length + 1, self.noise_density, self.mean_span_length)[0] <= self.inputs_length:
            length += 1
        inputs, targets = _lengths(length, self.noise_density, self.mean_span_length)
        return length - 1 if self.noise_density == 0.5 and targets > inputs else length

    @property
    def targets_length(self) -> int:
        """The length of the targets."""
        return _lengths(self.segment_length, self.noise_density, self.mean_span_length)[1]

    @property
    def noise_tokens(self) -> int:
        """The tokens of a segment that are predicted."""
        return noise_counts(self.segment_length, self.noise_density, self.mean_span_length)[0]

    @property
    def spans(self) -> int:
        """The number of spans that a segment's noise is cut into."""
        return noise_counts(self.segment_length, self.noise_density, self.mean_span_length)[1]


def noise_counts(length: int, noise_density: float, mean_span_length: float) -> tuple[int, int]:
    """How many of `length` tokens are noise and in how many spans; both round half to even.

    At least one token is noise and one isn't; a span has at least one token, and so has each stretch between spans.
    """
    noise = min(max(round(length * noise_density), 1), length - 1)
    return noise, min(max(round(noise / mean_span_length), 1), length - noise)


def _lengths(length: int, noise_density: float, mean_span_length: float) -> tuple[int, int]:
    """The lengths of a segment's inputs and targets, with a sentinel for each span and an end of sequence."""
    noise, spans = noise_counts(length, noise_density, mean_span_length)
    return length - noise + spans + 1, noise + spans + 1


def noise_mask(length: int, noise_density: float, mean_span_length: float, seeds: tf.Tensor) -> tf.Tensor:
    """Which of `length` tokens are noise, bool [length]: spans that begin after at least one token of text.

    Noise and text are each cut into equally many parts, uniformly over the ways to cut; `seeds` [2, 2] are the
    stateless seeds of the two cuts, the noise's first.
    """
    import tensorflow as tf

    noise, spans = noise_counts(max(length, 2), noise_density, mean_span_length)
    text = max(length, 2) - noise
    part_lengths = tf.stack([_random_cut(text, spans, seeds[1]), _random_cut(noise, spans, seeds[0])], axis=1)
    part_ends = tf.cumsum(tf.reshape(part_lengths, [2 * spans]))  # text, noise, text, noise ...
    part = tf.searchsorted(part_ends, tf.range(length), side="right")  # [length]: the part that a token lies in
    return part % 2 == 1


def _random_cut(items: int, parts: int, seed: tf.Tensor) -> tf.Tensor:
    """The lengths of `parts` parts, int32 [parts], of a random cut of `items` items, none of them empty."""
    import tensorflow as tf

    draws = tf.random.stateless_uniform([items - 1], seed, alg="philox")
    begins_part = tf.gather(tf.range(items - 1) < parts - 1, tf.argsort(draws))  # [items - 1]: all but the first item
    part = tf.cumsum(tf.cast(tf.concat([[False], begins_part], axis=0), tf.int32))  # [items]
    return tf.math.unsorted_segment_sum(tf.ones([items], tf.int32), part, parts)


def corrupt(
    tokens: tf.Tensor, mask: tf.Tensor, *, sentinels: Sequence[int], inputs_length: int, targets_length: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Inputs [inputs_length] and targets [targets_length] of tokens [length] whose noise is `mask` [length].

    In the inputs each span of noise becomes one sentinel, in the targets each stretch of text; the k-th of each has the
    id sentinels[k]. No end of sequence is added; what is shorter is padded, what is longer is cut.
    """
    return (
        _with_sentinels(tokens, mask, sentinels, inputs_length),
        _with_sentinels(tokens, ~mask, sentinels, targets_length),
    )


def _with_sentinels(tokens: tf.Tensor, mask: tf.Tensor, sentinels: Sequence[int], length: int) -> tf.Tensor:
    """Tokens with each run of the mask replaced by one sentinel, padded or cut to [length]."""
    import tensorflow as tf

    begins = mask & ~tf.concat([[False], mask[:-1]], axis=0)  # the first token of each run
    number = tf.maximum(tf.cumsum(tf.cast(begins, tf.int32)) - 1, 0)  # [length]: of the run that a token is in or after
    replacements = tf.gather(tf.constant(list(sentinels), tokens.dtype), number)
    kept = begins | ~mask
    positions = tf.cumsum(tf.cast(kept, tf.int32)) - 1  # where a kept token goes
    positions = tf.where(kept, tf.minimum(positions, length), length)  # one more takes what is dropped
    replaced = tf.where(kept, tf.where(begins, replacements, tokens), 0)
    return tf.math.unsorted_segment_sum(replaced, tf.where(kept, positions, length), length + 1)[:length]


def pretraining_batches(
    store: TokenStore,
    objective: SpanCorruption,
    *,
    sentinels: Sequence[int],
    batch: int,
    seed: int,
    start_step: int = 0,
    share: HostShare = WHOLE,
) -> Any:
    """An endless tf.data.Dataset of training batches, or of the pieces of them that are a host's share.

    They have int32 "inputs" [batch, inputs_length] and "targets" [batch, targets_length]. The first one is that of
    `start_step`; batch `step` is the same whichever that is. Every epoch goes through all segments in an order of its
    own, and corrupts them anew. Raises as `check_segments` does.
    """
    import tensorflow as tf

    segments = check_segments(store, objective, sentinels)
    numbers = share.numbers(start_step, batch)
    index = partial(shuffled_index, count=segments, seed=seed)
    examples = _examples(store, objective, sentinels, numbers, index, seed)
    return examples.batch(share.piece(batch), drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def validation_batches(
    store: TokenStore, objective: SpanCorruption, *, sentinels: Sequence[int], batch: int, examples: int
) -> Any:
    """A tf.data.Dataset of the store's first `examples` segments, or all if there are fewer.

    They come in order and corrupted the same way every time, whatever the batch. Batches are shaped as those of
    `pretraining_batches`; the last one is padded. Raises as `check_segments` does.
    """
    import tensorflow as tf

    examples = min(check_segments(store, objective, sentinels), examples)
    numbers = tf.data.Dataset.range(examples)
    dataset = _examples(store, objective, sentinels, numbers, lambda n: n, _VALIDATION_SEED)
    padding = {"inputs": tf.fill([objective.inputs_length], PAD), "targets": tf.fill([objective.targets_length], PAD)}
    dataset = dataset.concatenate(tf.data.Dataset.from_tensors(padding).repeat(-examples % batch))
    return dataset.batch(batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def check_sentinels(objective: SpanCorruption, sentinels: Sequence[int]) -> None:
    """Raises ConfigurationError for an objective with more spans in a segment than the vocabulary has sentinels."""
    if objective.spans > len(sentinels):
        raise ConfigurationError(
            f"span corruption: {objective.spans} spans a segment, and the vocabulary has {len(sentinels)} sentinels; "
            "shorten inputs_length or lengthen mean_span_length"
        )


def check_segments(store: TokenStore, objective: SpanCorruption, sentinels: Sequence[int]) -> int:
    """The number of whole segments in a store.

    Raises:
        MissingError: there is none.
        ConfigurationError: they can't be corrupted (see `check_sentinels`).
    """
    check_sentinels(objective, sentinels)
    segments = store.tokens // objective.segment_length
    if not segments:
        raise MissingError(
            f"{store.name}: {store.tokens} tokens in {store.documents} documents are fewer than one segment of "
            f"{objective.segment_length}; give more text or shorter inputs"
        )
    return segments


def _examples(
    store: TokenStore,
    objective: SpanCorruption,
    sentinels: Sequence[int],
    numbers: Any,
    index: Callable[[tf.Tensor], tf.Tensor],
    seed: int,
) -> Any:
    """For each number n of a tf.data.Dataset the segment `index(n)`, corrupted by the seed and n."""
    import tensorflow as tf

    tokens, length = store.tensor(), objective.segment_length

    def example(n: tf.Tensor) -> dict[str, tf.Tensor]:
        segment = tf.slice(tokens, [index(n) * length], [length])
        return corrupted_example(segment, n, seed, objective, sentinels)

    return numbers.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def corrupted_example(
    segment: tf.Tensor, n: tf.Tensor, seed: int, objective: SpanCorruption, sentinels: Sequence[int]
) -> dict[str, tf.Tensor]:
    """The "inputs" [inputs_length] and "targets" [targets_length] of a segment, corrupted by the seed and `n`."""
    import tensorflow as tf

    seeds = tf.stack([[tf.constant(seed, tf.int64), 2 * n], [tf.constant(seed, tf.int64), 2 * n + 1]])  # [2, 2]
    mask = noise_mask(objective.segment_length, objective.noise_density, objective.mean_span_length, seeds)
    inputs, targets = corrupt(
        segment,
        mask,
        sentinels=sentinels,
        inputs_length=objective.inputs_length - 1,
        targets_length=objective.targets_length - 1,
    )
    return {"inputs": tf.concat([inputs, [EOS]], axis=0), "targets": tf.concat([targets, [EOS]], axis=0)}


def unigram_cross_entropy(
    targets: Iterable[np.ndarray], store: TokenStore, objective: SpanCorruption, vocabulary: Vocabulary
) -> float:
    """The cross-entropy, in nats per token, of target ids [...] under unigram frequencies; padding is left out.

    It is the baseline to beat: the loss of a model that knows only the frequencies of `store`'s tokens (with one added
    to each count, so that none is impossible) and which sentinels targets have.
    Raises MissingError when there is no target token.
    """
    counts = 1.0 + np.bincount(store.array[:COUNTED_TOKENS], minlength=vocabulary.size)
    expected = objective.noise_tokens * counts / counts.sum()  # times that an id is expected in one target
    expected[list(vocabulary.sentinels[: objective.spans])] += 1.0
    expected[EOS] += 1.0
    losses = -np.log(expected / expected.sum())
    ids = np.concatenate([np.zeros(0, np.int32), *(np.asarray(batch).ravel() for batch in targets)])
    ids = ids[ids != PAD]
    if not len(ids):
        raise MissingError("no target tokens to measure")
    return float(losses[ids].mean())
