"""A row or two of each task, as its original file has them and as TensorFlow Datasets has the same."""

import json

from scalecli.data.tasks.examples import iterate_examples
from scalecli.data.tasks.registry import all_tasks
from tests.datasets import prepare

PASSAGE = {"text": "Ann met Bob.\n@highlight\nIn Rome", "entities": [{"start": 0, "end": 2}, {"start": 8, "end": 10}]}
ANSWERS = [{"start": 8, "end": 10, "text": "Bob"}, {"start": 8, "end": 10, "text": "Bob"}]
WSC = {"text": "The cat ate because it was hungry.", "idx": 4, "label": True}
SPANS = {"span1_text": "the cat", "span1_index": 0, "span2_text": "it", "span2_index": 4}
MULTIRC_ANSWERS = [{"text": "A", "idx": 0, "label": 1}, {"text": "B", "idx": 1, "label": 0}]
SQUAD = {
    "context": "In Rome, 1900.",
    "qas": [
        {"id": "q1", "question": "Where?", "answers": [{"text": "Rome", "answer_start": 3}, {"text": "in Rome"}]},
        {"id": "q2", "question": "When?", "answers": [{"text": "1900", "answer_start": 9}]},
    ],
}

# task -> the original file and its content, and the same rows as TensorFlow Datasets has them
LAYOUTS = {
    "cola": (
        "CoLA/dev.tsv",
        'gj04\t1\t\tThe sailors rode .\ngj04\t0\t*\t"Ride sailors.\n',
        [{"sentence": "The sailors rode .", "label": 1}, {"sentence": '"Ride sailors.', "label": 0}],
    ),
    "mrpc": (
        "glue/MRPC/dev.tsv",
        '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tHe "said.\tHe told.\n',
        [{"sentence1": 'He "said.', "sentence2": "He told.", "label": 1}],
    ),
    "qnli": (
        "glue_data/QNLI/dev.tsv",
        "index\tquestion\tsentence\tlabel\n0\tWhy?\tSo. \tnot_entailment\n",
        [{"question": "Why?", "sentence": "So. ", "label": 1}],
    ),
    "mnli": (
        "GLUE/MNLI/dev_matched.tsv",
        "index\tpairID\tsentence1\tsentence2\tlabel1\tgold_label\n0\t1\tP.\tH.\tneutral\tcontradiction\n",
        [{"premise": "P.", "hypothesis": "H.", "label": 2}],
    ),
    "stsb": (
        "STS-B/dev.tsv",
        "index\tsentence1\tsentence2\tscore\n0\tA.\tB.\t4.750\n",
        [{"sentence1": "A.", "sentence2": "B.", "label": 4.75}],
    ),
    "boolq": (
        "superglue/BoolQ/val.jsonl",
        json.dumps({"question": "q", "passage": "p", "idx": 0, "label": True}),
        [{"question": "q", "passage": "p", "idx": 0, "label": 1}],
    ),
    "copa": (
        "SuperGLUE/COPA/val.jsonl",
        json.dumps({"premise": "p", "choice1": "a", "choice2": "b", "question": "effect", "label": 1, "idx": 0}),
        [{"premise": "p", "choice1": "a", "choice2": "b", "question": "effect", "label": 1, "idx": 0}],
    ),
    "cb": (
        "CB/val.jsonl",
        json.dumps({"premise": "p", "hypothesis": "h", "label": "neutral", "idx": 0}),
        [{"premise": "p", "hypothesis": "h", "label": 2, "idx": 0}],
    ),
    "multirc": (
        "MultiRC/val.jsonl",
        json.dumps(
            {"idx": 3, "passage": {"text": "P", "questions": [{"idx": 5, "question": "Q", "answers": MULTIRC_ANSWERS}]}}
        ),
        [
            {
                "paragraph": "P",
                "question": "Q",
                "answer": "A",
                "label": 1,
                "idx": {"paragraph": 3, "question": 5, "answer": 0},
            },
            {
                "paragraph": "P",
                "question": "Q",
                "answer": "B",
                "label": 0,
                "idx": {"paragraph": 3, "question": 5, "answer": 1},
            },
        ],
    ),
    "record": (
        "ReCoRD/val.jsonl",
        json.dumps({"idx": 2, "passage": PASSAGE, "qas": [{"idx": 6, "query": "@placeholder", "answers": ANSWERS}]}),
        [
            {
                "passage": PASSAGE["text"],
                "query": "@placeholder",
                "entities": ["Ann", "Bob"],
                "answers": ["Bob"],
                "idx": {"passage": 2, "query": 6},
            }
        ],
    ),
    "wsc": (
        "WSC/val.jsonl",
        json.dumps({**WSC, "target": SPANS}),
        [{**WSC, **SPANS, "span1_text": "The cat", "label": 1}],
    ),
    "squad": (
        "squad/dev-v1.1.json",
        json.dumps({"version": "1.1", "data": [{"title": "T", "paragraphs": [SQUAD]}]}, indent=1),
        [
            {"context": SQUAD["context"], "question": "Where?", "id": "q1", "answers": {"text": ["Rome", "in Rome"]}},
            {"context": SQUAD["context"], "question": "When?", "id": "q2", "answers": {"text": ["1900"]}},
        ],
    ),
    "imdb": (
        "imdb/test.jsonl",
        json.dumps({"id": "test/neg/0_2", "label": 0, "text": "Bad"}),
        [{"text": "Bad", "label": 0}],
    ),
    "cosmosqa": (
        "cosmosqa/valid.jsonl",
        json.dumps({"context": "c", "question": "q", "answer0": "0", "answer1": "1", "answer2": "2", "answer3": "3"}),
        [{"context": "c", "question": "q", "answer0": "0", "answer1": "1", "answer2": "2", "answer3": "3", "label": 2}],
    ),
}


def write(data_dir, path, content):
    (data_dir / path).parent.mkdir(parents=True, exist_ok=True)
    (data_dir / path).write_bytes(content if isinstance(content, bytes) else content.encode())


def features_of(row):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    kinds = {str: tfds.features.Text, int: lambda: tf.int32, float: lambda: tf.float32, bool: lambda: tf.int32}

    def feature(value):
        if isinstance(value, dict):
            return {key: feature(item) for key, item in value.items()}
        if isinstance(value, list):
            return tfds.features.Sequence(tfds.features.Text())
        return kinds[type(value)]()

    return {key: feature(value) for key, value in row.items()}


def in_dataset(data_dir, name, rows, split="validation"):
    task = all_tasks()[name]
    split = task.dataset_splits()[split]
    return prepare(data_dir, task.dataset, features_of(rows[0]), [rows], split=split)


def read_examples(task, split, skipped=None):
    return list(iterate_examples(task, split, skipped))
