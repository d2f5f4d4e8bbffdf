"""TensorFlow Datasets: opened where they are prepared, or downloaded, and read row by row.

A dataset is named as there: `glue/mrpc`, `c4/en`, or with a version, `c4/en:3.0.1` or `c4/en/3.0.1`. A split may be a
part: `train[:1%]`, or by files, `train[:16shard]`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from scalecli.data import columnar
from scalecli.data.blocks import Blocks
from scalecli.errors import ConfigurationError, MissingError, nearest, reason_of
from scalecli.storage.files import is_remote

if TYPE_CHECKING:
    import tensorflow as tf

_VERSION = re.compile(r"\d+\.\d+\.\d+")
_READ_BYTES = 8 << 20
_RECORDS = 256  # of an ArrayRecord file, read at once
_ELSEWHERE = {"c4": ", or give the files of huggingface.co/datasets/allenai/c4 by --text"}


@dataclass(frozen=True)
class DatasetSplit:
    """A split of a prepared dataset: `identity` is its name and version, `text` the feature that holds a text."""

    builder: Any
    name: str
    identity: str
    info: Any
    text: str = "text"

    @property
    def examples(self) -> int:
        """The number of examples."""
        return sum(length for _, _, length in self.shards())

    @property
    def file_format(self) -> str:
        """The format of the files, such as tfrecord."""
        return str(self.builder.info.file_format.value)

    def shards(self) -> list[tuple[str, int, int]]:
        """Each file's path, the number of its examples before the split's first, and that of the split's."""
        return [(str(part.filename), part.skip, part.take) for part in self.info.file_instructions]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields the examples in the order on disk, as plain values. Raises MissingError for files that are damaged."""
        import tensorflow_datasets as tfds

        with readable(self.identity):
            if self.file_format != "tfrecord":
                for path, skip, take in self.shards():
                    left = take
                    for serialized in itertools.islice(_SHARD_READERS[self.file_format](path, skip), take):
                        yield _plain(self.builder.info.features.deserialize_example_np(serialized))
                        left -= 1
                    if left:
                        raise MissingError(f"{path}: has fewer examples than its dataset says")
                return
            in_order = tfds.ReadConfig(interleave_cycle_length=1)
            rows = self.builder.as_dataset(split=self.name, shuffle_files=False, read_config=in_order)
            for row in tfds.as_numpy(rows):
                yield _plain(row)

    def records(self, path: tf.Tensor, start: tf.Tensor, count: tf.Tensor) -> Any:
        """A tf.data.Dataset of so many serialized examples of a file from one on."""
        import tensorflow as tf

        if self.file_format == "tfrecord":
            return tf.data.TFRecordDataset(path, buffer_size=_READ_BYTES).skip(start).take(count)
        return self._blocks.dataset(path, start, count)

    def texts(self, records: tf.Tensor) -> tf.Tensor:
        """The texts of serialized examples, string [records]."""
        import tensorflow as tf

        parsed = tf.io.parse_example(records, {self.text: tf.io.FixedLenFeature([], tf.string)})
        return tf.strings.strip(parsed[self.text])

    @cached_property
    def _blocks(self) -> Blocks:
        return Blocks(_SHARD_READERS[self.file_format])


def _array_records(path: str, start: int) -> Iterator[bytes]:
    """Yields the records of an ArrayRecord file from one on."""
    from array_record.python.array_record_module import ArrayRecordReader

    try:
        reader = ArrayRecordReader(path)
        if not reader.ok():
            raise MissingError(f"{path}: cannot be read (not a whole ArrayRecord file)")
        count = reader.num_records()
        for first in range(start, count, _RECORDS):
            yield from reader.read(first, min(first + _RECORDS, count))
    except (RuntimeError, ValueError, IndexError, OSError) as error:
        raise MissingError(f"{path}: cannot be read ({reason_of(error)})") from error


_SHARD_READERS: dict[str, Callable[[str, int], Iterator[bytes]]] = {
    "array_record": _array_records,
    "parquet": lambda path, start: columnar.read_column(path, "data", start),  # TFDS writes one column
}


@contextlib.contextmanager
def readable(name: str) -> Iterator[None]:
    """Turns what TensorFlow raises about a dataset's files that can't be read into one line. Raises MissingError."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        if "IteratorGetNext" not in str(error):  # of a model's own graph
            raise
        if ours := re.search(r"MissingError: (.*)", str(error)):  # what reads a shard in Python raised it
            raise MissingError(ours[1]) from error
        raise MissingError(f"dataset {name}: a file cannot be read ({reason_of(error)})") from error
    except UnicodeDecodeError as error:
        raise MissingError(f"dataset {name}: a text is not UTF-8 ({error.reason} at byte {error.start})") from error


def open_split(name: str, split: str, data_dir: str | None, *, download: bool = False) -> DatasetSplit:
    """A split of a dataset that is prepared in `data_dir`, a folder or bucket.

    Without one it is in TFDS_DATA_DIR or ~/tensorflow_datasets, and `download` has it fetched and prepared there first.
    Raises MissingError when the name, the split or the files are not there.
    """
    builder = open_dataset(name, data_dir, download=download)
    try:
        info = builder.info.splits[split]
    except (KeyError, ValueError, AssertionError) as error:
        known = builder.info.splits
        listed = ", ".join(known)
        raise MissingError(f"dataset {name}: no split {split!r}; it has {listed}{nearest(split, known)}") from error
    return DatasetSplit(builder, split, f"{_named(name)[0]}/{builder.version}", info)


def open_dataset(name: str, data_dir: str | None, *, download: bool = False) -> Any:
    """The builder of a prepared dataset; see `open_split`. Raises MissingError."""
    import tensorflow_datasets as tfds

    folder = _prepared_folder(name, data_dir)
    if folder is not None:
        try:
            builder = tfds.builder_from_directory(folder)
        except Exception as error:  # of many classes
            raise MissingError(f"dataset {name}: {reason_of(error)}") from error
    else:
        builder = _builder_of_code(name, data_dir)
        if download and data_dir is None and not builder.info.splits:
            _download(name, builder)
    if not builder.info.splits:
        raise MissingError(f"dataset {name}: not found under {builder.data_dir}; {how_to_get(name, builder)}")
    if (prepared := str(builder.info.file_format.value)) not in ("tfrecord", *_SHARD_READERS):
        accepted = ", ".join(("tfrecord", *_SHARD_READERS))
        raise ConfigurationError(f"dataset {name}: prepared as {prepared}; accepted: {accepted}")
    return builder


def _named(name: str) -> tuple[str, str]:
    """The name without its version, and the version, empty where there is none."""
    stem, colon, version = name.partition(":")
    if not colon:
        stem, _, version = name.rpartition("/")
        if not _VERSION.fullmatch(version):
            return name, ""
    return stem, version


def how_to_get(name: str, builder: Any = None) -> str:
    """What a person can do to have a dataset."""
    by_hand = builder is not None and builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    first = (
        " (some files must be downloaded by hand first: its page in the TFDS catalogue says which)" if by_hand else ""
    )
    elsewhere = _ELSEWHERE.get(name.partition("/")[0], "")
    return f"prepare it with `tfds build {name} --data_dir DIRECTORY`{first} and pass --data-dir DIRECTORY{elsewhere}"


def _prepared_folder(name: str, data_dir: str | None) -> str | None:
    """The folder of a prepared dataset, of the version that the name states or else of the latest."""
    from etils import epath

    name, version = _named(name)
    where = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    folder = epath.Path(where if is_remote(where) else os.path.expanduser(where)) / name
    try:
        versions = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    except Exception as error:  # every kind of bucket raises errors of its own
        raise MissingError(f"{folder}: cannot be read ({reason_of(error)})") from error
    fitting = [name for name in versions if _VERSION.fullmatch(name) and version in ("", name)]
    latest = max(fitting, key=lambda name: [int(part) for part in name.split(".")], default=None)
    return None if latest is None else str(folder / latest)


def _builder_of_code(name: str, data_dir: str | None) -> Any:
    import tensorflow_datasets as tfds

    name = ":".join(filter(None, _named(name)))
    base, _, configuration = name.partition("/")
    try:
        return tfds.builder(name, data_dir=data_dir, try_gcs=False)
    except tfds.core.DatasetNotFoundError as error:
        hint = nearest(base, tfds.list_builders(with_community_datasets=False))
        where = data_dir or "TFDS_DATA_DIR or ~/tensorflow_datasets"
        raise MissingError(
            f"dataset {name}: TensorFlow Datasets has none of that name, nor has {where}{hint}"
        ) from error
    except ValueError as error:  # a configuration that the dataset doesn't have, or no name at all
        try:
            known = list(tfds.builder_cls(base.partition(":")[0]).builder_configs)
        except ValueError:
            raise MissingError(f"dataset {name!r}: a name such as c4/en or imagenet2012:5.1.0 is accepted") from error
        raise MissingError(f"dataset {name}: it has {', '.join(known)}{nearest(configuration, known)}") from error
    except Exception as error:  # a builder's own code runs here: missing packages, no network
        raise MissingError(f"dataset {name}: {reason_of(error)}") from error


def _download(name: str, builder: Any) -> None:
    import tensorflow_datasets as tfds

    if isinstance(builder, tfds.core.BeamBasedBuilder):
        raise MissingError(f"dataset {name}: too large to be prepared here; {how_to_get(name, builder)}")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # TFDS says there what it does
            builder.download_and_prepare()
    except Exception as error:  # no network, no disk, or a builder's own code
        reason = f"can't be downloaded ({reason_of(error)})"
        raise MissingError(f"dataset {name}: {reason}; {how_to_get(name, builder)}") from error


def _plain(value: Any) -> Any:
    """NumPy's values as Python's, bytes as text."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return _plain(value.tolist()) if hasattr(value, "tolist") else value
