"""What a model card says of a manifest, and what it doesn't."""

import dataclasses

import pytest
import yaml

from scalecli.interchange.hugging_face.model_card import model_card
from scalecli.manifest import Origin, OriginFile
from tests.manifests import example_manifest


def facts(card):
    fence = card.rsplit("yaml\n", 1)[0].rsplit("\n", 1)[1]
    return yaml.safe_load(card.rsplit("yaml\n", 1)[1].rsplit(fence, 1)[0])


def test_results_are_those_of_the_step():
    card = model_card(example_manifest(), 300, "transformers")
    assert "checkpoint at step 300" in card and "15,570,688 parameters" in card
    assert "| validation/negative_log_perplexity | -4.25 |" in card and "-4.5 |" not in card
    assert "## Results" not in model_card(example_manifest(), 100, "transformers")
    assert "T5Backbone.from_preset" in model_card(example_manifest(), 300, "keras-hub")


def test_places_on_a_disk_are_left_out():
    manifest = example_manifest()
    vocabulary = dataclasses.replace(manifest.data.vocabulary, name="/home/me/spiece.model", file="/home/me/vocabulary")
    task = {"name": "sst2", "train": ["/home/me/train.tsv"], "input": "{text}"}
    data = dataclasses.replace(manifest.data, name="/home/me/a.txt gs://b/c.txt", vocabulary=vocabulary, task=task)
    card = model_card(dataclasses.replace(manifest, data=data), 300, "transformers")
    assert "/home/me" not in card
    assert facts(card)["data"]["name"] == "a.txt gs://b/c.txt"
    assert facts(card)["data"]["vocabulary"]["name"] == "spiece.model"
    assert facts(card)["data"]["task"] == {"name": "sst2", "input": "{text}"}


@pytest.mark.parametrize(
    ("source", "shown"),
    [("gs://bucket/folder", "gs://bucket/folder"), ("hf:google/t5-small", "hf:google/t5-small"), ("/home/me/x", "x")],
)
def test_an_import_states_its_origin_and_no_training(source, shown):
    files = {"model.safetensors": OriginFile(bytes=10, sha256="ab" * 32)}
    origin = Origin(format="hugging-face", source=source, precision="bfloat16", files=files)
    stated = facts(model_card(example_manifest(kind="import", origin=origin), 300, "transformers"))
    assert stated["origin"]["source"] == shown
    assert stated["origin"]["files"]["model.safetensors"]["sha256"] == "ab" * 32
    assert stated["vocabulary"]["pieces"] == 8000
    assert not stated.keys() & {"data", "optimizer", "schedule", "batch", "dropout", "flops"}


def test_no_text_of_a_manifest_breaks_the_markdown():
    card = model_card(
        example_manifest(name="a\n# b", warnings=["one | two\nthree", "````"], shape={"name": "```\n# no"}),
        300,
        "transformers",
    )
    assert "\n# a # b\n" in card
    assert "- one \\| two three\n" in card
    assert facts(card)["shape"]["name"] == "```\n# no"
    assert card.count("\n`````yaml\n") == 0 and card.count("\n````yaml\n") == 1
