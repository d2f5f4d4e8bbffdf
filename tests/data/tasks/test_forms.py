"""Rows in the layout of TensorFlow Datasets against the texts that T5's own functions make of them."""

from dataclasses import replace

import pytest

from scalecli.data.tasks.forms import LeftOut, Texts, texts_of
from scalecli.data.tasks.registry import all_tasks
from scalecli.data.tasks.task import UNLABELED
from scalecli.errors import ConfigurationError

PARAGRAPH = "<b>Sent 1: </b>Tom ran.<br><b>Sent 2: </b>He fell."
RECORD = {
    "passage": 'It rained.\n@highlight\nIt was cold\n@highlight\nThey "left"\n@highlight\nFor London?\n@highlight\nYes',
    "query": "It rained in @placeholder .",
    "entities": ["London", "New York", "Paris"],
    "answers": ["London", "Paris"],
    "idx": {"passage": 3, "query": 7},
}
RECORD_TEXT = (
    "record query: It rained in @placeholder . entities: London, New York, Paris passage: It rained. It was cold. They "
    '"left" For London? Yes'
)
WSC = {
    "text": "Mitchell asked Tom if he could lend some money.",
    "span1_text": "Tom",
    "span1_index": 2,
    "span2_text": "he",
    "span2_index": 4,
    "label": 1,
    "idx": 0,
}
ANSWERS = {"text": ["$3.5 million", "3.5"], "answer_start": [0, 1]}
ENDINGS = ["ends.", "stays.", "flies.", "sings."]


def made(name, row, split="train"):
    return list(texts_of(all_tasks()[name], row, split, "here"))


@pytest.mark.parametrize(
    ("name", "row", "text", "target"),
    [
        ("cola", {"sentence": "Go away .", "label": 0, "idx": 1}, "cola sentence: Go away .", "unacceptable"),
        ("sst2", {"sentence": "it 's fine ", "label": 1}, "sst2 sentence: it 's fine ", "positive"),
        ("mrpc", {"sentence2": "B", "sentence1": "A", "label": 1}, "mrpc sentence1: A sentence2: B", "equivalent"),
        ("qqp", {"question1": "A?", "question2": "B?", "label": 0}, "qqp question1: A? question2: B?", "not_duplicate"),
        ("mnli", {"premise": "P", "hypothesis": "H", "label": 2}, "mnli hypothesis: H premise: P", "contradiction"),
        (
            "mnli_mismatched",
            {"premise": "P", "hypothesis": "H", "label": 1},
            "mnli hypothesis: H premise: P",
            "neutral",
        ),
        ("qnli", {"question": "Q", "sentence": "S", "label": 1}, "qnli question: Q sentence: S", "not_entailment"),
        ("rte", {"sentence1": "A", "sentence2": "B", "label": 0}, "rte sentence1: A sentence2: B", "entailment"),
        ("wnli", {"sentence1": "A", "sentence2": "B", "label": 0}, "wnli sentence1: A sentence2: B", "not_entailment"),
        ("boolq", {"question": "Q", "passage": "P", "label": 1}, "boolq passage: P question: Q", "True"),
        ("cb", {"premise": "P", "hypothesis": "H", "label": 1}, "cb hypothesis: H premise: P", "contradiction"),
        (
            "copa",
            {"premise": "P", "choice1": "A", "choice2": "B", "question": "cause", "label": 0},
            "copa choice1: A choice2: B premise: P question: cause",
            "choice1",
        ),
        (
            "superglue_rte",
            {"premise": "P", "hypothesis": "H", "label": 1},
            "rte hypothesis: H premise: P",
            "not_entailment",
        ),
        (
            "wic",
            {"word": "w", "sentence1": "A", "sentence2": "B", "start1": 1, "label": 0},
            "wic sentence1: A sentence2: B word: w",
            "False",
        ),
        ("xsum", {"document": "Long.", "summary": "Short."}, "summarize: Long.", "Short."),
        ("cnn_dailymail", {"article": "Long.", "highlights": "a\nb"}, "summarize: Long.", "a\nb"),
        ("multi_news", {"document": "A ||||| B", "summary": "AB"}, "summarize: A ||||| B", "AB"),
        ("civil_comments", {"text": "Hi", "toxicity": 0.5}, "civil_comments text: Hi", "toxic"),
        ("wiki_toxicity", {"text": "Hi", "toxicity": 0.0}, "wiki_toxicity text: Hi", "nontoxic"),
        ("imdb", {"text": "Good<br />", "label": 1}, "imdb text: Good<br />", "positive"),
        (
            "anli",
            {"obs1": "a", "obs2": "b", "hyp1": "c", "hyp2": "d", "label": "2"},
            "[anli]:\n<obs1>a</obs1>\n<obs2>b</obs2>\n<hyp1>c</hyp1>\n<hyp2>d</hyp2>",
            "2",
        ),
        (
            "cosmosqa",
            {"context": "c", "question": "q", **{f"answer{n}": str(n) for n in range(4)}, "label": 3},
            "[cosmosqa]:\n<context>c</context>\n<question>q</question>\n<answer0>0</answer0>\n<answer1>1</answer1>\n"
            "<answer2>2</answer2>\n<answer3>3</answer3>",
            "3",
        ),
        (
            "hellaswag",
            {"context": "He", "endings": ENDINGS, "label": 0},
            "[hellaswag]:\n<ctx>He</ctx>\n<ending_options 0>ends.</ending_options 0>\n"
            "<ending_options 1>stays.</ending_options 1>\n<ending_options 2>flies.</ending_options 2>\n"
            "<ending_options 3>sings.</ending_options 3>",
            "0",
        ),
        (
            "physicaliqa",
            {"goal": "g", "sol1": "a", "sol2": "b", "label": 1},
            "[physicaliqa]:\n<goal>g</goal>\n<sol1>a</sol1>\n<sol2>b</sol2>",
            "1",
        ),
        (
            "winogrande",
            {"sentence": "A _ b.", "option1": "x", "option2": "y", "label": 1},
            "[winogrande]:\n<sentence>A _ b.</sentence>\n<option1>x</option1>\n<option2>y</option2>",
            "2",
        ),
        (
            "multirc",
            {
                "paragraph": PARAGRAPH,
                "question": "Who?",
                "answer": "Tom",
                "label": 1,
                "idx": {"paragraph": 4, "question": 9},
            },
            "multirc question: Who? answer: Tom paragraph: Sent 1: Tom ran. Sent 2: He fell.",
            "True",
        ),
        ("wsc", WSC, "wsc: Mitchell asked Tom if *he* could lend some money.", "Tom"),
        (
            "dpr",
            {
                "sentence": "Bob asked Tom if he can, as he said.",
                "pronoun": "he",
                "candidates": ["Bob", "Tom"],
                "label": 1,
            },
            "wsc: Bob asked Tom if *he* can, as he said.",
            "Tom",
        ),
        (
            "squad",
            {
                "question": "How much (in US$)?",
                "context": "It's $3.5 million \u2013 now.",
                "answers": ANSWERS,
                "id": "x",
            },
            "question: How much ( in US $ ) ? context: It ' s $ 3 . 5 million \u2013 now . ",
            " $ 3 . 5 million",
        ),
    ],
)
def test_the_texts_of_t5(name, row, text, target):
    (found,) = made(name, row)
    assert (found.input, found.target) == (text, target)


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (1.8, "1.8"),
        (5.0, "5.0"),
        (2.5, "2.4"),
        (0.5, "0.4"),
        (1.5, "1.6"),
        (3.8, "3.8"),
        ("4.750", "4.8"),
        (3.1, "3.2"),
    ],
)
def test_scores_are_rounded_to_fifths_and_half_to_even(score, text):
    (found,) = made("stsb", {"sentence1": "A", "sentence2": "B", "label": score})
    assert found == Texts("stsb sentence1: A sentence2: B", text)


@pytest.mark.parametrize("row", [{}, {"label": -1.0}, {"label": None}])
def test_a_score_that_is_not_published_is_not_minus_one(row):
    sentences = {"sentence1": "A", "sentence2": "B"}
    assert made("stsb", {**sentences, **row}, "test") == [Texts("stsb sentence1: A sentence2: B", UNLABELED)]


def test_squads_two_forms():
    """The texts are those of T5's own tests: `test_pad_punctuation`, and `test_pad_punctuation_i18n` of April 2022."""
    quoted = '"This  is a string with "punctuation (1845-1986) ".'
    spaced = ' " This is a string with " punctuation ( 1845 - 1986 ) " . '
    accented = '"Introducción (la vídeo)".'
    for name, expected in (
        ("squad", ' " Introducci ó n ( la v í deo ) " . '),
        ("squad_2022", ' " Introducción ( la vídeo ) " . '),
    ):
        row = {"question": "A_b?", "context": accented, "answers": {"text": [quoted, accented]}, "id": "x"}
        (found,) = made(name, row)
        assert found.answers == (spaced, expected)
        underscore = "A_b" if name == "squad" else "A _ b"
        assert found.input == f"question: {underscore} ? context:{expected}"


def test_squad_as_in_t5s_test():
    row = {
        "question": "A question?",
        "context": "Some context.",
        "answers": {"text": ["The answer.", "Another answer."]},
    }
    for name in ("squad", "squad_2022", "squad_v2"):
        (found,) = made(name, row)
        assert found.input == "question: A question ? context: Some context . "
        assert (found.target, found.answers) == ("The answer . ", ("The answer . ", "Another answer . "))


def test_a_question_without_an_answer():
    """FLAN's target; T5 has no task of SQuAD v2. Where the answer isn't published it is another matter."""
    row = {"question": "Q?", "context": "C.", "answers": {"text": []}, "is_impossible": True}
    (found,) = made("squad_v2", row)
    assert (found.target, found.answers) == ("unanswerable", ("unanswerable",))
    (found,) = made("squad_v2", {**row, "is_impossible": False}, "test")
    assert found.target == UNLABELED


def test_unified_qa_and_the_original_say_the_same():
    unified = {
        "input": "how would others feel? \\n (a) like attacking (b) like hiding  (c) a kid \\n Jordan sang (loudly).",
        "output": "Like hiding",
    }
    original = {
        "context": "Jordan sang (loudly).",
        "question": "how would others feel?",
        "answerA": "like attacking",
        "answerB": "like hiding",
        "answerC": "a kid",
        "label": "2",
    }
    assert made("socialiqa", unified) == made("socialiqa", original)
    (found,) = made("socialiqa", original)
    assert found.target == "2" and found.input.startswith("[socialiqa]:\n<context>Jordan sang (loudly).</context>\n<qu")
    with pytest.raises(ConfigurationError, match="none of the answers"):
        made("socialiqa", {**unified, "output": "a dog"})
    with pytest.raises(ConfigurationError, match="three answers"):
        made("socialiqa", {**unified, "input": "how?"})


def test_record_has_an_example_for_each_answer_in_training_alone():
    both = ("London", "Paris")
    assert made("record", RECORD) == [Texts(RECORD_TEXT, answer, both) for answer in both]
    assert made("record", RECORD, "validation") == [Texts(RECORD_TEXT, "London", both)]
    (found,) = made("record", {**RECORD, "answers": []}, "test")
    assert found.target == UNLABELED


def test_wsc_trains_on_the_right_referents_alone():
    wrong = {**WSC, "span1_text": "Mitchell", "label": 0}
    with pytest.raises(LeftOut, match="not the pronoun's referent"):
        made("wsc", wrong)
    (found,) = made("wsc", wrong, "validation")
    assert (found.target, found.label) == ("Mitchell", 0)
    for unlabelled in ({**wrong, "label": -1}, {key: wrong[key] for key in wrong if key != "label"}):
        (found,) = made("wsc", unlabelled, "test")
        assert (found.target, found.label) == ("Mitchell", -1)


@pytest.mark.parametrize(
    ("text", "index", "pronoun", "marked"),
    [
        ('John laughed. "Good for him," he said. ', 4, "him", 'John laughed. "Good for *him* ," he said.'),
        ("They might want to use it , but not now", 4, "it", "They might want to use *it* , but not now"),
        ("The cup broke when Ann dropped it", 6, "it", "The cup broke when Ann dropped *it* "),
    ],
)
def test_wsc_rows_that_t5_treats_apart(text, index, pronoun, marked):
    (found,) = made("wsc", {**WSC, "text": text, "span2_index": index, "span2_text": pronoun})
    assert found.input == f"wsc: {marked}"


def test_groups_answers_and_labels_that_are_not_published():
    row = {"paragraph": "P", "question": "Q", "answer": "A", "label": -1, "idx": {"paragraph": 4, "question": 9}}
    assert made("multirc", row, "test") == [Texts("multirc question: Q answer: A paragraph: P", UNLABELED, group="4/9")]
    (found,) = made("squad", {"question": "Q", "context": "C", "answers": ANSWERS, "id": "x"}, "validation")
    assert found.answers == (" $ 3 . 5 million", "3 . 5")
    (found,) = made("ax", {"premise": "P", "hypothesis": "H"}, "test")
    assert found == Texts("mnli hypothesis: H premise: P", UNLABELED)
    (found,) = made("axb", {"sentence1": "P", "sentence2": "H", "label": -1}, "test")
    assert found.input == "rte hypothesis: H premise: P"
    (found,) = made("axg", {"premise": "P", "hypothesis": "H", "label": 0}, "test")
    assert found == Texts("rte hypothesis: H premise: P", "entailment")


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("sst2", {"sentence": "A", "label": 2}, "here: 2 is not a label of task sst2; it has 'negative', 'positive'"),
        ("sst2", {"sentence": "A", "label": "good"}, "here: 'good' is not a label"),
        ("sst2", {"sentence": "A"}, "here: no column 'label'; it has 'sentence'"),
        ("sst2", {"sentense": "A", "label": 0}, "here: no column 'sentence'.*did you mean 'sentense'"),
        ("stsb", {"sentence1": "A", "sentence2": "B", "label": "high"}, "here: 'high' is not a number"),
        ("wsc", {"text": "A"}, "here: no column 'label'"),
    ],
)
def test_rows_that_are_no_examples(name, row, message):
    with pytest.raises(ConfigurationError, match=message):
        made(name, row)


def test_a_form_of_ones_own():
    task = replace(all_tasks()["sst2"], input="{sentence}?", labels=None)
    assert list(texts_of(task, {"sentence": "A", "label": 3.5}, "train", "here")) == [Texts("A?", "3.5")]
