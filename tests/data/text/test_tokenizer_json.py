"""Tokenizers of the tokenizers library, as transformers 5 and others write them, and what becomes of them here."""

import base64
import json

import pytest

from scalecli.data.text.tokenizer_samples import SENTINELS, TEXTS, first_difference
from scalecli.data.text.vocabulary import load_vocabulary
from scalecli.errors import ConfigurationError, MissingError
from tests.data.text.test_vocabulary import own, trained  # noqa: F401 (the first is a fixture)

SPACES = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}


def written(folder, vocabulary, hundred=True, **changes):
    """The file that transformers 5 saves of a T5Tokenizer: pieces, T5's hundred sentinels, rules and white space."""
    model = vocabulary.model()
    pieces = [[piece.piece, piece.score] for piece in model.pieces]
    if hundred:
        pieces += [[f"<extra_id_{number}>", 0.0] for number in reversed(range(100))]
    off = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    special = [{"id": token, "content": content, **off} for token, content in enumerate(("<pad>", "</s>", "<unk>"))]
    rules = base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()
    content = {
        "version": "1.0",
        "added_tokens": special,
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": rules},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, SPACES]},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": pieces, "byte_fallback": False},
    }
    file = folder / "tokenizer.json"
    file.write_text(json.dumps({**content, **changes}))
    return file


def test_the_pieces_are_those_of_the_file(tmp_path, vocabulary):
    found = load_vocabulary(str(written(tmp_path, vocabulary)), cache_directory=tmp_path)
    assert found.pieces == vocabulary.pieces == 80 and found.sentinels == vocabulary.sentinels
    assert found.sha256 == load_vocabulary(str(tmp_path / "tokenizer.json"), cache_directory=tmp_path).sha256
    for text in (*TEXTS, *SENTINELS):
        assert found.encode(text) == vocabulary.encode(text)
    assert [piece.score for piece in found.model().pieces] == [piece.score for piece in vocabulary.model().pieces]


@pytest.mark.parametrize("name", ["nmt_nfkc", "identity", "nmt_nfkc_cf"])
@pytest.mark.parametrize(("prefixed", "squeezed"), [(True, True), (True, False), (False, True), (False, False)])
def test_white_space_and_case_are_carried(tmp_path, name, prefixed, squeezed):
    options = {"normalization_rule_name": name, "add_dummy_prefix": prefixed, "remove_extra_whitespaces": squeezed}
    vocabulary = trained(tmp_path, **options)
    rules = base64.b64encode(vocabulary.model().normalizer_spec.precompiled_charsmap).decode()
    steps = [
        *([{"type": "Precompiled", "precompiled_charsmap": rules}] if rules else []),
        *([{"type": "Replace", "pattern": {"Regex": r"\A +| +\z"}, "content": ""}] if squeezed else []),
        *([{"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}] if squeezed else []),
        {"type": "Replace", "pattern": {"Regex": r"\r\n"}, "content": "\n\n"},
    ]
    steps = steps[-1:] + steps[:-1] if rules else steps[:-1]
    steps += [{"type": "Prepend", "prepend": "▁"}] if prefixed else []
    steps += [{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    steps += [{"type": "Replace", "pattern": {"Regex": r"▁+\z"}, "content": ""}] if squeezed else []
    file = written(tmp_path, vocabulary, normalizer={"type": "Sequence", "normalizers": steps}, pre_tokenizer=None)
    found = load_vocabulary(str(file), cache_directory=tmp_path)
    for text in (*TEXTS, "THE  Span", *SENTINELS):
        assert found.encode(text) == vocabulary.encode(text)


def test_bytes_are_carried(tmp_path):
    vocabulary = trained(tmp_path, byte_fallback=True, vocab_size=400)
    file = written(tmp_path, vocabulary)
    content = json.loads(file.read_text())
    content["model"]["byte_fallback"] = True
    file.write_text(json.dumps(content))
    found = load_vocabulary(str(file), cache_directory=tmp_path)
    assert found.encode("€ 漢") == vocabulary.encode("€ 漢") and 2 not in found.encode("€ 漢")


def test_sentinels_of_its_own_stay_where_they_are(tmp_path, own):  # noqa: F811
    found = load_vocabulary(str(written(tmp_path, own, hundred=False)), cache_directory=tmp_path)
    assert (found.pieces, found.sentinels) == (own.pieces, own.sentinels)
    assert found.encode(SENTINELS[0]) == own.encode(SENTINELS[0])


def test_tokens_added_after_the_sentinels_keep_their_ids(tmp_path, vocabulary):
    off = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    file = written(tmp_path, vocabulary)
    added = [*json.loads(file.read_text())["added_tokens"], {"id": 180, "content": "<sep>", **off}]
    found = load_vocabulary(str(written(tmp_path, vocabulary, added_tokens=added)), cache_directory=tmp_path)
    assert found.size == 181 and found.sentinels == tuple(range(179, 79, -1))
    assert found.encode("the <sep>")[-1] == 180


def test_pieces_that_are_as_likely_are_no_difference(vocabulary):
    """The tokenizers library and SentencePiece round sums differently."""
    ids = {piece.piece: token for token, piece in enumerate(vocabulary.model().pieces)}

    def differs(model, a, b):
        return first_difference(
            ["text"], model, lambda _: [ids[each] for each in a], lambda _: [ids[each] for each in b]
        )

    model = vocabulary.model()
    assert differs(model, ["▁3", "4"], ["▁3", "4"]) is None and differs(model, ["▁3", "4"], ["4", "▁3"]) == "text"
    assert differs(model, ["▁3", "4"], ["▁", "3", "4"]) == "text"
    pieces = model.pieces
    pieces[ids["▁3"]].score = pieces[ids["▁"]].score + pieces[ids["3"]].score + 0.001
    assert differs(model, ["▁3", "4"], ["▁", "3", "4"]) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": {"type": "BPE", "vocab": {"<unk>": 0}, "merges": []}},
            "of kind BPE, and Unigram is accepted; --vocabulary",
        ),
        (
            {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [SPACES, {"type": "Punctuation"}]}},
            "reads .* as no SentencePiece model of its pieces does; --vocabulary",
        ),
        (
            {"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["<s>", 0.0], ["a", -1.0]]}},
            "its first tokens are <unk>, <s>, a; a T5 vocabulary has <pad>, </s>, <unk>",
        ),
    ],
)
def test_what_sentencepiece_does_not_do_is_refused(tmp_path, vocabulary, changes, message):
    with pytest.raises(ConfigurationError, match=rf"tokenizer\.json: .*{message}"):
        load_vocabulary(str(written(tmp_path, vocabulary, **changes)), cache_directory=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", ["{", "{}", '{"model": {"type": "Unigram", "vocab": [["<pad>", "x"]]}}'])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(MissingError, match=r"tokenizer\.json: not a tokenizer\.json, or a damaged one"):
        load_vocabulary(str(tmp_path / "tokenizer.json"), cache_directory=tmp_path)
