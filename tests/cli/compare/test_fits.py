import csv
import json

import pytest
import yaml

from scalecli.shape import parse_name
from tests.analysis.runs import child_of, save_run
from tests.documents import tables

TABLE_1 = ("--published", "architectures/table-1", "--arch", "transformer", "--arch", "glu", "--arch", "albert")
TABLE_4 = ("--published", "table-4")


def sections(out):
    """The lines below each title of what people get."""
    texts, title = {}, None
    previous = ""
    for line in out.splitlines():
        if set(line) == {"─"}:
            continue
        if not previous and line:
            title = line
            texts[title] = []
        elif line:
            texts[title].append(line)
        previous = line
    return texts


def test_fits_beside_the_published_slopes(compare):
    code, out, err = compare(*TABLE_1, "--fit", "flops:neg_log_ppl")
    assert code == 0 and "note: transformer-xl, glu-xl: flops: FLOPs are of 64 sequences" in err
    parts = sections(out)
    assert list(parts) == [
        *("Models", "Lines: quality over log10(cost)", "Power laws: loss = irreducible + scale x cost^-exponent")
    ]
    lines = parts["Lines: quality over log10(cost)"]
    assert lines[1].split()[:3] == ["transformer", "5", "0.543"] and "0.54 " in lines[1]
    assert lines[2].split()[:3] == ["glu", "5", "0.4976"] and "0.49 " in lines[2]
    assert "no line: albert (n = 3): a line needs 4 models" in lines
    assert any("transformer-xl (slope of transformer without: 0.589)" in line for line in lines)
    powers = parts["Power laws: loss = irreducible + scale x cost^-exponent"]
    assert [line.split()[0] for line in powers[1:3]] == ["transformer", "glu"]
    assert "no power law: albert (n = 3): a power law needs 5 models" in powers


def test_programs_get_every_fit_and_the_reason_where_there_is_none(compare):
    out = compare(*TABLE_1, "--fit", "flops:upstream", "--fit", "steps/s:superglue", "--format", "json")[1]
    document = tables(out)
    assert list(document) == ["models", "lines", "power_laws"] and len(document["models"]) == 13
    assert [(line["cost"], line["group"]) for line in document["lines"]] == [
        *(("flops", name) for name in ("transformer", "albert", "glu")),
        *(("steps_per_s", name) for name in ("transformer", "albert", "glu")),
    ]
    transformer, albert, _, speed, _, _ = document["lines"]
    assert transformer["slope"] == pytest.approx(0.54, abs=0.01) and transformer["published"] == 0.54
    assert transformer["low"] < 0.54 < transformer["high"] and transformer["reason"] is None
    assert transformer["residuals"][0]["name"] == "transformer-tiny"
    assert (albert["slope"], albert["reason"], albert["n"]) == (None, "a line needs 4 models", 3)
    assert speed["slope"] < 0 and speed["published"] is None
    assert document["power_laws"][0]["exponent"] == pytest.approx(0.41, abs=0.01)
    assert (
        yaml.safe_load(compare(*TABLE_1, "--fit", "flops:upstream", "--format", "yaml")[1])["tables"]["lines"][0]["n"]
        == 5
    )


def test_csv_is_one_table_a_file(tmp_path, compare):
    code, out, err = compare(*TABLE_1, "--fit", "flops:upstream", "--format", "csv")
    assert (code, out) == (2, "") and "--tables DIR" in err
    folder = tmp_path / "tables"
    assert compare(*TABLE_1, "--fit", "flops:upstream", "--tables", str(folder))[0] == 0
    assert sorted(file.name for file in folder.iterdir()) == ["lines.csv", "models.csv", "power_laws.csv"]
    rows = list(csv.DictReader((folder / "lines.csv").open()))
    assert (rows[0]["group"], rows[0]["published_in"]) == ("transformer", "architectures/table-2")
    first = json.loads(rows[0]["residuals"])[0]
    assert (first["name"], first["residual"]) == ("transformer-tiny", pytest.approx(-0.0989, abs=1e-3))


@pytest.mark.parametrize(
    ("format", "start"), [("markdown", "| transformer | 5 | 0.543 |"), ("latex", "transformer & 5")]
)
def test_tables_to_paste(compare, format, start):
    out = compare(*TABLE_1, "--fit", "flops:upstream", "--format", format)[1]
    assert any(line.startswith(start) for line in out.splitlines())


def test_fits_along_knobs(compare):
    out = compare(*TABLE_4, "--fit", "flops:upstream", "--by", "knob", "--format", "json")[1]
    lines = {line["group"]: line for line in tables(out)["lines"]}
    assert lines["NL from small"]["n"] == 5 and lines["NL from small"]["published"] is None
    assert lines["EL"]["reason"] == "a line needs 4 models"
    only = compare(*TABLE_4, "--fit", "flops:upstream", "--by", "EL", "--format", "json")[1]
    assert [line["group"] for line in tables(only)["lines"]] == ["EL"]


def test_too_few_runs_are_said_to_be_so(tmp_path, compare):
    for name in ("a", "b"):
        save_run(tmp_path / name)
    out = compare(str(tmp_path / "*"), "--fit", "tokens:upstream")[1]
    assert "no line: transformer (n = 2): a line needs 4 models" in out
    out = compare(str(tmp_path / "*"), "--fit", "tokens:downstream")[1]
    assert "nothing to fit: no models have both tokens and downstream" in out


def test_runs_are_fitted_over_what_they_were_pretrained_on(tmp_path, compare):
    for steps, figure in ((100, -5.0), (200, -4.7), (400, -4.4), (800, -4.1)):
        results = {steps: {"validation/negative_log_perplexity": figure}}
        pretrained = save_run(tmp_path / f"s{steps}", steps=steps, results=results, best=None)
        save_run(tmp_path / f"s{steps}-finetuned", **child_of(pretrained, f"../s{steps}", step=steps))
    document = tables(compare(str(tmp_path / "*"), "--fit", "tokens:upstream", "--format", "json")[1])
    (line,) = document["lines"]
    assert (line["n"], line["group"]) == (4, "transformer")
    assert line["slope"] == pytest.approx(0.3 / 0.30103)


def test_agreement_shows_the_inversion_of_table_3(compare):
    out = compare("--published", "table-3", "--agreement")[1]
    parts = sections(out)
    (pair,) = parts["Pairs: better upstream, worse downstream"][1:]
    assert pair.split() == ["scale-efficiently/table-3", "nl12-xxl", "0.03", "nl32-xl", "2.2"]
    programs = tables(compare("--published", "architectures/table-1", "--agreement", "--format", "json")[1])
    assert programs["agreement"][0]["disagree"] == len(programs["disagreements"]) == 255
    assert programs["upstream_downstream"][0]["published"] == 0.49
    people = compare("--published", "architectures/table-1", "--agreement")[1]
    assert "architectures/table-1: the 10 clearest of 255 pairs" in people


def test_nothing_to_compare_is_said(compare):
    assert "no two models of one table, or runs that saw as much data" in compare("small", "--agreement")[1]


def test_frontiers_of_every_cost_contain_the_rows_that_the_paper_names(compare):
    """Table 4's caption: each is efficient in one or more aspects of compute and one or more downstream tasks."""
    costs = "parameters,flops,steps_per_s"
    qualities = "downstream,glue,superglue,squad"
    out = compare(*TABLE_4, "--cost", costs, "--quality", qualities, "--pareto", "--format", "json")[1]
    rows = tables(out)["dominated_by"]
    beaten = {(row["name"], row["cost"], row["quality"]): row["dominated_by"] for row in rows}
    assert len(rows) == len(beaten) == 14 * 3 * 4
    for name in {row["name"] for row in rows if "-" in row["name"]}:  # small-nl16 and the like: their alternatives
        assert [] in [others for (own, *_), others in beaten.items() if own == name], name
    assert beaten["base", "flops", "downstream"] == ["small-nl20", "small-nl22", "small-nl24"]
    assert beaten["xl", "flops", "downstream"] is None  # its FLOPs are of fewer sequences


def test_people_see_who_dominates_and_what_to_take_instead(compare):
    out = compare(*TABLE_4, "--quality", "downstream", "--pareto")[1]
    parts = sections(out)
    dominated = {line.split()[0]: line for line in parts["Dominated by: cost: quality"][1:]}
    assert dominated["base"].endswith("small-nl20, small-nl22 and 1 more")
    assert dominated["small-nl24"].endswith("●") and dominated["xl"].endswith(" -")
    alternatives = [line.split() for line in parts["DeepNarrow: instead of"][1:]]
    assert ["base", "small-nl24", "transformer", "flops", "-9.091", "downstream", "0.76", "yes"] in alternatives


def test_what_to_train_next_from_one_s_own_runs(tmp_path, compare):
    for name, figure in (("small", -2.5), ("base", -2.0)):
        results = {300: {"validation/negative_log_perplexity": figure}}
        save_run(tmp_path / name, shape=parse_name(name).to_dict(), results=results, best=None)
    document = tables(compare(str(tmp_path / "*"), "--cost", "parameters", "--pareto", "--format", "json")[1])
    (row,) = document["deep_narrow"]
    assert (row["instead_of"], row["model"], row["trained"], row["difference"]) == ("base", "small-nl28", False, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fit", "flops"], "--fit 'flops': COST:QUALITY is accepted, such as flops:upstream or parameters:glue"),
        (["--fit", "flops:"], "COST:QUALITY is accepted"),
        (["--fit", "flops: flops"], "--fit 'flops: flops': the cost and the quality are one column; two are accepted"),
        (["--fit", "flops:upstrem"], "no column 'upstrem'; did you mean 'upstream'?"),
        (["--fit", "flop:upstream"], "no column 'flop'; did you mean 'flops'?"),
        (["--fit", "flops:upstream", "--by", "layers"], "--by layers: architecture, knob, NL, "),
        (["--by", "knob"], "--by goes with --fit, --plot or --report"),
        (["--reproduction", "--fit", "flops:upstream"], "--reproduction goes with --published, --arch and --format, "),
        (["--list", ".", "--pareto"], "--list goes with --format, not with --pareto"),
    ],
)
def test_what_does_not_go_together(compare, arguments, message):
    code, out, err = compare(*arguments)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1


def test_only_what_differs(compare):
    header = compare("small", "base", "--differing")[1].splitlines()[0].split()
    assert header == ["Name", "Parameters", "FLOPs", "Steps/s", "Upstream", "Downstream"]


def test_one_model_is_shown_line_by_line(compare):
    out, err = compare("small")[1:]
    lines = [line.split() for line in out.splitlines()]
    assert ["Upstream", "-2.021"] in lines and ["Chips", "16"] in lines and ["GLUE", "77.45"] in lines
    assert err == "FLOPs: paper, batch 128 x 512 inputs x 128 targets\n"
    assert compare("small", "--columns", "name,squad")[1].split() == ["Name", "small", "SQuAD", "80.39"]


def test_pictures_and_reports_have_the_fits(tmp_path, compare):
    picture, report = tmp_path / "fit.svg", tmp_path / "report"
    few = ("--published", "architectures/table-1", "--arch", "transformer")
    arguments = (*few, "--fit", "flops:upstream", "--plot", str(picture), "--report", str(report))
    code, out, err = compare(*arguments)
    assert code == 0 and f"wrote {picture}" in err and "Lines: quality over log10(cost)" in out
    assert "0.54" in picture.read_text()
    written = (report / "report.md").read_text()
    for part in ("| transformer | 5 | 0.543 |", "Power laws", "Better upstream", "Dominated by", "DeepNarrow"):
        assert part in written
    assert "downstream" in written  # though no --quality asks for it


def test_a_picture_of_unknown_kind_is_refused_before_anything_is_read(tmp_path, compare):
    code, out, err = compare(*TABLE_1, "--plot", str(tmp_path / "fit.bmp"))
    assert (code, out, err.count("\n")) == (2, "", 1) and ".svg" in err
