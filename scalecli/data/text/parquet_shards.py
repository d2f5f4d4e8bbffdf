"""The texts of Parquet files, shard by shard: as many rows as their footers say, read from any row on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from scalecli.data import columnar
from scalecli.data.blocks import Blocks
from scalecli.data.records import NO_TEXT, text_of
from scalecli.data.sources import Remarks, display_name
from scalecli.errors import ConfigurationError, MissingError

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class ParquetShards:
    """One split of the rows of Parquet files; a row of another split, or whose text is null, is an empty text.

    `rows` are those of each file, `bytes` those of all texts before compression. With `every`, the rows 0, `every` ...
    of all files together are held out, and the split is these (`held_out`) or the others.
    """

    locations: tuple[str, ...]
    rows: tuple[int, ...]
    bytes: int
    field: str
    every: int | None
    held_out: bool

    @classmethod
    def open(cls, locations: Sequence[str], field: str, every: int | None, held_out: bool) -> ParquetShards:
        """Reads the footers of the files. Raises MissingError for one that can't be read or has no such field."""
        try:
            rows, sizes = zip(*(columnar.rows_and_bytes(location, field) for location in locations), strict=True)
        except ConfigurationError as error:
            raise MissingError(f"{error}; --text-field names another one") from error
        return cls(tuple(locations), rows, sum(sizes), field, every, held_out)

    @property
    def identity(self) -> str:
        """The names of the files, for messages."""
        return " ".join(map(display_name, self.locations))

    @property
    def examples(self) -> int:
        """The number of rows, empty texts included."""
        return sum(self.rows)

    def shards(self) -> list[tuple[str, int, int]]:
        """Each file, its first row, and the number of its rows, as `DatasetSplit.shards` does."""
        return [(location, 0, rows) for location, rows in zip(self.locations, self.rows, strict=True)]

    def documents(self, remarks: Remarks) -> Iterator[str]:
        """Yields the text of every row. Raises MissingError for what can't be read or is no text."""
        for location in self.locations:
            yield from self._texts(location, 0, remarks)

    def records(self, path: tf.Tensor, start: tf.Tensor, count: tf.Tensor) -> Any:
        """A tf.data.Dataset of the texts of so many rows of a file from a row on, in UTF-8."""
        return self._blocks.dataset(path, start, count)

    def texts(self, records: tf.Tensor) -> tf.Tensor:
        """The texts of records, string [records]."""
        return records

    @cached_property
    def _blocks(self) -> Blocks:
        return Blocks(lambda path, start: (text.encode() for text in self._texts(path, start, Remarks())))

    def _texts(self, location: str, start: int, remarks: Remarks) -> Iterator[str]:
        name, first = display_name(location), self._firsts[location]
        for number, value in enumerate(columnar.read_column(location, self.field, start), start):
            if self.every and ((first + number) % self.every == 0) != self.held_out:
                yield ""
                continue
            where = f"{name}:{number + 1}"
            text = text_of({self.field: value}, self.field, where)
            if not text:
                remarks.add(NO_TEXT, where)
            yield text

    @cached_property
    def _firsts(self) -> dict[str, int]:
        return dict(zip(self.locations, accumulate((0, *self.rows)), strict=False))
