import csv
import io
from dataclasses import replace

import pytest
import yaml

from scalecli.shape import presets
from tests.analysis.runs import as_papers, c4_data, child_of, save_run
from tests.cli.conftest import names
from tests.documents import models

PARETO = "● no cheaper row (flops) is as good (upstream); among rows that were measured alike\n"
MARKS_NOTE = f"* best of its column; {PARETO}"
FORWARD_NOTE = "FLOPs: forward, batch 128 x 512 inputs x 114 targets\n"
PAPER_NOTE = "FLOPs: paper, batch 128 x 512 inputs x 128 targets\n"
CHIPS_NOTE = "note: marks only compare steps/s on as many chips\n"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs of small on C4 under runs/: the second has scores, and no parent."""
    monkeypatch.chdir(tmp_path)
    save_run("runs/first", "small", **as_papers())
    save_run("runs/second", "small", **{**child_of("runs/first", "../first"), "parent": None})
    return tmp_path


def test_runs_and_published_models_in_one_json(runs, compare):
    code, out, err = compare("runs/first", "runs/second/run.yaml", "small", "switch-base", "--format", "json")
    assert code == 0
    first, second, small, switch = models(out)
    assert first == {
        **{"name": "first", "source": "run", "architecture": "transformer", "parameters": 60_506_624},
        **{
            "flops": 3_694_433_140_736,
            "steps_per_s": 2.5,
            "upstream": -4.25,
            "downstream": None,
            "pareto": {"upstream": ["flops"]},
        },
        **{"flops_convention": "paper", "flops_sequences": 128, "chips": None, "table": None, "findings": []},
        "path": "runs/first",
        "upstream_text": "C4 (English), 32,000 pieces",
        "data_seen": "42,010,148,864 tokens",
        "best": ["parameters", "flops"],
    }
    assert second["downstream"] == 60.0 and second["upstream"] is None and second["pareto"] == {}
    assert (small["source"], small["flops"], small["flops_convention"]) == ("scale-efficiently", 3.7e12, "paper")
    assert (small["upstream"], small["downstream"]) == (-2.021, 73.57)
    assert (switch["architecture"], switch["best"]) == ("switch", ["upstream", "downstream"])
    assert err == PAPER_NOTE


def test_runs_alone_have_their_flops_in_forward(runs, compare):
    save_run("runs/third", "tiny", batch=8, data=c4_data())
    code, out, err = compare("runs/*", "--format", "json")
    assert (code, err) == (0, FORWARD_NOTE)
    rows = models(out)
    assert [row["flops"] for row in rows] == [4_533_478_490_112, 4_533_478_490_112, 1_003_027_955_712]
    assert {row["flops_convention"] for row in rows} == {"forward"}
    assert ["flops" in row["best"] for row in rows] == [False, False, True]


def test_a_small_run_beside_the_published_small(runs, compare):
    out, err = compare("runs/first", "small")[1:]
    lines = [line.split() for line in out.splitlines()[2:]]
    assert lines == [
        ["first", "run", "transformer", "60.5M*", "3.69T*", "2.5", "-", "-4.25", "-", "●"],
        ["small", "scale-efficiently", "transformer", "61.0M", "3.70T", "23", "16", "-2.021*", "73.57", "●"],
    ]
    assert err == MARKS_NOTE + PAPER_NOTE + CHIPS_NOTE


def test_a_run_that_cannot_have_so_long_inputs_is_named(tmp_path, compare):
    shape = presets("mixer")["tiny"].to_dict() | {"positions": 64}
    short = save_run(tmp_path / "short", architecture="mixer", shape=shape)
    err = compare(short, save_run(tmp_path / "long"))[2]
    assert "note: no FLOPs of short, which can't have examples of that length" in err
    assert "no FLOPs" not in compare(str(tmp_path / "long"))[2]


def test_upstream_of_another_text_is_not_marked_against_the_papers(runs, compare):
    save_run("runs/other", "small", **{**as_papers(), "data": replace(as_papers()["data"], name="own", kind="text")})
    out, err = compare("runs/first", "runs/other", "small", "base", "--columns", "name,upstream,pareto")[1:]
    lines = [line.split() for line in out.splitlines()[2:]]
    assert lines == [["first", "-4.25", "●"], ["other", "-4.25"], ["small", "-2.021", "●"], ["base", "-1.752*", "●"]]
    papers = "C4 (English), 32,000 pieces (first, small, base)"
    note = f"note: marks only compare upstream of one text: {papers}; own (c4), 32,000 pieces (abababab) (other)"
    assert err.splitlines() == [MARKS_NOTE.strip(), PAPER_NOTE.strip(), note]


def test_a_finetuned_run_and_its_evaluation_have_the_upstream_figure_of_the_pretrained_one(runs, compare):
    save_run("runs/tuned", **child_of("runs/first", "../first"))
    save_run("evaluated", **child_of("runs/tuned", "../runs/tuned", kind="eval"))
    arguments = ("runs/tuned", "evaluated/run.yaml", "--format", "json")
    figures = [(row["upstream"], row["downstream"], row["steps_per_s"]) for row in models(compare(*arguments)[1])]
    assert figures == [(-4.25, 60.0, None)] * 2
    save_run("runs/first", "small", steps=600, data=c4_data())
    assert [row["upstream"] for row in models(compare(*arguments)[1])] == [None, None]


def test_csv_yaml_markdown_and_table_show_the_same_rows(compare):
    arguments = ("small", "small-nl24", "base")
    rows = list(csv.DictReader(io.StringIO(compare(*arguments, "--format", "csv")[1])))
    assert [row["parameters"] for row in rows] == ["61000000", "193000000", "223000000"]
    assert rows[0]["best"] == "parameters flops steps_per_s"
    plain = yaml.safe_load(compare(*arguments, "--format", "yaml")[1])["tables"]["models"]
    assert [row["pareto"] for row in plain] == [{"upstream": ["flops"]}] * 3
    markdown = compare(*arguments, "--format", "markdown")[1].splitlines()
    assert "| small-nl24 | scale-efficiently | transformer | 193M | 10.0T | 9 | -1.783 | **79.92**\\* | ● |" in markdown
    table = compare(*arguments)[1].splitlines()
    expected = ["small", "scale-efficiently", "transformer", "61.0M*", "3.70T*", "23*", "-2.021", "73.57", "●"]
    assert table[2].split() == expected


def test_the_convention_is_named_only_where_flops_are_shown_or_used(runs, compare):
    assert compare("small", "base")[2] == MARKS_NOTE + PAPER_NOTE
    assert compare("runs/first", "runs/second")[2] == PARETO + FORWARD_NOTE
    of_names = ("runs/first", "small", "--columns", "name,upstream")
    assert "FLOPs" not in compare(*of_names)[2]
    assert PAPER_NOTE in compare(*of_names, "--sort", "-flops")[2]
    assert compare(*of_names, "--format", "json")[2] == PAPER_NOTE  # for the Pareto marks
    assert compare(*of_names, "--format", "json", "--cost", "parameters")[2] == ""
    assert compare("runs/first", "--columns", "name,pareto")[2] == PARETO + FORWARD_NOTE


def test_globs_and_directories(runs, compare):
    assert names(compare("runs/*", "--format", "json")[1]) == ["first", "second"]
    assert names(compare("run?/**/run.yaml", "--format", "json")[1]) == ["first", "second"]


def test_a_bare_name_is_the_published_model(runs, compare):
    save_run("small", name="mine")
    assert names(compare("small", "./small", "published:small", "SMALL", "--format", "json")[1]) == [
        *("small", "mine", "small", "small")
    ]


def test_published_patterns_and_everything(compare):
    assert len(names(compare("published:switch-*", "--format", "json")[1])) == 5
    assert len(names(compare("--format", "json")[1])) == 16 + 4 + 54


def test_columns_of_results(runs, compare):
    out = compare("runs/second", "small", "--columns", "name,sst2/accuracy,glue", "--format", "csv")[1]
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (rows[0]["sst2/accuracy"], rows[0]["glue"]) == ("80.0", "")
    assert (rows[1]["sst2/accuracy"], rows[1]["glue"]) == ("", "77.45")


def test_sorting_puts_the_unknown_last(runs, compare):
    arguments = ("runs/first", "runs/second", "small", "base", "--format", "json", "--sort")
    assert names(compare(*arguments, "upstream")[1]) == ["first", "small", "base", "second"]
    assert names(compare(*arguments, "-upstream")[1]) == ["base", "small", "first", "second"]
    assert names(compare(*arguments, "name")[1]) == ["base", "first", "second", "small"]


def test_pareto_columns_are_chosen(compare):
    arguments = ("base", "small-nl16", "small-nl22", "--format", "json")
    assert [row["pareto"] for row in models(compare(*arguments)[1])] == [{"upstream": ["flops"]}] * 3
    chosen = compare(*arguments, "--cost", "parameters", "--quality", "downstream")[1]
    assert [row["pareto"] for row in models(chosen)] == [{}, *[{"downstream": ["parameters"]}] * 2]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["smal"], 4, "smal: neither a published model nor a run manifest or its directory; did you mean 'small'?"),
        (["nothing/*"], 4, "nothing/*: neither a published model"),
        (["published:swich-base"], 4, "no published paper, table or model 'swich-base'; did you mean 'switch-base'?"),
        (["runs"], 4, "runs: no run.yaml in this directory; there are 2 runs below it, such as runs/"),
        (["small", "--columns", "name,upstrem"], 2, "no column 'upstrem'; did you mean 'upstream'?"),
        (["small", "--columns", "sst2/accuracy"], 2, "no column 'sst2/accuracy'"),
        (["small", "--sort", "-flop"], 2, "no column 'flop'; did you mean 'flops'?"),
        (["small", "--cost", "parametres"], 2, "did you mean 'parameters'?"),
        (["small", "--quality", "upstream,gleu"], 2, "no column 'gleu'; did you mean 'glue'?"),
        (["small", "--where", "parameters"], 2, "expected a condition such as parameters<300M"),
        (["small", "--where", "params<3"], 2, "no column 'params'; did you mean 'parameters'?"),
        (["small", "--arch", "swich"], 2, "--arch swich: no such architecture; did you mean 'switch'?"),
        (["--published", "table-9"], 4, "no published paper, table or model 'table-9'; did you mean 'table-"),
        (["small", "--format", "xml"], 2, "xml"),
        (["small", "--colums", "name"], 2, "--columns"),
    ],
)
def test_what_is_not_there_is_named_with_the_nearest(runs, compare, arguments, code, message):
    got, out, err = compare(*arguments)
    assert (got, out) == (code, "")
    assert message in err
    assert err.startswith("error: ") and err.count("\n") == 1


def test_a_damaged_manifest_among_others_is_left_out(runs, compare):
    (runs / "runs" / "second" / "run.yaml").write_text("schema: 1\nkind: pretrain\nnam: x\n")
    code, out, err = compare("runs/first", "runs/second", "--format", "json")
    assert (code, names(out)) == (0, ["first"])
    left_out = "warning: left out: runs/second/run.yaml: unknown key 'nam'; did you mean 'name'?\n"
    assert err == left_out + FORWARD_NOTE


def test_an_architecture_of_another_version_is_left_out(runs, compare):
    save_run("runs/third", architecture="hyena")
    code, out, err = compare("runs/*", "--format", "json")
    assert (code, names(out)) == (0, ["first", "second"])
    assert err.startswith("warning: left out: runs/third/run.yaml: no architecture 'hyena'; there are albert, ")
    assert err.endswith(FORWARD_NOTE) and err.count("\n") == 2
    code, out, err = compare("runs/third")
    assert (code, out) == (3, "") and err.startswith("error: runs/third/run.yaml: no architecture 'hyena'")


def test_a_damaged_manifest_alone_is_an_error(runs, compare):
    (runs / "runs" / "second" / "run.yaml").write_text("schema: 1\nkind: pretrain\nnam: x\n")
    code, out, err = compare("runs/second")
    assert (code, out) == (3, "")
    assert err == "error: runs/second/run.yaml: unknown key 'nam'; did you mean 'name'?\n"


def test_a_directory_that_holds_no_run_is_left_out(runs, compare):
    for name in ("a-stray", "b-stray", "c-stray"):
        (runs / "runs" / name).mkdir()
    code, out, err = compare("runs/a-stray", "runs/*", "--format", "json")
    assert (code, names(out)) == (0, ["first", "second"])
    assert err == "warning: left out: runs/a-stray and 2 more: no run.yaml in this directory\n" + FORWARD_NOTE
    code, out, err = compare("runs/a-*")
    assert (code, out, err) == (4, "", "error: runs/a-stray: no run.yaml in this directory\n")


def test_a_bucket_that_cannot_be_reached_is_one_line(compare):
    code, out, err = compare("nosuchscheme://bucket/*")
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert err.startswith("error: nosuchscheme://bucket/*: cannot be read (Protocol not known")


def test_runs_in_a_bucket(compare):
    pretrained = save_run("memory://study/a")
    save_run("memory://study/b", **child_of(pretrained, "../a"))
    out = compare("memory://study/a", "memory://study/*", "--format", "json")[1]
    assert names(out) == ["a", "a", "b"]
    assert [row["upstream"] for row in models(out)] == [-4.25] * 3


def test_completion_offers_the_published_names():
    from scalecli.cli.compare.arguments import complete_models, complete_published

    values = [item.value for item in complete_models(None, None, "small-nl")]
    assert values == ["small-nl16", "small-nl20", "small-nl22", "small-nl24", "small-nl"]
    assert complete_published(None, None, "arch") == [
        "architectures",
        *(f"architectures/table-{n}" for n in range(1, 6)),
    ]
    assert complete_published(None, None, "table-4") == ["table-4"]
