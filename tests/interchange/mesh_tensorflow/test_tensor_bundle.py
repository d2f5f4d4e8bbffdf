import random
import struct

import google_crc32c
import ml_dtypes
import numpy as np
import pytest

from scalecli.errors import MissingError
from scalecli.interchange.mesh_tensorflow.tensor_bundle import TensorBundle
from tests.interchange.mesh_tensorflow.writer import write_checkpoint


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def message(**fields):
    """A protocol buffer: numbers, and contents, by `f1`, `f2` ..."""
    out = b""
    for name, value in fields.items():
        number = int(name[1:])
        is_content = isinstance(value, bytes)
        out += varint(number << 3 | (2 if is_content else 0))
        out += varint(len(value)) + value if is_content else varint(value)
    return out


def masked(content):
    checksum = google_crc32c.value(content)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def block(entries, kind=0):
    body = b"".join(varint(0) + varint(len(key)) + varint(len(value)) + key + value for key, value in entries)
    body += struct.pack("<II", 0, 1)
    return body, body + bytes([kind]) + struct.pack("<I", masked(body + bytes([kind])))


def index(entries, kind=0):
    """An index with right checksums, whatever its entries say."""
    body, stored = block(entries, kind)
    place = varint(0) + varint(len(body))
    top, stored_top = block([(b"~", place)])
    handles = varint(0) + varint(0) + varint(len(stored)) + varint(len(top))
    return stored + stored_top + handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def axes(*sizes):
    return b"".join(message(f2=message(f1=size)) for size in sizes)


HEADER = (b"", message(f1=1))
CONTENT = np.arange(6, dtype="float32").tobytes()
ENTRY = {"f1": 1, "f2": axes(2, 3), "f5": 24, "f6": masked(CONTENT)}


def write(folder, entries, content=CONTENT, kind=0):
    (folder / "x-1.index").write_bytes(entries if isinstance(entries, bytes) else index(entries, kind))
    (folder / "x-1.data-00000-of-00001").write_bytes(content)


def test_what_tensorflow_wrote(tmp_path):
    draw = np.random.default_rng(0)
    dtypes = ("float32", "float64", "int32", "int64", "float16", ml_dtypes.bfloat16)
    variables = {
        f"decoder/block_{number:03d}/layer_000/SelfAttention/{number % 7}": draw.normal(size=(number % 5, 3)).astype(
            dtype
        )
        for number, dtype in enumerate(dtypes * 120)  # more than a block of the index holds
    }
    write_checkpoint(tmp_path, variables, step=7)
    bundle = TensorBundle.open(tmp_path, "model.ckpt-7")
    assert set(bundle.variables) == {*variables, "global_step"}
    assert bundle.files == ("model.ckpt-7.index", "model.ckpt-7.data-00000-of-00001")
    for name, expected in variables.items():
        array = bundle.read(name)
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
        assert array.tobytes() == expected.tobytes()
    assert bundle.read("global_step") == 7


def test_an_index_made_here(tmp_path):
    write(tmp_path, [HEADER, (b"a", message(**ENTRY))])
    np.testing.assert_array_equal(TensorBundle.open(tmp_path, "x-1").read("a"), [[0, 1, 2], [3, 4, 5]])


ENTRIES = {
    "10 GB in a few bytes": ({"f2": axes(50_000, 50_000), "f5": 10**10}, "truncated: a of 10,000,000,000 bytes"),
    "size and shape differ": ({"f2": axes(2, 2)}, "a is float32 [2, 2] in 24 bytes of shard 0"),
    "far behind the end": ({"f4": 1 << 60}, "truncated: a of 24 bytes should begin at byte 1,152,921,504,606,846,976"),
    "a negative axis": ({"f2": axes((1 << 64) - 1, 3)}, "an axis has"),
    "an axis that is no message": ({"f2": message(f2=5)}, "an axis has -1 entries"),
    "many axes": ({"f2": axes(*[1] * 17, 6)}, "a is float32"),
    "text for a dtype": ({"f1": 7}, "a has the dtype number 7"),
    "another shard": ({"f3": 1}, "in 24 bytes of shard 1"),
    "slices": ({"f7": message(f1=1)}, "a is in slices"),
    "content for a number": ({"f5": b"24"}, "the entry of a is of another kind"),
    "number for a content": ({"f2": 5}, "the entry of a is of another kind"),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_that_cannot_be(tmp_path, name):
    changes, said = ENTRIES[name]
    write(tmp_path, [HEADER, (b"a", message(**{**ENTRY, **changes}))])
    with pytest.raises(MissingError) as error:
        TensorBundle.open(tmp_path, "x-1")
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("entries", "kind", "said"),
    [
        ([(b"", message(f1=0)), (b"a", message(**ENTRY))], 0, "it has 0 shards"),
        ([(b"", message(f1=10**9)), (b"a", message(**ENTRY))], 0, "it has 1000000000 shards"),
        ([(b"", message(f1=1, f2=1)), (b"a", message(**ENTRY))], 0, "big-endian"),
        ([(b"", message(f1=2)), (b"a", message(**ENTRY))], 0, "data-00000-of-00002: cannot be read (No such file"),
        ([HEADER], 0, "it has no variables"),
        ([(b"a", message(**ENTRY))], 0, "in 24 bytes of shard 0"),
        ([HEADER, (b"\xff", message(**ENTRY))], 0, "a number or a name in it can't be"),
        ([HEADER, (b"a", b"\xff" * 20)], 0, "a number in it is too long"),
        ([HEADER, (b"a", b"\x0b")], 0, "a field is of the kind 3"),
        ([HEADER, (b"a", b"\x12\x7f")], 0, "an entry of it is truncated"),
        ([HEADER, (b"a", message(**ENTRY))], 1, "it is compressed"),
        (b"", 0, "its end is not that of a table"),
        (b"no index\n" * 20, 0, "its end is not that of a table"),
        (b"\xff" * 48 + struct.pack("<Q", 0xDB4775248B80FB57), 0, "a number in it is too long"),
    ],
)
def test_an_index_that_cannot_be(tmp_path, entries, kind, said):
    write(tmp_path, entries, kind=kind)
    with pytest.raises(MissingError) as error:
        TensorBundle.open(tmp_path, "x-1")
    assert said in str(error.value) and "\n" not in str(error.value)


def test_damaged_files_are_named(tmp_path):
    write_checkpoint(tmp_path, {"a": np.arange(100, dtype="float32")})
    shard, table = tmp_path / "model.ckpt-3.data-00000-of-00001", tmp_path / "model.ckpt-3.index"
    content, entries = shard.read_bytes(), table.read_bytes()
    shard.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
    with pytest.raises(MissingError, match=r"of-00001: damaged .the checksum of a is not the one"):
        TensorBundle.open(tmp_path, "model.ckpt-3").read("a")
    shard.write_bytes(content[:200])
    with pytest.raises(MissingError, match=r"of-00001: truncated: a of 400 bytes .* the file has 200"):
        TensorBundle.open(tmp_path, "model.ckpt-3")
    shard.unlink()
    with pytest.raises(MissingError, match="of-00001: cannot be read"):
        TensorBundle.open(tmp_path, "model.ckpt-3")
    shard.write_bytes(content)
    for place in range(len(entries) - 8):
        table.write_bytes(entries[:place] + bytes([entries[place] ^ 0x41]) + entries[place + 1 :])
        try:
            bundle = TensorBundle.open(tmp_path, "model.ckpt-3")
        except MissingError:
            continue
        assert bundle.variables["a"].shape == (100,)  # it was in what nobody reads
    table.unlink()
    with pytest.raises(MissingError, match=r"model.ckpt-3.index: no such file"):
        TensorBundle.open(tmp_path, "model.ckpt-3")


def test_random_entries_end_in_one_line(tmp_path):
    """With right checksums, as one who means harm would write them."""
    draw = random.Random(0)
    whole = message(**ENTRY)
    refused = 0
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        write(tmp_path, [HEADER, (b"a", bytes(damaged))])
        try:
            assert TensorBundle.open(tmp_path, "x-1").read("a").nbytes <= len(CONTENT)
        except MissingError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 400
