"""A tokenizer.json of the tokenizers library, read as a SentencePiece model where it can be one."""

from __future__ import annotations

import base64
import binascii
import io
import itertools
import json
import math
import re
from collections.abc import Iterator
from typing import Any

from scalecli.data.text.pieces import (
    BYTE,
    CONTROL,
    EOS,
    NORMAL,
    PAD,
    SENTINELS,
    UNIGRAM,
    UNKNOWN,
    UNKNOWN_PIECE,
    USER_DEFINED,
    model_proto,
)
from scalecli.data.text.tokenizer_samples import first_difference, sample_texts
from scalecli.errors import ConfigurationError, MissingError, reason_of

_NORMALIZATIONS = ("identity", "nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf")  # SentencePiece's own, by name
_SPECIAL = ["<pad>", "</s>", "<unk>"]
_SPACE = "▁"
_ADVICE = "--vocabulary takes the SentencePiece model that it was made of"


def sentencepiece_model(content: bytes, name: str) -> bytes:
    """The SentencePiece model that reads text as a tokenizer.json of unigram pieces does.

    How white space and characters are normalized is found by trying: the library reads the file as data, and both must
    agree on samples. T5's hundred sentinels at the end are left out, as no SentencePiece model of T5 has them.

    Raises:
        MissingError: it is no tokenizer.json, or a damaged one.
        ConfigurationError: it is not of unigram pieces, or does what SentencePiece does not do; says on which text.
    """
    import sentencepiece
    import tokenizers

    try:
        values = json.loads(content)
        theirs = tokenizers.Tokenizer.from_str(content.decode())
    except Exception as error:  # the library's own class is no narrower
        raise MissingError(f"{name}: not a tokenizer.json, or a damaged one ({reason_of(error)})") from error
    kind = type(theirs.model).__name__
    if kind != "Unigram":
        raise ConfigurationError(f"{name}: holds a tokenizer of kind {kind}, and Unigram is accepted; {_ADVICE}")
    pieces = _pieces(values, name)
    first: str | None = None
    for model in _candidates(values, pieces, name):
        serialized: bytes = model.SerializeToString()
        processor = sentencepiece.SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(serialized)
        except RuntimeError as error:
            raise MissingError(f"{name}: its pieces make no SentencePiece model ({error})") from error
        differs = first_difference(
            sample_texts(processor),
            model,
            processor.encode,
            lambda text: theirs.encode(text, add_special_tokens=False).ids,
        )
        if differs is None:
            return serialized
        first = first or differs
    raise ConfigurationError(f"{name}: reads {first!r} as no SentencePiece model of its pieces does; {_ADVICE}")


def _pieces(values: dict[str, Any], name: str) -> list[tuple[str, float, int]]:
    """The pieces with their log-likelihoods and types, added tokens after the model's own."""
    vocabulary = [(str(piece), float(score)) for piece, score in values["model"]["vocab"]]
    added = {int(token["id"]): str(token["content"]) for token in values.get("added_tokens") or []}
    for token in sorted(added):
        if token == len(vocabulary):
            vocabulary.append((added[token], 0.0))
        elif token > len(vocabulary):
            raise ConfigurationError(f"{name}: no token has the id {len(vocabulary)}, and some have ids above it")
    names = [piece for piece, _ in vocabulary[: len(_SPECIAL)]]
    if names != _SPECIAL or values["model"].get("unk_id") != UNKNOWN:
        found, wanted = ", ".join(names), ", ".join(_SPECIAL)
        raise ConfigurationError(f"{name}: its first tokens are {found}; a T5 vocabulary has {wanted}")
    hundred = [f"<extra_id_{number}>" for number in reversed(range(SENTINELS))]
    if [piece for piece, _ in vocabulary[-SENTINELS:]] == hundred:
        vocabulary = vocabulary[:-SENTINELS]
    if not all(math.isfinite(score) for _, score in vocabulary):
        raise MissingError(f"{name}: a piece's log-likelihood is no number")
    fallback = bool(values["model"].get("byte_fallback"))
    return [(piece, score, _type(token, piece, fallback, added)) for token, (piece, score) in enumerate(vocabulary)]


def _type(token: int, piece: str, fallback: bool, added: dict[int, str]) -> int:
    if token in (PAD, EOS, UNKNOWN):
        return UNKNOWN_PIECE if token == UNKNOWN else CONTROL
    if fallback and re.fullmatch("<0x[0-9A-F]{2}>", piece):
        return BYTE
    return USER_DEFINED if token in added or re.fullmatch(f"{_SPACE}?<extra_id_[0-9]+>", piece) else NORMAL


def _candidates(values: dict[str, Any], pieces: list[tuple[str, float, int]], name: str) -> Iterator[Any]:
    """Yields SentencePiece models, as ModelProto, of pieces: one for each way to normalize, T5's white space first."""
    model = model_proto()
    for piece, score, kind in pieces:
        model.pieces.add(piece=piece, score=score, type=kind)
    trainer = model.trainer_spec
    trainer.model_type, trainer.vocab_size = UNIGRAM, len(pieces)
    trainer.byte_fallback = any(kind == BYTE for _, _, kind in pieces)
    trainer.pad_id, trainer.eos_id, trainer.unk_id, trainer.bos_id = PAD, EOS, UNKNOWN, -1
    trainer.pad_piece, trainer.eos_piece, trainer.unk_piece = _SPECIAL
    for rules in _character_rules(values.get("normalizer"), name):
        for prefixed, squeezed in itertools.product((True, False), (True, False)):
            model.normalizer_spec.precompiled_charsmap = rules
            model.normalizer_spec.add_dummy_prefix = prefixed
            model.normalizer_spec.remove_extra_whitespaces = squeezed
            model.normalizer_spec.escape_whitespaces = True
            yield model


def _character_rules(normalizer: dict[str, Any] | None, name: str) -> Iterator[bytes]:
    """Yields the rules by which characters are mapped: the file's own, else those that SentencePiece has names for."""
    steps = (normalizer or {}).get("normalizers") or [normalizer or {}]
    own = [step["precompiled_charsmap"] for step in steps if step.get("type") == "Precompiled"]
    for rules in own:
        try:
            yield base64.b64decode(rules or "", validate=True)
        except (binascii.Error, TypeError) as error:
            raise MissingError(f"{name}: its precompiled_charsmap is damaged") from error
    if not own:
        yield from map(_named_rules, _NORMALIZATIONS)


def _named_rules(name: str) -> bytes:
    """SentencePiece's normalization rules of this name, which it gives only inside a model."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b"]),
        model_writer=model,
        model_type="char",
        vocab_size=6,
        normalization_rule_name=name,
        minloglevel=3,
    )
    rules: bytes = model_proto(model.getvalue()).normalizer_spec.precompiled_charsmap
    return rules
