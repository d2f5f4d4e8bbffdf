import csv
import io
import json

import pytest

from tests.analysis.runs import save_run
from tests.cli.conftest import names
from tests.documents import models

PAPER_NOTE = "FLOPs: paper, batch 128 x 512 inputs x 128 targets\n"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs of small under runs/."""
    monkeypatch.chdir(tmp_path)
    save_run("runs/first", "small")
    save_run("runs/second", "small")


def test_published_tables_beside_runs(runs, compare):
    code, out, err = compare("runs/first", "--published", "table-3", "--published", "switch-base", "--format", "json")
    assert (code, err) == (0, PAPER_NOTE)
    assert names(out) == ["first", "nl12-xxl", "nl32-xl", "switch-base"]
    assert names(compare("published:table-3", "--format", "json")[1]) == ["nl12-xxl", "nl32-xl"]


def test_architectures_and_conditions_choose_rows(runs, compare):
    switch = compare("--published", "architectures", "--arch", "switch", "--format", "json")[1]
    assert names(switch) == [f"switch-{size}" for size in ("tiny", "small", "base", "large", "xl")]
    two = ("--arch", "albert", "--arch", "performer", "--where", "parameters<=61M", "--where", "glue>60")
    chosen = compare("--published", "architectures", *two, "--sort", "-glue", "--format", "json")[1]
    assert names(chosen) == ["albert-small", "albert-base", "albert-large"]
    ours = compare("runs/*", "--published", "table-4", "--where", "source=run", "--format", "json")[1]
    assert names(ours) == ["first", "second"]
    # What is left out marks nothing.
    best = models(compare("--published", "table-4", "--where", "parameters>1B", "--format", "json")[1])
    assert {row["name"]: "parameters" in row["best"] for row in best} == {
        **{"xl": False, "large-nl36": True, "xxl": False, "xl-nl32": False},
    }


def test_no_row_is_left(compare):
    code, out, err = compare("--published", "table-4", "--where", "parameters<1M", "--format", "json")
    assert (code, models(out)) == (0, [])
    assert err == "warning: none of the 14 rows meets --where and --arch\n"


def test_several_costs_and_qualities(compare):
    choice = ("--published", "table-4", "--where", "parameters<300M", "--cost", "parameters,flops, steps_per_s")
    rows = {row["name"]: row for row in models(compare(*choice, "--format", "json")[1])}
    assert rows["small-nl24"]["pareto"] == {"upstream": ["parameters", "flops"]}
    assert rows["base"]["pareto"] == {"upstream": ["parameters", "flops", "steps_per_s"]}
    assert rows["small-nl22"]["pareto"] == {}
    rows = {row["name"]: row for row in models(compare(*choice, "--quality", "upstream,glue", "--format", "json")[1])}
    assert rows["small-el32"]["pareto"] == {"glue": ["parameters"]}
    out = compare(*choice, "--quality", "upstream,glue")[1]
    assert out.splitlines()[0].split()[-4:] == ["Pareto:", "upstream", "Pareto:", "glue"]
    (line,) = (line for line in out.splitlines() if line.split()[0] == "small-nl24")
    assert line.rstrip().endswith("parameters, flops")
    table = list(csv.DictReader(io.StringIO(compare(*choice, "--format", "csv")[1])))
    assert json.loads(table[-2]["pareto"]) == {"upstream": ["parameters", "flops"]}
    two = compare("small", "base", "--quality", "glue,squad", "--columns", "name,pareto,flops", "--format", "markdown")[
        1
    ]
    assert two.splitlines()[0] == "| Name | Pareto: glue | Pareto: squad | FLOPs |"


def test_figures_that_do_not_compare_are_noted(compare):
    out, err = compare("--published", "table-4")[1:]
    header = out.splitlines()[0].split()
    assert header[-4:] == ["Chips", "Upstream", "Downstream", "Pareto"]
    xl, xxl = (next(line.split() for line in out.splitlines() if line.split()[0] == name) for name in ("xl", "xxl"))
    assert xl[-1] != "●" and xxl[-1] == "●" and xxl[6] == "64"
    lines = err.splitlines()
    assert lines[2].startswith("note: marks only compare FLOPs of as many sequences and steps/s on as many chips")
    assert any(line.startswith("note: xl: flops: FLOPs are of 64 sequences") for line in lines)
    assert any(line.startswith("note: xxl: flops, otherwise 500T: ") for line in lines)
    assert "Chips" not in compare("small", "base")[1]


def test_contradictions_are_shown_where_their_figures_are(compare):
    assert compare("nl12-xxl", "--columns", "name,upstream")[2] == ""
    err = compare("nl12-xxl", "--columns", "name,parameters")[2]
    assert err == "note: nl12-xxl: parameters, otherwise 5.67B: a model of the printed shape is larger\n"
    (row,) = models(compare("nl12-xxl", "--format", "json")[1])
    (finding,) = row["findings"]
    assert finding["other"] == "5.67B" and finding["kind"] == "contradiction" and finding["evidence"]
    assert "rows" not in finding
    (row,) = csv.DictReader(io.StringIO(compare("nl12-xxl", "--format", "csv")[1]))
    assert json.loads(row["findings"]) == [finding]


def test_tables_of_other_figures_show_them(compare):
    out, err = compare("--published", "table-6")[1:]
    assert out.splitlines()[0].split()[:4] == ["Name", "Source", "Architecture", "anli"]
    assert err == "* best of its column; among rows that were measured alike\n"
    out, err = compare("--published", "table-5")[1:]
    assert out.splitlines()[0].split()[-4:] == ["Steps/s", "Chips", "Few-shot", "Pareto"]
    assert "FLOPs: paper, one image" in err and "FLOPs are of one image" in err
    sizes = models(compare("--published", "architectures/table-4", "--format", "json")[1])
    assert (sizes[-1]["experts"], sizes[-1]["architecture"], sizes[-1]["parameters"]) == (128, "switch", 30_000_000_000)
    slopes = compare("--published", "architectures/table-2")[1]
    assert "*" not in slopes and "-1.67" in slopes


def test_chosen_qualities_are_shown_and_rows_of_one_name_told_apart(compare):
    out, err = compare("small", "base", "--published", "table-1", "--quality", "glue")[1:]
    assert "GLUE" in out.splitlines()[0] and "Pareto" in out.splitlines()[0]
    shown = [line.split("  ")[0] for line in out.splitlines()[2:]]
    assert shown[:2] == ["small (table-4)", "base (table-4)"] and {"tiny", "small (table-1)"} < {*shown}
    assert "no cheaper row (flops) is as good (glue)" in err.splitlines()[0]
    fitted = compare("--published", "table-1", "--published", "table-4", "--by", "NL", "--fit", "flops:glue")[1]
    assert "NL from small" in fitted  # series are told by the names as printed


def test_summaries_stand_beside_table_7s_by_t5s_rouge_alone(runs, compare):
    def summaries(name, metric, value):
        results = {f"{task}/{metric}": value for task in ("xsum", "cnn_dailymail")}
        save_run(f"runs/{name}", "small", kind="eval", results={300: {**results, "mean_over_tasks": value}})

    summaries("new", "rouge_lsum", 31.0)
    summaries("old", "rouge_l", 99.0)  # as written until there was rouge_lsum
    code, out, err = compare("runs/new", "runs/old", "--published", "table-7", "--format", "json")
    rows = {row["name"]: row for row in models(out)}
    assert code == 0
    assert [rows[name]["xsum"] for name in ("new", "old", "base", "small-nl24")] == [31.0, None, 32.3, 33.1]
    assert "xsum" in rows["small-nl24"]["best"] and rows["old"]["best"] == rows["new"]["best"] == []
    assert "note: old: rouge_l is ROUGE-L of whole texts, and not what the papers print: rouge_lsum" in err
    out, err = compare("runs/new", "--published", "table-7")[1:]
    assert out.splitlines()[0].split()[-4:] == ["Downstream", "cnn_dailymail", "multi_news", "xsum"]
    assert "rouge_l " not in err
