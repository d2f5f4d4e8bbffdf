"""What files hold is known by their content, in every format that people have text and tables in."""

import bz2
import gzip
import json
import lzma

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import zstandard

from scalecli.data.records import kind_of, read_json
from scalecli.data.sources import Remarks, find_files
from scalecli.data.tasks.layouts import read_rows
from scalecli.data.text.corpora import Corpus, text_documents
from scalecli.errors import ConfigurationError, MissingError

TEXTS = ["first text", "second\ntext", "ünï third"]
ROWS = [{"id": number, "text": text} for number, text in enumerate(TEXTS)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def saved_by_datasets(folder):
    table = pa.Table.from_pylist(ROWS)
    folder.mkdir()
    with pa.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))


def write(path, kind):
    table = pa.Table.from_pylist(ROWS)
    if kind == "parquet":
        pa.parquet.write_table(table, path, row_group_size=2)
    elif kind == "feather":
        pa.feather.write_feather(table, str(path))
    elif kind == "arrow file":
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    elif kind == "saved":
        saved_by_datasets(path)
    else:
        contents = {
            "lines": LINES,
            "list": json.dumps(ROWS).encode(),
            "indented list": json.dumps(ROWS, indent=2).encode(),
            "indented objects": "\n".join(json.dumps(row, indent=1) for row in ROWS).encode(),
            "gz": gzip.compress(LINES),
            "bz2": bz2.compress(LINES),
            "xz": lzma.compress(LINES),
            "zst": zstandard.compress(LINES[:20]) + zstandard.compress(LINES[20:]),  # two frames
            "csv": b'id,text\n0,first text\n1,"second\ntext"\n2,' + "ünï third\n".encode(),
        }
        path.write_bytes(contents[kind])


FILES = [
    *(("a.ndjson", "lines"), ("wiki_00", "lines"), ("a.json", "lines"), ("a.txt", "lines"), ("a.jsonl", "lines")),
    *(("a.json", "list"), ("a", "list"), ("a.json", "indented list"), ("a.json", "indented objects")),
    *(("a.jsonl.gz", "gz"), ("a", "gz"), ("a.jsonl.bz2", "bz2"), ("a.jsonl.xz", "xz"), ("a.jsonl.zst", "zst")),
    *(("a.parquet", "parquet"), ("a", "parquet"), ("a.feather", "feather"), ("a.arrow", "arrow file")),
    *(("folder", "saved"), ("a.csv", "csv")),
]


@pytest.mark.parametrize(("name", "kind"), FILES)
def test_texts_and_tables_of_every_format(tmp_path, name, kind):
    write(tmp_path / name, kind)
    assert list(text_documents([tmp_path / name])) == TEXTS
    assert list(Corpus.from_text([tmp_path / name], "all").documents()) == TEXTS
    (location,) = find_files([tmp_path / name])
    rows = [row for _, row in read_rows(location, None, needed=["text"])]
    assert [(int(row["id"]), row["text"]) for row in rows] == list(enumerate(TEXTS))


@pytest.mark.parametrize(
    "first", ["{", "{{Infobox}} begins", '{"quoted"} words', "[1] Introduction", "[", "{'text': 1}", "{}"]
)
def test_text_that_begins_with_a_bracket_is_text(tmp_path, first):
    (tmp_path / "a.txt").write_text(f"{first}\nand more\n")
    assert list(text_documents([tmp_path / "a.txt"])) == [first, "and more"]


def test_json_that_is_text_further_on_is_one_line(tmp_path):
    (tmp_path / "a.txt").write_text('{"text": "x"}\nand more\n')
    with pytest.raises(MissingError, match=r"a\.txt:2: not JSON"):
        list(text_documents([tmp_path / "a.txt"]))


def test_values_longer_than_what_is_read_at_once(tmp_path):
    rows = [{"text": letter * 3_000_000} for letter in "abc"]
    for name, content in (("list", json.dumps(rows)), ("lines", "\n".join(map(json.dumps, rows)))):
        (tmp_path / name).write_text(content)
        assert [text[:1] for text in text_documents([tmp_path / name])] == ["a", "b", "c"]
    (tmp_path / "list").write_text(json.dumps(rows)[:-5_000])
    with pytest.raises(MissingError, match=r"list:1: not JSON"):
        list(text_documents([tmp_path / "list"]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'[{"text": "x"},\n {"text": }]', r"a\.json:2: not JSON"),
        ("a.json", b'[{"text": "x"}, 3]', r"a\.json:1: not a JSON object"),
        ("a.json", b'[{"text": "x"}', r"a\.json:1: not JSON"),
        ("a.json", b'{"data": [{"text": "x"}]}', r"a\.json:1: no field 'text'.*'data'; --text-field"),
        ("a.jsonl", b'{"text": "x", "text": "y"}', r"a\.jsonl:1: not JSON \(the key 'text' stands twice\)"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", r"a\.parquet: not Parquet"),
        ("a.parquet", b"PAR1 and no more", r"a\.parquet: cannot be read"),
        ("a.arrow", b"ARROW1\0\0 and no more", r"a\.arrow: cannot be read"),
        ("a.zst", zstandard.compress(LINES * 1_000)[:-9], r"a\.zst: cannot be unpacked"),
        ("a.bz2", bz2.compress(LINES)[:-9], r"a\.bz2: cannot be unpacked"),
        ("a.xz", lzma.compress(LINES)[:-9], r"a\.xz: cannot be unpacked"),
        ("a.xz", b"plain", r"a\.xz: its name ends in \.xz"),
        ("a.txt", b"PK\x03\x04rest", r"a\.txt: a ZIP archive; unpack it"),
        ("a.tar.gz", gzip.compress(b"x".ljust(257, b"\0") + b"ustar\x0000"), r"a\.tar\.gz: a tar archive; unpack it"),
        ("a.txt", "a line\n".encode("utf-16"), r"a\.txt: UTF-16 text; write it as UTF-8"),
        ("a.csv", "text\na line\n".encode("utf-16-le"), r"a\.csv: not text: 12 of its first 24 bytes are NUL"),
        ("a.txt", b"a line\n" + bytes(4_089), r"a\.txt: not text: 4,089 of its first 4,096 bytes are NUL"),
        ("a.txt", b"one\rtwo\r", r"a\.txt: its lines end in CR alone"),
        ("a.jsonl", b'{"text": 5}', r"a\.jsonl:1: 'text' is 5, not a string; --text-field"),
        ("a.jsonl", b'{"text": "x",}\n{"text": "y"}', r"a\.jsonl:1: not JSON"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MissingError, match=message) as raised:
        list(text_documents([tmp_path / name]))
    assert "\n" not in str(raised.value)


def test_text_of_other_systems(tmp_path):
    """A byte order mark, CRLF, a NUL among much else, characters that Python's splitlines cuts at, no last line end."""
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\0\r\n\r\n" + b"x" * 300 + "\r\na\x0b\u2028b".encode())
    assert list(text_documents([tmp_path / "a.txt"])) == ["one", "two\0", "x" * 300, "a\x0b\u2028b"]
    with pytest.raises(MissingError, match=r"no file matches; folders are divided by / here"):
        find_files(["C:\\data\\a.txt"])


def test_folders_of_splits_and_of_selections(tmp_path):
    saved_by_datasets(tmp_path / "train")
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(ConfigurationError, match="holds the splits train, test; name one of its folders"):
        find_files([tmp_path])
    state = {"_data_files": [], "_indices_files": [{"filename": "indices.arrow"}]}
    (tmp_path / "train/state.json").write_text(json.dumps(state))
    with pytest.raises(ConfigurationError, match="flatten_indices"):
        find_files([tmp_path / "train"])
    (tmp_path / "train/state.json").write_text(json.dumps({"_data_files": [{"filename": "../x.arrow"}]}))
    with pytest.raises(MissingError, match="no such file"):
        find_files([tmp_path / "train"])


def test_another_field(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"content": "x", "id": 1}\n')
    pa.parquet.write_table(pa.table({"content": ["x"]}), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        assert list(Corpus.from_text([tmp_path / name], "all", "content").documents()) == ["x"]
        own = Corpus.from_text([tmp_path / name], "all", "content").identity
        with pytest.raises((MissingError, ConfigurationError), match=r"'text'.*it has 'content'"):
            list(Corpus.from_text([tmp_path / name], "all").documents())
        assert len(own) == 64
    (tmp_path / "a.txt").write_text("plain\n")
    with pytest.raises(ConfigurationError, match="plain text, which has no field 'content'"):
        list(text_documents([tmp_path / "a.txt"], "content"))


def test_null_and_lone_surrogates_are_counted(tmp_path):
    lines = [
        '{"text": "one"}',
        '{"text": null}',
        '{"text": "a \\ud83d b"}',
        '{"text": "\\ud83d\\ude00"}',
        '{"text": null}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    remarks = Remarks()
    assert list(text_documents([tmp_path / "a.jsonl"], remarks=remarks)) == ["one", "a \ufffd b", "\U0001f600"]
    assert remarks.lines() == [
        f"documents left out, whose text is null or empty: 2, the first at {tmp_path / 'a.jsonl'}:2",
        f"records with lone surrogates, replaced by U+FFFD: 1, the first at {tmp_path / 'a.jsonl'}:3",
    ]
    (tmp_path / "b.jsonl").write_text('{"a": [{"\\udc00": "\\udfff"}], "b": 1}')
    ((_, record),) = read_json(str(tmp_path / "b.jsonl"), remarks)
    assert record == {"a": [{"\ufffd": "\ufffd"}], "b": 1}
    (tmp_path / "c.jsonl").write_text('{"text": null}')
    with pytest.raises(MissingError, match=r"no text \(documents left out.*c\.jsonl:1\)"):
        list(text_documents([tmp_path / "c.jsonl"]))


def test_parquet_holds_out_every_50th_row(tmp_path):
    texts = [str(number) for number in range(120)]
    texts[7] = None
    pa.parquet.write_table(pa.table({"text": texts[:70]}), tmp_path / "a.parquet", row_group_size=30)
    pa.parquet.write_table(pa.table({"text": texts[70:]}), tmp_path / "b.parquet")
    corpora = {split: Corpus.from_text([tmp_path / "*.parquet"], split) for split in ("train", "validation", "all")}
    found = {split: list(corpus.documents()) for split, corpus in corpora.items()}
    assert found["validation"] == ["0", "50", "100"]
    assert found["all"] == [text for text in texts if text]
    assert sorted(found["train"] + found["validation"], key=int) == found["all"]
    assert corpora["train"].shards.examples == 120
    remarks = Remarks()
    list(corpora["train"].documents(remarks))
    assert remarks.lines()[0].endswith(f"1, the first at {tmp_path / 'a.parquet'}:8")


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.parquet", "headless.tsv"])
def test_two_columns_of_one_name_are_one_line(tmp_path, name):
    if name == "a.parquet":
        table = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["text", "text"])
        pa.parquet.write_table(table, tmp_path / name)
    else:
        (tmp_path / name).write_text("text\ttext\nx\ty\n".replace("\t", "," if "csv" in name else "\t"))
    columns = ["text", "text"] if "headless" in name else None
    with pytest.raises(ConfigurationError, match="2 columns are called 'text'"):
        list(read_rows(str(tmp_path / name), None, needed=["text"], columns=columns))


def test_line_ends_within_a_csv_field_stay(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'text,label\r\n"one\r\ntwo",1\r\n"three\nfour",0\r\n')
    rows = [row for _, row in read_rows(str(tmp_path / "a.csv"), None, needed=["text"])]
    assert rows == [{"text": "one\r\ntwo", "label": "1"}, {"text": "three\nfour", "label": "0"}]


def test_rows_of_empty_fields_are_rows(tmp_path):
    (tmp_path / "a.tsv").write_text("text\tlabel\nx\t1\n\t\n\ny\t0\n")
    rows = [row for _, row in read_rows(str(tmp_path / "a.tsv"), None, needed=["text"])]
    assert [row["text"] for row in rows] == ["x", "", "y"]


def test_kinds(tmp_path):
    for name, content, kind in (("a.csv", "x,y", "csv"), ("a.txt", "x", "text"), ("a.json", "x", "json")):
        (tmp_path / name).write_text(content)
        assert kind_of(str(tmp_path / name)) == kind
