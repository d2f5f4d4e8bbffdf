import re

import pytest

from scalecli.analysis.advice.warnings import warnings
from scalecli.architectures import ARCHITECTURES
from scalecli.shape import Shape, parse_name, presets


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_papers_sizes_have_no_warnings(architecture):
    assert [warnings(architecture, shape) for shape in presets(architecture).values()] == [[]] * len(
        presets(architecture)
    )


@pytest.mark.parametrize(
    ("architecture", "name", "message"),
    [
        ("transformer", "small-dm500", "d_model 500 is no multiple of 128; a TPU pads it to 512"),
        (
            "transformer",
            "small-nh3-kv64",
            "heads x d_kv is 192, 0.38 times d_model; the papers' sizes have 0.5 to 25.6",
        ),
        ("transformer", "small-nh256", "heads x d_kv is 16384, 32 times d_model"),
        ("transformer", "tiny-nh1-kv256-sh", "shared_heads changes nothing with one head"),
        ("transformer", "small-dl12", "the decoder has 12 layers and the encoder 6;"),
        ("switch", "base-ne1", "one expert leaves the router nothing to choose"),
        ("switch", "base-ne1k", "each of 1024 experts has 4 places .* 4 are computed a token, 1.25 with fewer"),
        ("universal", "base-nr1-basic", "recurrence 1 runs the layers once"),
        ("universal", "base-nr1-gated", "recurrence 1 runs the layers once"),
        ("mos", "base-ns1", "one softmax mixes nothing"),
        ("lconv", "base-nt1", "with one tap no position of lconv sees its neighbors"),
        ("dconv", "base-nt1", "with one tap no position of dconv sees its neighbors"),
        ("funnel", "base-fb1", "one funnel block pools nothing"),
        ("albert", "base-es768", "embedding_size 768 is no smaller than d_model 768"),
    ],
)
def test_what_is_wasteful_is_said_once_with_the_reason(architecture, name, message):
    sentences = warnings(architecture, parse_name(name, architecture))
    assert len(sentences) == 1
    assert re.search(message, sentences[0])


@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        ("transformer", "small-el32"),  # the papers' own, deep in the encoder
        ("transformer", "small-dl11"),
        ("transformer", "small-nh4"),
        ("switch", "base-ne256"),
        ("universal", "base-nr1"),  # act makes one pass more than its steps
        ("lconv", "base-nt3"),
        ("funnel", "base-fb2"),
        ("albert", "base-es640"),
    ],
)
def test_what_is_not_wasteful_is_not_warned_about(architecture, name):
    assert warnings(architecture, parse_name(name, architecture)) == []


def test_several_warnings_of_one_shape():
    shape = Shape(2, 4, d_model=250, d_ff=64, d_kv=16, heads=1, vocabulary=32100, shared_heads=True)
    starts = ["d_model 250", "vocabulary 32100", "heads x d_kv is 16", "shared_heads", "the decoder has 4 layers"]
    sentences = warnings("transformer", shape)
    assert [each.startswith(start) for each, start in zip(sentences, starts, strict=True)] == [True] * 5
