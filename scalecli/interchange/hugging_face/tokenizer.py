"""Hugging Face: a SentencePiece model as the tokenizer.json of the tokenizers library, which transformers reads.

transformers 5 makes its T5Tokenizer of nothing but the pieces, as if every model were a unigram one with T5's white
space. So the whole pipeline is written out, for the class that takes it as it is; transformers 4 may read
spiece.model, too.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tokenizers

from scalecli.data.text.pieces import BPE, BYTE, CHARACTERS, EOS, NORMAL, PAD, UNIGRAM, UNKNOWN, USER_DEFINED
from scalecli.data.text.tokenizer_samples import SENTINELS, first_difference, sample_texts
from scalecli.data.text.vocabulary import Vocabulary
from scalecli.errors import ConfigurationError

SENTENCEPIECE_FILE, TOKENIZER_FILE, _CONFIG_FILE = "spiece.model", "tokenizer.json", "tokenizer_config.json"
_SPACE = "▁"


def write_tokenizer(folder: Path, vocabulary: Vocabulary) -> None:
    """Writes the tokenizer's files into a model's folder.

    Raises:
        ConfigurationError: the tokenizers library can't do what the vocabulary does; says on which text.
        OSError: they cannot be written.
    """
    pipeline = _checked(vocabulary)
    shutil.copyfile(vocabulary.path, folder / SENTENCEPIECE_FILE)
    for name, content in ((TOKENIZER_FILE, pipeline), (_CONFIG_FILE, _config(vocabulary, pipeline))):
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _checked(vocabulary: Vocabulary) -> dict[str, Any]:
    """The content of tokenizer.json, which reads the samples as the vocabulary does. Raises ConfigurationError."""
    model = vocabulary.model()
    if model.trainer_spec.model_type not in (UNIGRAM, BPE, CHARACTERS):
        raise ConfigurationError(
            "the vocabulary is a SentencePiece model of words, which no tokenizer.json is; --to keras-hub takes it"
        )
    for token in vocabulary.own_sentinels:
        model.pieces[token].type = USER_DEFINED  # as they are read in tasks
    pipeline = _pipeline(vocabulary, model)
    theirs = tokenizers.Tokenizer.from_str(json.dumps(pipeline))
    symbols = [piece.piece.replace(_SPACE, " ") for piece in model.pieces if piece.type == USER_DEFINED]
    texts = [text for symbol in symbols for text in (symbol, f"the {symbol} and", f"the{symbol}and {symbol}.")]
    differs = first_difference(
        (*SENTINELS, *texts, *sample_texts(vocabulary.processor)),
        model,
        vocabulary.encode,
        lambda text: theirs.encode(text, add_special_tokens=False).ids,
    )
    if differs is not None:
        raise ConfigurationError(
            f"the vocabulary reads {differs!r} as no tokenizer.json for transformers does; --to keras-hub takes the "
            "SentencePiece model itself"
        )
    return pipeline


def _pipeline(vocabulary: Vocabulary, model: Any) -> dict[str, Any]:
    """What tokenizer.json says: how text is normalized, cut and encoded, and ids decoded."""
    added = () if vocabulary.own_sentinels else tuple(reversed(vocabulary.sentinels))  # in the order of their ids
    symbols = [piece.piece for piece in model.pieces if piece.type == USER_DEFINED]
    isolated = None
    if symbols and model.trainer_spec.model_type != UNIGRAM:
        pattern = "|".join(re.escape(symbol) for symbol in sorted(symbols, key=len, reverse=True))
        isolated = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            *(_added(token, model.pieces[token].piece, normalized=False) for token in (PAD, EOS, UNKNOWN)),
            # Normalized, it has the space of SeqIO's piece before it, and is looked for in the whole normalized text.
            *(_added(token, vocabulary.piece(token), normalized=True) for token in added),
        ],
        "normalizer": {"type": "Sequence", "normalizers": _normalizers(vocabulary, model.normalizer_spec, bool(added))},
        "pre_tokenizer": isolated,
        "post_processor": _ended(model.pieces[EOS].piece),
        "decoder": {"type": "Sequence", "decoders": _decoders(model.normalizer_spec, bool(added))},
        "model": _model(model, isolated is not None),
    }


def _normalizers(vocabulary: Vocabulary, rules: Any, sentinels: bool) -> list[dict[str, Any]]:
    """SentencePiece's way to normalize text, step by step; `sentinels`: they are added tokens."""
    squeezed, prefixed = rules.remove_extra_whitespaces, rules.add_dummy_prefix
    return [
        *_character_rules(vocabulary, rules),
        *([_replace(r"\A +", ""), _replace(" {2,}", " ")] if squeezed else []),
        *([{"type": "Prepend", "prepend": _SPACE}] if prefixed else []),
        *([_replace(" (?=<extra_id_[0-9]{1,2}>)", "")] if sentinels and not prefixed else []),
        _replace(" ", _SPACE),
        *([_replace(rf"{_SPACE}+\z", "")] if squeezed else []),
    ]


def _decoders(rules: Any, sentinels: bool) -> list[dict[str, Any]]:
    """The way back, from pieces to text."""
    stripped = rules.add_dummy_prefix or rules.remove_extra_whitespaces
    return [
        {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
        *([_replace(" ?<extra_id_", " <extra_id_")] if sentinels else []),  # versions differ in whether it has a space
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        *([{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if stripped else []),
    ]


def _ended(end: str) -> dict[str, Any]:
    """The post-processor that appends the end of sequence to each text."""
    a, b = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    ending = {"SpecialToken": {"id": end, "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [a, ending],
        "pair": [a, ending, b, ending],
        "special_tokens": {end: {"id": end, "ids": [EOS], "tokens": [end]}},
    }


def _model(model: Any, symbols: bool) -> dict[str, Any]:
    fallback = any(piece.type == BYTE for piece in model.pieces)
    if model.trainer_spec.model_type == UNIGRAM:
        # As SentencePiece has it, a user's symbol is likelier than all that it could be cut into.
        best = max((piece.score for piece in model.pieces if piece.type == NORMAL), default=0.0)
        vocabulary = [
            [piece.piece, len(piece.piece) * best - 0.1 if piece.type == USER_DEFINED else piece.score]
            for piece in model.pieces
        ]
        return {"type": "Unigram", "unk_id": UNKNOWN, "vocab": vocabulary, "byte_fallback": fallback}
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": model.pieces[UNKNOWN].piece,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": fallback,
        "ignore_merges": symbols,
        "vocab": {piece.piece: token for token, piece in enumerate(model.pieces)},
        "merges": [f"{left} {right}" for left, right in _merges(model)],
    }


def _merges(model: Any) -> Iterator[tuple[str, str]]:
    """The pairs of pieces that make a piece, the likeliest piece first; SentencePiece keeps only what they make."""
    if model.trainer_spec.model_type == CHARACTERS:
        return
    scores = {piece.piece: piece.score for piece in model.pieces if piece.type == NORMAL}
    for piece in sorted(scores, key=lambda piece: -scores[piece]):
        for cut in range(1, len(piece)):
            if piece[:cut] in scores and piece[cut:] in scores:
                yield piece[:cut], piece[cut:]


def _config(vocabulary: Vocabulary, pipeline: dict[str, Any]) -> dict[str, Any]:
    """The content of tokenizer_config.json, for transformers 4 and 5."""
    special = {token["id"]: token["content"] for token in pipeline["added_tokens"] if token["id"] <= UNKNOWN}
    flags = {str(token.pop("id")): token for token in map(dict, pipeline["added_tokens"])}
    sentinels = [token["content"] for token in pipeline["added_tokens"] if token["id"] > UNKNOWN]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{"pad_token": special[PAD], "eos_token": special[EOS], "unk_token": special[UNKNOWN]},
        # In the order of their ids, as a class that adds them itself adds them.
        **({"additional_special_tokens": sentinels} if sentinels else {}),
        "extra_ids": len(sentinels),
        "added_tokens_decoder": flags,
        "model_input_names": ["input_ids", "attention_mask"],  # T5 takes no others
        "clean_up_tokenization_spaces": False,
        "legacy": not any(step["type"] == "Prepend" for step in pipeline["normalizer"]["normalizers"]),
    }


def _added(token: int, content: str, *, normalized: bool) -> dict[str, Any]:
    off = {"single_word": False, "lstrip": False, "rstrip": False}
    return {"id": token, "content": content, **off, "normalized": normalized, "special": True}


def _character_rules(vocabulary: Vocabulary, rules: Any) -> list[dict[str, Any]]:
    """The normalizers that map characters.

    The library's Precompiled takes what is written as one character, such as a letter with its accents or CR LF, by the
    first rule that fits its beginning, and drops the rest. So accents are joined and CR LF is taken apart before.
    """
    if not rules.precompiled_charsmap:
        return []
    normalize = vocabulary.processor.normalize
    composed = [{"type": "NFC"}] if normalize("e\u0301") == normalize("\u00e9") else []
    newlines = [_replace(r"\r\n", "\n\n")] if normalize("a\r\nb") == normalize("a\n\nb") else []
    encoded = base64.b64encode(rules.precompiled_charsmap).decode()
    return [*composed, *newlines, {"type": "Precompiled", "precompiled_charsmap": encoded}]


def _replace(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}
