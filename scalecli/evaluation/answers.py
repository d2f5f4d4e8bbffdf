"""How texts are compared: SQuAD's words, ROUGE-L, and the referents of the Winograd schema challenge."""

from __future__ import annotations

import functools
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from scalecli.data.tasks.task import UNANSWERABLE

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_DETERMINERS = frozenset(
    {
        *("a", "an", "few", "her", "his", "each", "every", "many", "much", "my", "our", "some"),
        *("that", "the", "their", "these", "this", "those", "which", "whose", "your"),
    }
)


def squad_words(text: str) -> list[str]:
    """The words that SQuAD compares: lower case, no ASCII punctuation, no articles (Rajpurkar et al. 2016).

    Punctuation goes first and leaves no space, so "U.S." is one word and "the." an article.
    """
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def exact(prediction: str, answer: str) -> float:
    """1 where both have the same words, as SQuAD v1.1 compares them, else 0."""
    return float(squad_words(prediction) == squad_words(answer))


def overlap(prediction: str, answer: str) -> float:
    """F1 between the words of both, as SQuAD v1.1 does: 2 * shared / (number of both), 0 with none shared.

    A word counts as often as it occurs in both. Two texts without words share none, though they are equal.
    """
    predicted, true = squad_words(prediction), squad_words(answer)
    shared = (Counter(predicted) & Counter(true)).total()
    return 2 * shared / (len(predicted) + len(true)) if shared else 0.0


def without_answer(text: str) -> str:
    """The text, or an empty one where it says that a question has no answer (SQuAD v2)."""
    return "" if squad_words(text) == squad_words(UNANSWERABLE) else text


def overlap_or_both_empty(prediction: str, answer: str) -> float:
    """`overlap`, but 1 for two texts without words, as SQuAD v2's official script does."""
    return overlap(prediction, answer) or float(not squad_words(prediction) and not squad_words(answer))


def rouge_l(prediction: str, answer: str) -> float:
    """ROUGE-L's F-measure (Lin 2004) of two texts as one sentence each; words are not stemmed."""
    return _rouge("rougeL", prediction, answer)


def rouge_lsum(prediction: str, answer: str) -> float:
    """Summary-level ROUGE-L (Lin 2004, section 3.2), where T5 ends sentences: at " . " and at line ends."""
    return _rouge("rougeLsum", _sentences(prediction), _sentences(answer))


def _sentences(text: str) -> str:
    return text.replace(" . ", " .\n")


def _rouge(kind: str, prediction: str, answer: str) -> float:
    return float(_rouge_scorer().score(answer, prediction)[kind].fmeasure)


def best_of(compare: Callable[[str, str], float], prediction: str, answers: Sequence[str]) -> float:
    """The prediction compared with the answer that it is nearest to."""
    return max(compare(prediction, answer) for answer in answers)


def names_referent(prediction: str, referent: str) -> bool | None:
    """Whether all words of one are words of the other, case and determiners apart (T5's simplified Winograd).

    An apostrophe in one alone makes them two, as "Bob's hat" and "Bob" are. None where the prediction has no words: it
    says neither that this is the referent nor that it is not.
    """
    predicted, true = _content_words(prediction), _content_words(referent)
    if predicted == {""}:
        return None
    if ("'" in prediction) != ("'" in referent):
        return False
    return predicted <= true or true <= predicted


def _content_words(text: str) -> frozenset[str]:
    # Between single spaces: like T5's, two spaces have an empty word between them.
    words = [word for word in text.strip().lower().split(" ") if word not in _DETERMINERS]
    return frozenset(words or [""])


@functools.cache
def _rouge_scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL", "rougeLsum"])
