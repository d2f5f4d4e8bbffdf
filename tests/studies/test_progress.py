"""How far a run is, from what its directory holds, whatever state that is in."""

import json
import os

import pytest

from scalecli.studies.progress import RunStatus, read_progress
from tests.analysis.runs import child_of, save_run


def write_metrics(directory, *rows, end=""):
    (directory / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows) + end)


def test_a_directory_without_a_manifest_is_a_missing_run(tmp_path):
    assert read_progress(tmp_path / "none") == RunStatus(status="missing")
    write_metrics(tmp_path, {"step": 3, "loss": 2.0})
    assert read_progress(tmp_path) == RunStatus(status="missing")


def test_a_complete_run_has_its_results(tmp_path):
    save_run(tmp_path / "run")
    write_metrics(tmp_path / "run", {"step": 299, "loss": 4.5}, {"step": 300, "loss": 4.25, "steps_per_s": 9.0})
    status = read_progress(tmp_path / "run")
    assert (status.status, status.step, status.loss, status.upstream, status.downstream) == (
        "completed",
        300,
        4.25,
        -4.25,
        None,
    )
    assert status.steps_per_s == 2.5  # the manifest's, of the whole run
    assert status.command_line == "scalecli pretrain tiny --text 'a b.txt'"


def test_a_run_is_done_only_by_its_own_command(tmp_path):
    save_run(tmp_path, command_line="scalecli pretrain tiny")
    assert read_progress(tmp_path).is_done("scalecli pretrain tiny")
    assert not read_progress(tmp_path).is_done("scalecli pretrain tiny --batch 7")
    save_run(tmp_path, command_line="scalecli pretrain tiny", status="failed")
    assert not read_progress(tmp_path).is_done("scalecli pretrain tiny")


def test_a_finetuned_run_has_its_scores_and_the_upstream_figure_of_its_parent(tmp_path):
    save_run(tmp_path / "a")
    save_run(tmp_path / "b", **{**child_of(tmp_path / "a", "../a"), "best": None})
    status = read_progress(tmp_path / "b")
    assert (status.upstream, status.downstream) == (-4.25, 60.0)


@pytest.mark.parametrize("end", ["", '{"step": 102, "lo', '{"step": 110, "validation/x": 1}\n', "\xff\n"])
def test_a_run_under_way_is_where_its_last_whole_step_is(tmp_path, end):
    save_run(tmp_path, status="running", throughput=None, results={}, best=None)
    write_metrics(tmp_path, {"step": 100, "loss": 5.0}, {"step": 101, "loss": 4.0, "steps_per_s": 2.0}, end=end)
    os.utime(tmp_path / "run.yaml", (1000, 1000))
    os.utime(tmp_path / "metrics.jsonl", (2000, 2000))
    status = read_progress(tmp_path)
    assert (status.status, status.step, status.loss, status.steps_per_s, status.updated) == (
        "running",
        101,
        4.0,
        2.0,
        2000,
    )


def test_a_run_that_has_recorded_nothing_yet_is_at_its_start(tmp_path):
    save_run(tmp_path, status="running", throughput=None, results={}, best=None)
    assert (read_progress(tmp_path).step, read_progress(tmp_path).loss) == (0, None)


def test_a_damaged_manifest_is_said_to_be(tmp_path):
    (tmp_path / "run.yaml").write_text("schema: 99\n")
    assert read_progress(tmp_path) == RunStatus(status="unreadable")
