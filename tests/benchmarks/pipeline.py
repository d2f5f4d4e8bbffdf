"""Speed of the input pipeline of pretraining: read, tokenise, join, corrupt and batch, in tokens of a batch per second.

    python -m tests.benchmarks.pipeline --text FILE --vocabulary FILE [--documents N]

The text's documents, one a line, are repeated in other orders to N and written as a TensorFlow dataset of four files,
which is read as C4 is: streamed, nothing in a cache. Lengths are T5's, 512 and 114, batches of 8. Figures: the seconds
to the first batch (of which reading and tokenising a window is nearly all), and tokens/s over the windows after it.
Beside it, the same from the cache of tokens. What a training step of `small` takes is measured by cpu.py.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from scalecli.data.text.corpora import Corpus, text_documents
from scalecli.data.text.span_corruption import SpanCorruption, pretraining_batches
from scalecli.data.text.streams import TextStream
from scalecli.data.text.tokens import TokenStore
from scalecli.data.text.vocabulary import load_vocabulary
from tests.datasets import prepare

BATCH, SHARDS, STEPS_FROM_CACHE = 8, 4, 500


def write_dataset(documents: list[str], count: int, folder: Path) -> None:
    import tensorflow_datasets as tfds

    chosen = [{"text": documents[n * 7919 % len(documents)]} for n in range(count)]
    shards = [chosen[shard::SHARDS] for shard in range(SHARDS)]
    prepare(folder, "c4/en", {"text": tfds.features.Text()}, shards)


def measure(name: str, batches: Iterable[object], tokens: int) -> None:
    start, first, count = time.perf_counter(), 0.0, 0
    for _ in batches:
        first = first or time.perf_counter() - start
        count += 1
    seconds = time.perf_counter() - start
    print(f"{name}: first batch after {first:.2f} s, {count * tokens / seconds:,.0f} tokens/s over {seconds:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True)
    parser.add_argument("--vocabulary", required=True)
    parser.add_argument("--documents", type=int, default=60_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cache = folder / "cache"
        vocabulary = load_vocabulary(arguments.vocabulary, cache_directory=cache)
        write_dataset(list(text_documents([arguments.text])), arguments.documents, folder)
        objective = SpanCorruption()
        tokens = BATCH * (objective.inputs_length + objective.targets_length)
        options = {"batch": BATCH, "seed": 0}
        corpus = Corpus.from_dataset("c4/en", "train", str(folder))
        stream = TextStream.open(corpus, vocabulary, cache_directory=cache)
        segments = int(stream.segments(stream.documents, objective))
        measure("streamed", stream.batches(objective, **options).take(segments // BATCH), tokens)
        store = TokenStore.build(Corpus.from_text([arguments.text], "all"), vocabulary, cache_directory=cache)
        cached = pretraining_batches(store, objective, sentinels=vocabulary.sentinels, **options)
        measure("from the cache", cached.take(STEPS_FROM_CACHE), tokens)


if __name__ == "__main__":
    main()
