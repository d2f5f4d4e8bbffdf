"""Every architecture through the whole chain, with the same commands."""

import argparse
import inspect
import json
import textwrap

import pytest

from scalecli.architectures import TEXT_ARCHITECTURES
from scalecli.manifest import load_manifest
from scalecli.strict import write_yaml
from tests import oracle
from tests.runs.conftest import command

TASK = {
    "name": "parity",
    "train": "rows.tsv",
    "validation": "rows.tsv",
    "input": "word: {word}",
    "target": "label",
    "lengths": {"inputs": 16, "targets": 4},
}
# Shapes with a word or a truth value in them. Finetuning has decoded and scored the others' task as well.
WITH_WORDS = ("universal", "albert")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Real text, the documentation in Python's own modules, and a task."""
    folder = tmp_path_factory.mktemp("architectures")
    paragraphs = [
        " ".join(paragraph.split())
        for module in (argparse, inspect, json, textwrap)
        for _, member in inspect.getmembers(module)
        for paragraph in (inspect.getdoc(member) or "").split("\n\n")
        if len(paragraph) > 60
    ]
    (folder / "text.txt").write_text("".join(f"{paragraph}\n" for paragraph in paragraphs))
    rows = [f"{'word' * length}\t{'even' if length % 2 == 0 else 'odd'}\n" for length in range(1, 17)]
    (folder / "rows.tsv").write_text("word\tlabel\n" + "".join(rows))
    write_yaml(folder / "task.yaml", TASK)
    return folder


@pytest.mark.parametrize("architecture", TEXT_ARCHITECTURES)
def test_the_whole_chain(folder, architecture):
    fields = {"d_model": 16, "d_ff": 32, **oracle.KNOBS[architecture]}
    if "positions" in fields:
        fields["positions"] = 32
    shape = oracle.shape_of_oracle(**fields).to_dict()
    del shape["vocabulary"]
    write_yaml(folder / f"{architecture}.yaml", {"architecture": architecture, **shape})

    pretrained, tuned = folder / architecture, folder / f"{architecture}-parity"
    ran = command(
        *("pretrain", folder / f"{architecture}.yaml", "--run", pretrained, "--text", folder / "text.txt"),
        *("--vocabulary", "train:300", "--inputs-length", 32, "--batch", 16, "--steps", 4),
        *("--validation-examples", 16, "--dropout", 0.1, "--cache-directory", folder / "cache"),
    )
    assert ran.code == 0, ran.err
    ran = command("finetune", pretrained, "--task", folder / "task.yaml", "--run", tuned, "--batch", 8, "--steps", 2)
    assert ran.code == 0, ran.err
    assert load_manifest(tuned).architecture == architecture
    if architecture in WITH_WORDS:
        ran = command("eval", tuned, "--batch", 8, "--beams", 2)
        assert ran.code == 0, ran.err
    ran = command("compare", pretrained, tuned, "--format", "json")
    assert ran.code == 0, ran.err
    assert [row["architecture"] for row in json.loads(ran.out)["tables"]["models"]] == [architecture] * 2
