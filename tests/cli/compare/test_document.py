"""What programs get of `compare`, by its schema."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

import scalecli
from tests.analysis.runs import child_of, save_run

SCHEMA = json.loads((Path(scalecli.__file__).parent / "cli/compare/document.schema.json").read_text(encoding="utf-8"))
TABLES = set(SCHEMA["properties"]["tables"]["properties"])
FITS = ("--fit", "flops:upstream", "--fit", "parameters,tokens:upstream", "--agreement", "--pareto", "--isoflop")
INVOCATIONS = [
    ("small",),
    ("small", "runs/*", "--columns", "name,training_flops,sst2/accuracy", "--quality", "upstream,glue"),
    ("runs/*", "--seeds", "mean"),
    ("runs/*", *FITS),
    ("--published", "table-4", *FITS, "--hold-out", "largest", "--cost", "flops,parameters"),
    ("--published", "table-5", "--where", "parameters<1"),
    ("--list", "runs"),
    ("--reproduction", "--published", "table-4"),
]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Three sizes with three amounts of data and one of a second seed, one of them finetuned."""
    monkeypatch.chdir(tmp_path)
    for index, size in enumerate(("tiny", "mini", "small")):
        for steps in (100, 400, 1600):
            results = {steps: {"validation/negative_log_perplexity": -4 - 2 / steps**0.3 + 0.3 * index**0.5}}
            save_run(f"runs/{size}-{steps}", size, steps=steps, results=results, best=None)
    save_run("runs/tiny-100-seed1", "tiny", steps=100, seed=1, results=results, best=None)
    save_run("runs/tuned", **child_of("runs/tiny-100", "../tiny-100", step=100))


def test_every_table_of_every_option_is_as_documented(runs, compare):
    seen = set()
    for arguments in INVOCATIONS:
        code, out, err = compare(*arguments, "--format", "json")
        assert code == 0, err
        document = json.loads(out)
        jsonschema.validate(document, SCHEMA)
        seen |= {key for key, rows in document["tables"].items() if rows}
        if arguments == ("small",):
            assert yaml.safe_load(compare(*arguments, "--format", "yaml")[1]) == document
    assert seen == TABLES


def test_the_schema_refuses_what_it_does_not_document(compare):
    document = json.loads(compare("small", "--format", "json")[1])
    for change in ({"more": 1}, {"tables": {"unknown": []}}, {"tables": {"lines": [{"slope": 1.0}]}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document | change, SCHEMA)
