"""What transformers makes of the tokenizer of an exported folder, for all kinds of SentencePiece models."""

import json

import pytest
import sentencepiece

from scalecli.data.text.tokenizer_samples import SENTINELS, TEXTS
from scalecli.data.text.vocabulary import load_vocabulary
from scalecli.errors import ConfigurationError
from scalecli.interchange.hugging_face.tokenizer import write_tokenizer
from tests.data.conftest import data_folder, sentences, t5  # noqa: F401 (fixtures)

LINE = "Été café Ünd The Cat, the Dog; is It? Yes! 100% naïve œuvre (a) 1,024."
DOCUMENTS = [*sentences(300), *[LINE] * 20]
KINDS = {
    "unigram": {},
    "bpe": {"model_type": "bpe"},
    "characters": {"model_type": "char"},
    "bytes": {"byte_fallback": True, "vocab_size": 400},
    "bpe and bytes": {"model_type": "bpe", "byte_fallback": True, "vocab_size": 400},
    "no dummy prefix": {"add_dummy_prefix": False},
    "bpe without dummy prefix": {"model_type": "bpe", "add_dummy_prefix": False},
    "all white space": {"remove_extra_whitespaces": False},
    "bpe with all white space": {"model_type": "bpe", "remove_extra_whitespaces": False},
    "as it is": {"remove_extra_whitespaces": False, "add_dummy_prefix": False, "normalization_rule_name": "identity"},
    "case folding": {"normalization_rule_name": "nmt_nfkc_cf"},
    "nfkc": {"normalization_rule_name": "nfkc"},
    "symbols": {"user_defined_symbols": ["<sep>", "[x]"]},
    "bpe and symbols": {"model_type": "bpe", "user_defined_symbols": ["<sep>", "[x]"]},
    "phrases": {"split_by_whitespace": False, "max_sentencepiece_length": 40},
    "bpe and own sentinels": {"model_type": "bpe", "control_symbols": [f"<extra_id_{n}>" for n in range(5)]},
    "own sentinels": {"user_defined_symbols": [f"▁<extra_id_{n}>" for n in reversed(range(100))], "vocab_size": 250},
}
ODD = ["Hello <sep> and [x].", "<sep> first", "a<extra_id_0>b", "de\u0302\u0301n decomposed", "\u200b"]


def trained(folder, **options):
    usual = {"vocab_size": 150, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "character_coverage": 1.0}
    with open(folder / "own.model", "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(DOCUMENTS),
            model_writer=file,
            minloglevel=3,
            hard_vocab_limit=False,
            **{**usual, **options},
        )
    return load_vocabulary(str(folder / "own.model"), cache_directory=folder)


def written(folder, vocabulary):
    (folder / "hf").mkdir()
    write_tokenizer(folder / "hf", vocabulary)
    (folder / "hf" / "config.json").write_text('{"model_type": "t5"}')
    return folder / "hf"


@pytest.mark.parametrize("kind", KINDS)
def test_ids_in_transformers_are_those_of_the_model(tmp_path, kind):
    transformers = pytest.importorskip("transformers")
    vocabulary = trained(tmp_path, **KINDS[kind])
    folder = written(tmp_path, vocabulary)
    tokenizers = [transformers.AutoTokenizer.from_pretrained(folder)]
    if transformers.__version__.startswith("4.") and vocabulary.model().normalizer_spec.remove_extra_whitespaces:
        tokenizers.append(transformers.T5Tokenizer.from_pretrained(folder))  # from spiece.model
    for tokenizer in tokenizers:
        assert len(tokenizer) == vocabulary.size
        for text in (*DOCUMENTS[::10], LINE, *TEXTS, *SENTINELS, *ODD):
            encoding = tokenizer(text)
            assert encoding.input_ids == [*vocabulary.encode(text), 1] and list(encoding) == [
                "input_ids",
                "attention_mask",
            ]
        if not vocabulary.own_sentinels:
            assert tokenizer.convert_tokens_to_ids("<extra_id_0>") == vocabulary.sentinels[0]
        special = tokenizer.convert_tokens_to_ids(["<pad>", "</s>", "<unk>"])
        assert special == [tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id] == [0, 1, 2]
        known = "<extra_id_0> the text <extra_id_1> and cut"
        assert tokenizer.decode(vocabulary.encode(known)) == vocabulary.decode(vocabulary.encode(known))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"treat_whitespace_as_suffix": True}, "the vocabulary reads 'Thank you .* as no tokenizer.json .*keras-hub"),
        ({"model_type": "word"}, "a SentencePiece model of words"),
        (
            {"normalization_rule_name": "nmt_nfkc_cf", "user_defined_symbols": ["[SEP]"]},
            r"the vocabulary reads '\[SEP\]' as no tokenizer.json",
        ),
    ],
)
def test_what_the_library_cannot_do_is_refused(tmp_path, options, message):
    vocabulary = trained(tmp_path, **options)
    with pytest.raises(ConfigurationError, match=message):
        written(tmp_path, vocabulary)
    assert not list((tmp_path / "hf").iterdir())


def test_the_files_are_those_of_the_model(tmp_path):
    vocabulary = trained(tmp_path)
    folder = written(tmp_path, vocabulary)
    assert (folder / "spiece.model").read_bytes() == vocabulary.path.read_bytes()
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    expected = [[piece.piece, piece.score] for piece in vocabulary.model().pieces]
    assert content["model"]["vocab"] == expected
    sentinels = {token["content"]: token["id"] for token in content["added_tokens"][3:]}
    assert sentinels == {f"<extra_id_{number}>": token for number, token in enumerate(vocabulary.sentinels)}


def test_the_published_vocabulary(tmp_path, t5):  # noqa: F811
    transformers = pytest.importorskip("transformers")
    folder = written(tmp_path, t5)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer("Hello <extra_id_0>.").input_ids == [8774, 32_099, 5, 1]
    for text in (*TEXTS, *SENTINELS, *ODD):
        assert tokenizer(text).input_ids == [*t5.encode(text), 1]
