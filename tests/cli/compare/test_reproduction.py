import csv
import io
import re
from functools import partial

import pytest

from tests.documents import models


@pytest.fixture
def report(compare):
    return partial(compare, "--reproduction")


def test_the_whole_report(report):
    code, out, err = report()
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len([line for line in lines if re.match(r"(scale-efficiently|architectures)/table-\d ", line)]) == 96
    (base,) = (line.split() for line in lines if line.split()[:2] == ["architectures/table-1", "glu-base"])
    assert base[2:] == ["248M", "248M", "-0.2%", "11.4T", "11.4T", "-0.3%", "match"]
    assert any(line.startswith("note: table-3/nl12-xxl: parameters, otherwise 5.67B: ") for line in lines)
    assert any(line.startswith("note: architectures/table-1/mos-tiny, ") and "not in use" in line for line in lines)
    assert lines[-3:] == [
        "parameters: 78 of 96 agree (70 within 2%, 8 within the rounding of the print), 18 contradiction",
        "flops: 58 of 72 agree (57 within 2%, 1 within the rounding of the print), 12 contradiction, 2 convention",
        "rows: 69 of 96 agree (60 within 2%, 9 within the rounding of the print), 25 contradiction, 2 convention",
    ]


def test_rows_are_chosen_and_programs_get_numbers_and_reasons(report):
    code, out, err = report("--published", "table-4", "--published", "switch-xl", "--format", "json")
    rows = {row["name"]: row for row in models(out)}
    assert code == 0 and len(rows) == 15
    assert rows["xxl"]["flops_error"] == pytest.approx(0.363, abs=0.001)
    assert (rows["xxl"]["flops_verdict"], rows["xxl"]["parameters_verdict"]) == ("contradiction", "match")
    assert "500T" not in rows["xxl"]["flops_reason"] and rows["xxl"]["flops_evidence"]
    assert rows["small"]["flops_reason"] is None and rows["small"]["conventions"] is None
    assert "64 sequences" in rows["xl"]["conventions"]
    assert err.splitlines()[-1].startswith("rows: 12 of 15 agree ")
    out = report("--arch", "albert", "--arch", "vit", "--format", "csv")[1]
    assert [row["name"] for row in csv.DictReader(io.StringIO(out))] == [
        *("vit-s", "vit-b", "vit-s-nl24", "vit-s-nl28", "albert-small", "albert-base", "albert-large")
    ]
    assert report("--arch", "albert", "--format", "markdown")[1].splitlines()[2] == (
        "| architectures/table-1 | albert-small | 15M | 15.2M | +1.3% | 3.57T | 3.53T | -1.3% | match |"
    )


def test_rows_without_such_figures(report):
    code, out, err = report("--published", "table-6", "--format", "json")
    assert (code, models(out)) == (0, [])
    assert err == "warning: none of these rows prints parameters or FLOPs\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["small"], 2, "--reproduction goes with --published, --arch and --format, not with MODELS"),
        (["--sort", "flops"], 2, "not with --sort"),
        (["--cost", "flops"], 2, "not with --cost"),
        (["--arch", "albret"], 2, "--arch albret: no such architecture; did you mean 'albert'?"),
        (["--published", "table-9"], 4, "no published paper, table or model 'table-9'"),
    ],
)
def test_what_the_report_cannot_take(report, arguments, code, message):
    got, out, err = report(*arguments)
    assert (got, out) == (code, "") and message in err and err.count("\n") == 1
