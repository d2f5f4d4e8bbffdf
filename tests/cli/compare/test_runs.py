import pytest

from tests.analysis.runs import child_of, save_run
from tests.documents import models


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A pretrained run, one that was finetuned from it, and its evaluation, under runs/."""
    monkeypatch.chdir(tmp_path)
    save_run("runs/first", status="interrupted")
    save_run("runs/tuned", **child_of("runs/first", "../first"))
    save_run("runs/tuned/eval/sst2", **child_of("runs/tuned", "../..", kind="eval"))
    return tmp_path / "runs"


def test_the_runs_below_a_directory(runs, compare):
    code, out, err = compare("--list", "runs", "--format", "json")
    assert (code, err) == (0, "")
    rows = models(out)
    assert [(row["path"], row["kind"], row["status"]) for row in rows] == [
        ("runs/first", "pretrain", "interrupted"),
        ("runs/tuned", "finetune", "completed"),
        ("runs/tuned/eval/sst2", "eval", "completed"),
    ]
    assert [(row["upstream"], row["downstream"]) for row in rows] == [(-4.25, None), (-4.25, 60.0), (-4.25, 60.0)]
    assert compare("--list", "runs/tuned")[1].splitlines()[0].split() == [
        *("Path", "Kind", "Status", "Architecture", "Parameters", "Steps", "Upstream", "Downstream", "Created")
    ]


def test_what_is_damaged_newer_or_no_manifest_is_reported_and_left_out(runs, compare):
    manifest = (runs / "first" / "run.yaml").read_text()
    for name, content in {
        "broken": b"\xff\xfe\x00",
        "cut": manifest[: len(manifest) // 2].encode(),
        "newer": manifest.replace("schema: 1", "schema: 2").encode(),
        "other": b"on: push\n",
        "huge": manifest.replace("steps: 300", f"steps: {10**40}").encode(),
    }.items():
        (runs / name).mkdir()
        (runs / name / "run.yaml").write_bytes(content)
    (runs / "directory" / "run.yaml").mkdir(parents=True)
    code, out, err = compare("--list", "runs", "--format", "json")
    assert (code, len(models(out))) == (0, 3)
    lines = err.splitlines()
    assert [line.split(":")[2].strip() for line in lines] == [
        f"runs/{name}/run.yaml" for name in ("broken", "cut", "huge", "newer", "other")
    ]
    assert "schema 2 was written by a newer scalecli; this one reads up to schema 1" in lines[3]
    code, out, err = compare(
        "runs/first", "runs/broken", "runs/cut", "runs/newer", "runs/directory", "--format", "json"
    )
    assert (code, [row["name"] for row in models(out)]) == (0, ["first"])
    assert [line.split(":")[0] for line in err.splitlines()] == ["warning"] * 4 + ["FLOPs"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--list", "nothing"], 4, "nothing: no such directory"),
        (["--list", "empty"], 4, "empty: no run in this directory or below it"),
        (["--list", "damaged"], 3, "damaged/run.yaml: missing key"),
        (["--list", "runs", "small"], 2, "--list goes with --format, not with MODELS"),
        (["--list", "runs", "--report", "x"], 2, "--list goes with --format, not with --report"),
    ],
)
def test_what_cannot_be_listed_is_one_line(runs, compare, arguments, code, message):
    (runs.parent / "empty").mkdir()
    (runs.parent / "damaged").mkdir()
    (runs.parent / "damaged" / "run.yaml").write_text("schema: 1\n")
    got, out, err = compare(*arguments)
    assert (got, out, err.count("\n")) == (code, "", 1)
    assert err.startswith(f"error: {message}")
