import os
import random
from pathlib import Path

import pytest

from scalecli.data.text.vocabulary import load_vocabulary
from scalecli.data.text.vocabulary_training import train_vocabulary

TEXT = "the span of noise is cut from long text and each model must read it again while many small tokens fall"
WORDS = TEXT.split(" ")


def sentences(count, words=40, seed=0):
    draw = random.Random(seed)
    return [f"{n} " + " ".join(draw.choice(WORDS) for _ in range(words)) for n in range(count)]


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory):
    """A vocabulary of 80 pieces."""
    return train_vocabulary(sentences(300), 80, tmp_path_factory.mktemp("vocabulary") / "small.model")


@pytest.fixture(scope="session")
def data_folder():
    if not (folder := os.environ.get("SCALECLI_TEST_DATA")):
        pytest.skip("SCALECLI_TEST_DATA names no folder of real data")
    return Path(folder)


@pytest.fixture(scope="session")
def t5(data_folder, tmp_path_factory):
    return load_vocabulary(str(data_folder / "tokenizer/spiece.model"), cache_directory=tmp_path_factory.mktemp("t5"))
