"""SentencePiece's trainer in a process of its own: no signal stops its native code, and it only logs how far it is."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from scalecli.data.sources import OnWork
from scalecli.storage.files import cleaned_up

# It searches for modules where this process does, and nowhere else: a name in the working directory is no module.
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from scalecli.data.text.trainer import serve; serve()"
_ROUND = re.compile(r"EM sub_iter=\d+ size=(\d+)")
_LAST_ROUND = 1.1  # SentencePiece prunes candidates by rounds until it has so many times the pieces that it is to find


def train(sentences: Sequence[str], pieces: int, options: dict[str, Any], on_work: OnWork) -> bytes:
    """The SentencePiece model that is trained on sentences; `options` are those of SentencePieceTrainer.train.

    Raises:
        RuntimeError: the trainer's own message.
    """
    on_work(f"looking for candidates for a vocabulary of {pieces:,} pieces", None)
    with tempfile.TemporaryFile() as task, tempfile.TemporaryFile() as answer:
        task.write(json.dumps([sentences, {**options, "vocab_size": pieces}]).encode())
        task.seek(0)
        command = [sys.executable, "-c", _PROGRAM, *sys.path]
        process = subprocess.Popen(command, stdin=task, stdout=answer, stderr=subprocess.PIPE, text=True)
        with process, cleaned_up(process.kill):
            first = 0
            for line in process.stderr or ():
                if candidates := _ROUND.search(line):
                    left = int(candidates[1])
                    first = first or left
                    on_work(f"training a vocabulary: {left:,} candidates left", _share(first, left, pieces))
            process.wait()
        answer.seek(0)
        content = answer.read()
    if process.returncode:
        raise RuntimeError(content.decode() or f"the trainer's process ended with {process.returncode}")
    return content


def _share(first: int, left: int, pieces: int) -> float | None:
    """The share of the rounds that are done; each leaves three quarters of the candidates."""
    last = _LAST_ROUND * pieces
    return min(math.log(first / left) / math.log(first / last), 1.0) if first > last else None


def serve() -> None:
    """Trains what stdin holds and writes the model, or what went wrong, to stdout."""
    import sentencepiece

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody reads the log any more
    sentences, options = json.load(sys.stdin.buffer)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences), model_writer=sys.stdout.buffer, minloglevel=0, **options
        )
    except (RuntimeError, ValueError, OSError) as error:
        sys.stdout.write(str(error))
        sys.exit(1)
