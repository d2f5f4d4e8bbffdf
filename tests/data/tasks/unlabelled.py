"""The test splits of GLUE and SuperGLUE in the layout of their downloads, two rows each, none of them with a label."""

import json

STSB = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
TABLES = {
    "CoLA/test.tsv": ("index\tsentence", "Bill ran ."),
    "SST-2/test.tsv": ("index\tsentence", "it 's fine"),
    "MRPC/test.tsv": ("index\t#1 ID\t#2 ID\t#1 String\t#2 String", "7\t8\tA ran.\tB ran."),
    "QQP/test.tsv": ("id\tquestion1\tquestion2", "Why?\tHow?"),
    "STS-B/test.tsv": (STSB, "main\tf\t2012\t1\tnone\tnone\tA man sings.\tA man hums."),
    "MNLI/test_matched.tsv": ("index\tpromptID\tpairID\tsentence1\tsentence2", "1\t1n\tHe ran.\tHe moved."),
    "MNLI/test_mismatched.tsv": ("index\tpromptID\tpairID\tsentence1\tsentence2", "1\t1n\tHe sat.\tHe rose."),
    "QNLI/test.tsv": ("index\tquestion\tsentence", "Who?\tAnn."),
    "RTE/test.tsv": ("index\tsentence1\tsentence2", "It rains.\tIt is wet."),
    "diagnostic/diagnostic.tsv": ("index\tsentence1\tsentence2", "The cat sat.\tThe cat did not sit."),
}
SPANS = {"span1_index": 0, "span1_text": "Mark", "span2_index": 4, "span2_text": "he"}
PASSAGE = {"text": "Ann met Bob.\n@highlight\nIn Rome", "entities": [{"start": 0, "end": 2}, {"start": 8, "end": 10}]}
QUESTION = {"question": "Who?", "idx": 0, "answers": [{"text": "Ann", "idx": 0}, {"text": "Bob", "idx": 1}]}
RECORDS = {
    "BoolQ/test.jsonl": {"question": "is it", "passage": "It is."},
    "CB/test.jsonl": {"premise": "It rains.", "hypothesis": "It is wet."},
    "COPA/test.jsonl": {"premise": "It rained.", "choice1": "Wet.", "choice2": "Dry.", "question": "effect"},
    "MultiRC/test.jsonl": {"version": 1.1, "passage": {"text": "<b>Sent 1: </b>Ann ran.", "questions": [QUESTION]}},
    "ReCoRD/test.jsonl": {"source": "CNN", "passage": PASSAGE, "qas": [{"query": "@placeholder ran", "idx": 0}]},
    "RTE/test.jsonl": {"premise": "It rains.", "hypothesis": "It is wet."},
    "WiC/test.jsonl": {"word": "class", "sentence1": "A class.", "sentence2": "First class.", "start1": 2, "end1": 7},
    "WSC/test.jsonl": {"text": "Mark told Pete that he won.", "target": SPANS},
    "AX-b/AX-b.jsonl": {"sentence1": "The cat sat.", "sentence2": "The cat did not sit."},
    "AX-g/AX-g.jsonl": {"premise": "Ann told Bob that she won.", "hypothesis": "Ann won."},
}


def write_test_splits(folder):
    """Writes them into folder/glue and folder/superglue."""
    files = {f"glue/{path}": [header, *(f"{n}\t{row}" for n in (0, 1))] for path, (header, row) in TABLES.items()}
    files |= {
        f"superglue/{path}": [json.dumps({**record, "idx": n}) for n in (0, 1)] for path, record in RECORDS.items()
    }
    for path, lines in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("\n".join(lines) + "\n")
