"""What SentencePiece and T5 fix: the first ids, how many sentinels there are, and types of pieces and models."""

from __future__ import annotations

from typing import Any

PAD, EOS, UNKNOWN = 0, 1, 2
SENTINELS = 100
NORMAL, UNKNOWN_PIECE, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6  # types of pieces, of sentencepiece_model.proto
UNIGRAM, BPE, CHARACTERS = 1, 2, 4  # types of models, likewise


def model_proto(serialized: bytes = b"") -> Any:
    """A SentencePiece model as a sentencepiece_model_pb2.ModelProto."""
    from sentencepiece import sentencepiece_model_pb2

    module: Any = sentencepiece_model_pb2  # its classes are made when it is imported
    return module.ModelProto.FromString(serialized)
