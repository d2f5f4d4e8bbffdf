import click
import pytest

from scalecli.cli.options.model import complete_model

OPERATORS_OF_ALL = ("nl", "el", "dl", "dm", "kv", "nh", "ff", "shkv", "sh", "skv")
TYPES = ("act", "basic", "highway", "gated")


@pytest.mark.parametrize(
    ("incomplete", "architecture", "expected"),
    [
        ("", None, ["tiny", "mini", "small", "base", "large", "xl", "xxl", "xxxl", "vit-s", "vit-b"]),
        ("x", "glu", ["xl"]),
        ("x", "gul", ["xl", "xxl", "xxxl"]),
        ("Sm", None, ["small"]),
        ("small-", None, [f"small-{part}" for part in (*OPERATORS_OF_ALL, "ss", "tied", "untied")]),
        ("small-nl4-d", None, ["small-nl4-dl", "small-nl4-dm"]),
        ("small-n", "switch", ["small-nl", "small-nh", "small-ne"]),
        ("base-nr2-", "universal", [f"base-nr2-{part}" for part in (*OPERATORS_OF_ALL, "nr", *TYPES)]),
        ("base-b", "universal", ["base-basic"]),
        ("base-s", "albert", ["base-shkv", "base-sh", "base-skv", "base-ss"]),
        ("smal-", None, []),
        ("vit-", None, ["vit-s", "vit-b"]),
        ("vit-s-n", None, ["vit-s-nl", "vit-s-nh", "vit-s-nc"]),
        ("v", None, ["vit-s", "vit-b"]),
        ("V", "vit", ["vit-s", "vit-b"]),
        ("v", "glu", []),
    ],
)
def test_completion_offers_sizes_operators_and_files(incomplete, architecture, expected):
    context = click.Context(click.Command("shape"))
    context.params["arch"] = architecture
    file, *names = complete_model(context, click.Argument(["model"]), incomplete)
    assert [item.value for item in names] == expected
    assert (file.type, file.value) == ("file", incomplete)
