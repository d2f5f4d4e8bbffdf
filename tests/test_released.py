import re
from dataclasses import replace

import pytest

from scalecli import released, strict
from scalecli.architectures import build_spec
from scalecli.cli.shape.released import released_table
from scalecli.errors import ConfigurationError, MissingError, UsageError
from scalecli.released import released_by_name, released_checkpoints
from scalecli.shape import Shape, parse_name, shape_name

CHECKPOINTS = released_checkpoints()

# What the folders' own grammar says: a size, then letters of operators that are not those of the names.
SIZES = {
    "tiny": Shape(4, 4, d_model=256, d_ff=1024, d_kv=64, heads=4),
    "mini": Shape(4, 4, d_model=384, d_ff=1536, d_kv=64, heads=8),
    "sm": Shape(6, 6, d_model=512, d_ff=2048, d_kv=64, heads=8),
    "": Shape(12, 12, d_model=768, d_ff=3072, d_kv=64, heads=12),
    "lg": Shape(24, 24, d_model=1024, d_ff=4096, d_kv=64, heads=16),
    "3B": Shape(24, 24, d_model=1024, d_ff=16384, d_kv=128, heads=32),
    "11B": Shape(24, 24, d_model=1024, d_ff=65536, d_kv=128, heads=128),
}
SIZES |= {"small": SIZES["sm"], "bs": SIZES[""], "large": SIZES["lg"]}
FIELDS = {
    "l": ("encoder_layers", "decoder_layers"),
    **{"el": ("encoder_layers",), "dl": ("decoder_layers",)},
    **{"d": ("d_model",), "f": ("d_ff",), "h": ("heads",), "kv": ("d_kv",)},
}
SHARING = {
    "shared": {"shared_heads": True},
    "skv": {"tied_key_values": True},
    "shkv": {"shared_heads": True, "tied_key_values": True},
}


def shape_of_folder(folder):
    words = re.fullmatch(r"bi_v1_(?:(.*)_)?law_\d\d-\d\d-\d\d-\d\d", folder)[1]
    words = words.split("_") if words else []
    shape = SIZES[words.pop(0)] if words and words[0] in SIZES else SIZES[""]
    for word in words:
        if word in SHARING:
            shape = replace(shape, **SHARING[word])
            continue
        assert re.fullmatch(r"([a-z]+\d+k?)+", word), folder
        for letters, number, thousand in re.findall(r"(el|dl|kv|[a-z])(\d+)(k?)", word):
            value = int(number) * (1024 if thousand else 1)
            shape = replace(shape, **dict.fromkeys(FIELDS[letters], value))
    return shape


def test_the_release_has_170_names():
    assert len(CHECKPOINTS) == 171
    assert len({checkpoint.folder for checkpoint in CHECKPOINTS}) == 171
    assert len({checkpoint.name for checkpoint in CHECKPOINTS}) == 170
    assert sum(checkpoint.parameters is None for checkpoint in CHECKPOINTS) == 10


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda checkpoint: checkpoint.folder)
def test_a_name_is_the_shape_of_its_folder_with_the_listed_parameters_and_prints_back(checkpoint):
    shape = checkpoint.shape
    assert shape == shape_of_folder(checkpoint.folder)
    assert parse_name(shape_name(shape)) == shape
    if checkpoint.parameters is not None:
        assert build_spec("transformer", shape).parameters() == checkpoint.parameters


def test_names_print_as_they_are_unless_they_round_or_have_another_order():
    canonical = [
        checkpoint.name
        for checkpoint in CHECKPOINTS
        if f"t5-efficient-{shape_name(checkpoint.shape)}" == checkpoint.name
    ]
    others = {checkpoint.name for checkpoint in CHECKPOINTS} - set(canonical)
    assert {"t5-efficient-large-nh8-nl16", "t5-efficient-large-nh8-nl32"} < others
    assert all(re.search(r"-(dm|ff)\d+000$|-nh8-nl\d\d$", name) for name in others)
    assert len(others) == 22


def test_lookups():
    two = released_by_name("base")
    assert [checkpoint.folder for checkpoint in two] == ["bi_v1_bs_law_03-18-08-28", "bi_v1_law_02-14-16-54"]
    assert two == released_by_name("google/t5-efficient-base") == released_by_name("T5-Efficient-Base")
    assert two == tuple(checkpoint for checkpoint in CHECKPOINTS if checkpoint.shape == parse_name("base"))
    (checkpoint,) = released_by_name("small-el16-dl2")
    assert checkpoint.url == ("gs://scenic-bucket/scaling_explorer/scaling_explorer/bi_v1_sm_el16dl2_law_03-21-22-56")
    assert (checkpoint.size, checkpoint.operators, checkpoint.gap) == ("small", ("el", "dl"), None)
    assert checkpoint.hugging_face == "google/t5-efficient-small-el16-dl2"
    assert checkpoint.steps[-1] == 524288


def test_what_was_not_released_is_named_with_the_nearest():
    with pytest.raises(MissingError, match="no released checkpoint 'small-nl7'; did you mean 't5-efficient-small-nl"):
        released_by_name("small-nl7")


def test_known_gaps():
    gaps = {checkpoint.name: checkpoint.gap for checkpoint in CHECKPOINTS if checkpoint.gap}
    assert gaps["t5-efficient-large-nh8-nl16"] == "no checkpoint in the folder"
    assert gaps["t5-efficient-xl-nl28"] == gaps["t5-efficient-large-nh8-nl32"] == "incomplete"
    sharing = [checkpoint for checkpoint in CHECKPOINTS if {"sh", "skv"} & set(checkpoint.operators)]
    assert len(sharing) == 10
    for checkpoint in sharing:
        assert checkpoint.hugging_face is None and "in name only" in checkpoint.gap
        assert ("may share encoder and decoder" in checkpoint.gap) == ("sh" in checkpoint.operators)
    assert set(gaps) == {
        *("t5-efficient-large-nh8-nl16", "t5-efficient-large-nh8-nl32", "t5-efficient-xl-nl28", "t5-efficient-base"),
        *(checkpoint.name for checkpoint in sharing),
    }


def test_the_table_of_one_size_and_operator():
    rows, columns = released_table("Tiny", "SKV")
    assert [row["name"] for row in rows] == ["t5-efficient-tiny-skv"]
    rows, columns = released_table(size="small", knob="dl")
    assert len(rows) == 12 and {column.key for column in columns} == set(rows[0])
    (row,) = (row for row in rows if row["name"] == "t5-efficient-small-el16-dl2")
    assert (row["encoder_layers"], row["decoder_layers"], row["parameters"]) == (16, 2, 75_190_784)
    assert row["forward_flops"] > 0 and row["gap"] is None
    assert len(released_table()[0]) == 171
    assert sum(len(released_table(size)[0]) for size in ("tiny", "mini", "small", "base", "large", "xl", "xxl")) == 171


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"size": "smal"}, "no released checkpoint has the size 'smal'; did you mean 'small'?"),
        ({"knob": "zz"}, "no released checkpoint has the operator 'zz'; there are nl, "),
    ],
)
def test_a_size_or_operator_that_nothing_has(choice, message):
    with pytest.raises(UsageError) as error:
        released_table(**choice)
    assert str(error.value).startswith(message)


def test_a_damaged_file_is_named(tmp_path, monkeypatch):
    content = {
        **{"bucket": "gs://b", "hugging_face": "google", "steps": [1], "converted_in_name_only": [], "gaps": {}},
        "checkpoints": {"columns": ["name", "parameters"], "rows": {"folder": ["t5-efficient-base"]}},
    }
    (tmp_path / "published").mkdir()
    strict.write_yaml(tmp_path / "published" / "released_checkpoints.yaml", content)
    monkeypatch.setattr(released, "shapes_directory", lambda: tmp_path)
    with pytest.raises(ConfigurationError, match=r"released_checkpoints\.yaml: .*rows\.folder: 1 cells for 2 columns"):
        released_checkpoints.__wrapped__()
