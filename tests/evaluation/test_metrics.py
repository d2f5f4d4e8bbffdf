import subprocess
import sys

import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score, matthews_corrcoef

from scalecli.data.tasks.task import Example
from scalecli.errors import ConfigurationError, MissingError
from scalecli.evaluation import metrics
from scalecli.evaluation.answers import names_referent
from scalecli.evaluation.metrics import METRICS, Score

BINARY = ["not_equivalent", "equivalent"]
CB = ["entailment", "contradiction", "neutral"]


def examples(targets, groups=None, truths=None):
    """Examples with these targets, or with several answers where a target is a tuple of them."""
    return [
        Example(
            f"input {row}",
            target if isinstance(target, str) else target[0],
            row,
            answers=() if isinstance(target, str) else target,
            group=groups and groups[row],
            label=truths and truths[row],
        )
        for row, target in enumerate(targets)
    ]


def score(metrics_, predictions, targets, labels=None, **more):
    found = metrics.score(metrics_, predictions, examples(targets, **more), labels)
    return {name: each.value for name, each in found.items()}


def baseline(metrics_, targets, labels=None, **more):
    return metrics.baseline(metrics_, examples(targets, **more), labels)


def one(metric, predictions, targets, labels=None, **more):
    return score([metric], predictions, targets, labels, **more)[metric]


def texts(codes, labels):
    """The labels at these places; places beyond the list become texts that are no label."""
    return [labels[code] if 0 <= code < len(labels) else f"nonsense {code}" for code in codes]


def test_metrics_come_back_by_name_in_the_order_asked_for():
    result = score(["f1", "accuracy"], texts([1, 1, 0, 0], BINARY), texts([1, 0, 1, 0], BINARY), BINARY)
    assert list(result.items()) == [("f1", 50.0), ("accuracy", 50.0)]


def test_accuracy_compares_stripped_texts_letter_by_letter():
    assert one("accuracy", [" yes", "no\n", "Yes", "yes."], ["yes", "no ", "yes", "yes"]) == 50.0


def test_binary_f1_is_of_the_second_label():
    # Of "equivalent": 2 true positives, 1 false positive, 1 false negative -> 2*2 / (2*2 + 1 + 1).
    predictions, targets = texts([1, 1, 1, 0, 0, 0, 0], BINARY), texts([1, 1, 0, 1, 0, 0, 0], BINARY)
    assert one("f1", predictions, targets, BINARY) == pytest.approx(100 * 4 / 6)
    # Of "not_equivalent", as the second label: 3 true positives, 1 false positive, 1 false negative.
    assert one("f1", predictions, targets, BINARY[::-1]) == pytest.approx(100 * 6 / 8)


def test_binary_f1_counts_an_invalid_prediction_as_the_wrong_label():
    # The truth 1 with an invalid prediction is a false negative, the truth 0 a false positive: 2*1 / (2*1 + 1 + 1).
    assert one("f1", ["equivalent", "maybe", ""], texts([1, 1, 0], BINARY), BINARY) == pytest.approx(50.0)


@pytest.mark.parametrize(("truth", "prediction"), [([0, 0], [0, 0]), ([1, 1], [0, 0]), ([0, 0], [1, 1])])
def test_binary_f1_without_true_positives_is_zero(truth, prediction):
    assert one("f1", texts(prediction, BINARY), texts(truth, BINARY), BINARY) == 0.0


def test_f1_of_three_labels_is_the_mean_over_classes():
    # entailment: tp 1, fp 0, fn 1 -> 2/3. contradiction: tp 1, fp 2, fn 0 -> 2/4. neutral: tp 0 -> 0.
    predictions, targets = texts([0, 1, 1, 1], CB), texts([0, 0, 1, 2], CB)
    assert one("f1", predictions, targets, CB) == pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)


def test_f1_of_three_labels_counts_an_invalid_prediction_as_no_class():
    # The miss is entailment's alone: 2/3, no other class gets a false positive.
    predictions, targets = texts([0, 9, 1, 2], CB), texts([0, 0, 1, 2], CB)
    assert one("f1", predictions, targets, CB) == pytest.approx(100 * (2 / 3 + 1 + 1) / 3)


def test_f1_of_three_labels_averages_over_a_class_that_never_occurs():
    assert one("f1", texts([0, 1], CB), texts([0, 1], CB), CB) == pytest.approx(200 / 3)


def test_f1_and_matthews_agree_with_scikit_learn():
    truth, prediction = [0, 1, 2, 2, 1, 0, 1, 2, 0, 1], [0, 2, 2, 1, 1, 0, 0, 2, 1, 1]
    predictions, targets = texts(prediction, CB), texts(truth, CB)
    assert one("f1", predictions, targets, CB) == pytest.approx(100 * f1_score(truth, prediction, average="macro"))
    assert one("matthews", predictions, targets, CB) == pytest.approx(100 * matthews_corrcoef(truth, prediction))


def test_matthews_of_two_labels():
    # tp 3, tn 2, fp 1, fn 1: (3*2 - 1*1) / sqrt(4 * 4 * 3 * 3).
    predictions, targets = texts([1, 1, 1, 0, 0, 0, 1], BINARY), texts([1, 1, 1, 1, 0, 0, 0], BINARY)
    assert one("matthews", predictions, targets, BINARY) == pytest.approx(100 * 5 / 12)
    assert one("matthews", texts([0, 1], BINARY), texts([1, 0], BINARY), BINARY) == pytest.approx(-100.0)


def test_matthews_of_two_labels_counts_invalid_predictions_as_one_more_class():
    truth, prediction = [1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 8, 0, 0, 9]
    expected = matthews_corrcoef(truth, [1, 1, 1, 2, 0, 0, 2])
    assert one("matthews", texts(prediction, BINARY), texts(truth, BINARY), BINARY) == pytest.approx(100 * expected)


def test_matthews_of_three_labels_counts_invalid_predictions_as_one_more_class():
    truth, prediction = [0, 0, 1, 1, 2, 2], [0, 7, 1, 8, 2, 0]
    expected = matthews_corrcoef(truth, [0, 3, 1, 3, 2, 0])
    assert one("matthews", texts(prediction, CB), texts(truth, CB), CB) == pytest.approx(100 * expected)


@pytest.mark.parametrize(("truth", "prediction"), [([0, 1, 1], [1, 1, 1]), ([1, 1, 1], [0, 1, 1])])
def test_matthews_of_one_class_is_zero(truth, prediction):
    assert one("matthews", texts(prediction, BINARY), texts(truth, BINARY), BINARY) == 0.0


def test_correlations_by_hand():
    # Deviations (-1, 0, 1) and (-4/3, -1/3, 5/3): 3 / sqrt(2 * 42/9); the ranks agree.
    predictions, targets = ["1.0", "2.0", " 4.0"], ["1.0", "2", "3.0"]
    assert one("pearson", predictions, targets) == pytest.approx(100 * 3 / (2 * 42 / 9) ** 0.5)
    assert one("spearman", predictions, targets) == pytest.approx(100.0)
    # With a tie: ranks (1.5, 1.5, 3) against (1, 2, 3): 1.5 / sqrt(1.5 * 2).
    assert one("spearman", ["1", "1", "5"], targets) == pytest.approx(100 * 1.5 / 3**0.5)
    assert one("pearson", ["3", "2", "1"], targets) == pytest.approx(-100.0)


@pytest.mark.parametrize("text", ["", "three", "nan", "inf", "3.2 points"])
def test_a_prediction_that_is_no_number_counts_as_minus_one(text):
    predictions, targets = ["0.4", text, "3.0", "4.8"], ["0.2", "2.0", "3.4", "5.0"]
    numbers, truth = [0.4, -1.0, 3.0, 4.8], [0.2, 2.0, 3.4, 5.0]
    assert one("pearson", predictions, targets) == pytest.approx(100 * pearsonr(numbers, truth)[0])
    assert one("spearman", predictions, targets) == pytest.approx(100 * spearmanr(numbers, truth)[0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("metric", ["pearson", "spearman"])
@pytest.mark.parametrize(
    ("predictions", "targets"),
    [(["2", "2"], ["1", "3"]), (["1", "3"], ["2", "2.0"]), (["x", "y"], ["1", "3"]), ("1", "1")],
)
def test_a_correlation_that_is_not_defined_is_zero(metric, predictions, targets):
    assert one(metric, predictions, targets) == 0.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("predictions", [["1.7e308", "1.7e308", "3"], ["1", "1.0000000000000002", "1"]])
def test_a_correlation_of_absurd_numbers_is_in_range_and_silent(predictions):
    result = score(["pearson", "spearman"], predictions, ["1", "2", "3"])
    assert all(-100.0 <= value <= 100.0 for value in result.values())


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_a_target_that_is_no_number_is_an_error(metric):
    with pytest.raises(ConfigurationError, match=f"{metric}.*'positive'"):
        score([metric], ["1", "2"], ["1", "positive"], None)


@pytest.mark.parametrize(
    ("prediction", "target", "exact", "overlap"),
    [
        ("The Cat sat.", "cat SAT", 1, 1),
        ("an apple, a pear and the plum", "apple pear and plum", 1, 1),
        ("  Denver \t Broncos ", "Denver\nBroncos", 1, 1),
        ("U.S.A.", "usa", 1, 1),  # punctuation leaves no space
        ("well-known", "well known", 0, 0),
        ("the.", "", 1, 0),  # an article once its full stop is gone: both empty, which is equal and shares no word
        ("", "", 1, 0),
        ("", "Denver", 0, 0),
        ("the", "Denver", 0, 0),
        ("Denver", "!", 0, 0),
        ("theatre another", "theatre another", 1, 1),  # articles only as whole words
        ("theatre another", "atre nother", 0, 0),
        ("the Denver Broncos team", "Denver Broncos", 0, 0.8),  # precision 2/3, recall 1
        ("b a b c", "b c c c", 0, 2 * 2 / 7),  # b once and c once in both; "a" is an article
        ("b b", "b b c", 0, 0.8),  # twice in both
        ("Broncos Denver", "Denver Broncos", 0, 1),  # order does not matter to the words
    ],
)
def test_exact_match_and_token_f1_are_squads(prediction, target, exact, overlap):
    result = score(["exact_match", "token_f1"], [prediction], [target], None)
    assert result == {"exact_match": 100.0 * exact, "token_f1": pytest.approx(100.0 * overlap)}


def test_exact_match_and_token_f1_average_over_examples():
    result = score(["exact_match", "token_f1"], ["the cat", "big dog", "bird"], ["cat", "dog", "fish"], None)
    assert result == {"exact_match": pytest.approx(100 / 3), "token_f1": pytest.approx(100 * (1 + 2 / 3) / 3)}


@pytest.mark.parametrize("metric", ["f1", "matthews"])
@pytest.mark.parametrize("labels", [None, [], ["yes"], ["yes", "yes "]])
def test_metrics_of_classes_need_two_labels(metric, labels):
    with pytest.raises(ConfigurationError, match=f"'{metric}'.*labels"):
        score([metric], ["yes"], ["yes"], labels)


@pytest.mark.parametrize("metric", ["f1", "matthews"])
def test_a_target_outside_the_labels_is_an_error(metric):
    with pytest.raises(ConfigurationError, match=r"target 'equivalant' is none of .*did you mean 'equivalent'"):
        score([metric], ["equivalent"], ["equivalant"], BINARY)


def test_a_label_of_two_raw_values_counts_once():
    assert one("f1", ["no", "yes", "yes"], ["yes", "yes", "no"], ["no", "yes", "yes"]) == pytest.approx(50.0)


def test_an_unknown_metric_is_an_error_with_the_nearest_name():
    with pytest.raises(ConfigurationError, match=r"'acuracy'.*accuracy, f1.*did you mean 'accuracy'"):
        score(["f1", "acuracy"], ["yes"], ["yes"], None)


def test_nothing_to_score_is_an_error():
    with pytest.raises(MissingError, match="no examples"):
        score(["accuracy"], [], [], None)
    with pytest.raises(MissingError, match="no examples"):
        baseline(["accuracy"], [], None)


@pytest.mark.parametrize("metric", METRICS)
def test_predictions_and_targets_must_pair_up(metric):
    with pytest.raises(ValueError, match="2 predictions for 1 examples"):
        score([metric], ["1", "2"], ["1"], ["1", "2"])


def test_baseline_is_the_best_constant():
    # 6 of 10 are negative. "equivalent" everywhere has precision 0.4 and recall 1: F1 0.8 / 1.4, where "not_equivalent"
    # everywhere has an F1 of 0.
    targets = texts([0] * 6 + [1] * 4, BINARY)
    result = baseline(["accuracy", "f1", "matthews"], targets, BINARY)
    assert result == {"accuracy": pytest.approx(60.0), "f1": pytest.approx(100 * 0.8 / 1.4), "matthews": 0.0}


def test_baseline_without_labels_is_the_most_frequent_target():
    result = baseline(["exact_match", "token_f1"], ["red fox", "red fox", "fox", "owl"], None)
    assert result == {"exact_match": 50.0, "token_f1": pytest.approx(100 * (1 + 1 + 2 / 3 + 0) / 4)}
    assert baseline(["pearson", "spearman"], ["1.0", "1.0", "3.0"], None) == {"pearson": 0.0, "spearman": 0.0}


def test_baseline_of_a_referent_is_that_of_naming_none():
    assert baseline(["referent_accuracy"], ["Bob", "Ann", "Ann"], truths=[1, 0, 0]) == {
        "referent_accuracy": pytest.approx(200 / 3)
    }


def test_scoring_imports_no_scientific_library_but_numpy():
    libraries = "{'sklearn', 'scipy', 'tensorflow', 'keras'}"
    program = f"import sys, scalecli.evaluation.metrics; print(*{libraries} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


@pytest.mark.parametrize(
    ("metric", "predictions", "targets", "expected"),
    [
        # The examples of the T5 library's own tests of these metrics.
        ("f1", [0, 1, 2, 2], [0, 1, 1, 0], 50.0),
        ("accuracy", [0, 1, 2, 1], [0, 0, 2, 1], 75.0),
        ("matthews", [0, 1, 2, 1], [0, 0, 2, 1], 70.0),
    ],
)
def test_published_examples_of_classes(metric, predictions, targets, expected):
    labels = BINARY if metric == "f1" else CB
    assert one(metric, texts(predictions, labels), texts(targets, labels), labels) == pytest.approx(expected)


def test_published_example_of_the_mean_over_classes():
    assert one("f1", texts([0, 0, 2, 2], CB), texts([0, 1, 1, 2], CB), CB) == pytest.approx(44.444444444)


def test_published_examples_of_question_answering():
    answers = [("big moose", "hippo"), ("correct1",), ("correct2.1", "correct2.2"), ("a", "b")]
    predictions = ["a big  Moose!", "wrong", "correct2.2", "c"]
    assert score(["exact_match", "token_f1"], predictions, answers) == {"exact_match": 50.0, "token_f1": 50.0}
    assert one("token_f1", ["abd"], [("abc abd", "$$$$")]) == pytest.approx(200 / 3)
    assert one("exact_match", ["abd"], [("abc abd", "$$$$")]) == 0.0


def test_an_answer_that_is_an_article_is_matched_but_shares_no_word():
    """In SQuAD v1.1's script: exact match compares what is left, F1 is 0 where nothing is shared."""
    result = score(["exact_match", "token_f1"], ["the"], [("a",)])
    assert result == {"exact_match": 100.0, "token_f1": 0.0}


def test_the_best_of_several_answers_counts_for_each_metric_on_its_own():
    # Exactly the second; "red fox" and "big red fox": 2 * 2 / 5.
    result = score(["exact_match", "token_f1"], ["red fox", "a red fox!"], [("big red fox", "owl"), ("owl", "red fox")])
    assert result == {"exact_match": 50.0, "token_f1": pytest.approx(100 * (0.8 + 1) / 2)}


def test_multirc():
    """F1 over all answers, and the share of questions all of whose answers are right (Khashabi et al. 2018)."""
    labels = ["False", "True"]
    truth, predicted = [1, 0, 1, 1, 0, 0], [1, 0, 1, 0, 0, 7]
    groups = ["0/0", "0/0", "0/1", "0/1", "1/0", "1/0"]
    result = score(["f1", "group_exact_match"], texts(predicted, labels), texts(truth, labels), labels, groups=groups)
    # True positives 2, a false negative, and the prediction that is no label is a false positive.
    assert result == {"f1": pytest.approx(100 * 4 / 6), "group_exact_match": pytest.approx(100 / 3)}


def test_what_is_judged_by_groups_has_groups():
    with pytest.raises(ConfigurationError, match="of no groups"):
        one("group_exact_match", ["True"] * 2, ["True"] * 2, groups=["0/0", None])


def test_referents():
    targets = ["the cat", "Bob", "fuzzy hungry bunny", "Ann", "Ann"]
    predictions = ["Cat", "Bob's hat", "fuzzy bunny", "", "the dog"]
    truths = [1, 1, 0, 0, 0]
    # Right, wrong (the apostrophe), wrong (named), wrong (nothing said), right (not named).
    assert one("referent_accuracy", predictions, targets, truths=truths) == pytest.approx(40.0)
    with pytest.raises(ConfigurationError, match="don't say whether"):
        one("referent_accuracy", predictions, targets)


def test_rouge_l_is_the_packages():
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    predictions, targets = ["the cat sat on mats", "no"], ["A cat sat on the mat.", "yes"]
    expected = [scorer.score(t, p)["rougeL"].fmeasure for p, t in zip(predictions, targets, strict=True)]
    assert expected[0] == pytest.approx(2 * 3 / (5 + 6))
    assert one("rouge_l", predictions, targets) == pytest.approx(100 * sum(expected) / 2)


def test_rouge_lsum_compares_sentences():
    """T5 ends sentences at " . " before it takes rougeLsum (t5/evaluation/metrics.py, `rouge`).

    By Lin's definition: sentence by sentence all 18 words of the prediction are among the answer's 24, and the longest
    common subsequence of the whole texts has 10 words.
    """
    first = "the council voted on monday to close two libraries"
    second = "the mayor said the money will go to schools"
    answer, prediction = f"{first} . {second} . residents plan a protest on friday .", f"{second} . {first} ."
    assert one("rouge_lsum", [prediction], [answer]) == pytest.approx(100 * 36 / 42)
    assert one("rouge_l", [prediction], [answer]) == pytest.approx(100 * 20 / 42)


def test_rouge_as_in_t5s_tests():
    """`test_same_rouge` and `test_different_rouge` of t5/evaluation/metrics_test.py."""
    text = "this is a string"
    assert one("rouge_lsum", [text, text], [text, text]) == 100.0
    assert one("rouge_lsum", ["", ""], [text, text]) == 0.0


def test_squad_v2():
    """As the official script has it, evaluate-v2.0.py: by hand from its rules.

    Without an answer: right for `unanswerable` and for nothing, wrong for a word more, whose overlap counts 0. With
    one: "unanswerable" is no answer, and an answer of articles alone isn't one of those that count.
    """
    none, fox = ("unanswerable",), ("the", "red fox")
    predictions = ["Unanswerable.", "", "unanswerable fox", "unanswerable", "", "a red fox", "fox"]
    accepted = [none, none, none, fox, fox, fox, fox]
    right = [1, 1, 0, 0, 0, 1, 0]
    result = score(["squad_v2_exact_match", "squad_v2_f1"], predictions, accepted)
    assert result["squad_v2_exact_match"] == pytest.approx(100 * sum(right) / 7)
    assert result["squad_v2_f1"] == pytest.approx(100 * (sum(right) + 2 / 3) / 7)


@pytest.mark.parametrize(
    ("prediction", "referent", "named"),
    [
        # Those of t5/data/postprocessors_test.py, `test_wsc_simple`.
        ("potato", "turnip", False),
        ("the cat", "cat", True),
        ("Bob's hat", "Bob", False),
        ("a potato", "my potato", True),
        ("fuzzy bunny", "fuzzy hungry bunny", True),
        # T5 splits at single spaces: a tab is part of a word, and between two spaces is an empty one.
        ("fuzzy\tbunny", "fuzzy bunny", False),
        ("fuzzy  bunny", "fuzzy hungry bunny", False),
        ("fuzzy  bunny", "bunny", True),
        ("the", "cat", None),
        ("cat", "his", False),
    ],
)
def test_referents_as_in_t5s_tests(prediction, referent, named):
    assert names_referent(prediction, referent) is named


def test_a_score_states_its_interval_and_its_number_of_examples():
    found = metrics.score(["accuracy"], ["yes"] * 80 + ["no"] * 20, examples(["yes"] * 100), None)["accuracy"]
    assert isinstance(found, Score) and (found.value, found.examples) == (80.0, 100)
    # The normal approximation of a share of 0.8 of 100: 1.96 * sqrt(0.8 * 0.2 / 100) = 0.078.
    assert (found.low, found.high) == (pytest.approx(72.2, abs=1.5), pytest.approx(87.8, abs=1.5))
