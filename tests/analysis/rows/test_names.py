from dataclasses import replace

from scalecli.analysis.rows.names import distinct_names
from scalecli.analysis.rows.sources import row_of_run
from tests.analysis.rows.synthetic import row, table_rows
from tests.analysis.runs import save_run


def names(rows, longest=None):
    return [row.name for row in distinct_names(rows, longest)]


def test_runs_of_one_name_are_told_apart_by_what_their_paths_differ_in(tmp_path):
    paths = [save_run(tmp_path / study / "tiny") for study in ("a", "b/c")]
    rows = [row_of_run(path, "forward") for path in paths]
    assert names(rows) == ["tiny (a)", "tiny (b/c)"]
    assert names([rows[0], rows[0]]) == ["tiny", "tiny"]  # one run twice
    assert [row.model for row in distinct_names(rows)] == ["tiny", "tiny"]
    inside = row_of_run(save_run(tmp_path / "a/tiny/eval/tiny"), "forward")
    assert names([rows[0], inside]) == ["tiny (tiny)", "tiny (tiny/eval/tiny)"]


def test_rows_of_several_tables_are_told_apart_by_these():
    rows = [row for row in table_rows("scale-efficiently/table-1", "scale-efficiently/table-4") if "small" in row.name]
    assert names(rows)[:3] == ["small (table-1)", "small (table-4)", "small-nl16"]


def test_long_names_are_shortened_for_people_and_still_told_apart(tmp_path):
    long = [replace(row("x" * 200 + sign + "y" * 200), table=sign) for sign in "ab"]
    assert names(long) == [each.name for each in long]
    shown = names(long, 48)
    assert shown == [f"{'x' * 24}…{'y' * 23} ({sign})" for sign in "ab"]
