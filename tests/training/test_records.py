import json

import numpy as np

from scalecli.storage.layout import METRICS
from scalecli.training.records import Records, StepMetrics


def test_only_rows_of_later_steps_and_a_line_cut_short_are_forgotten(tmp_path):
    kept = [
        '{"step": 1, "loss": 2.0}',
        '{"step": 2, "loss": 1.5}',
        '{"note": "new disk"}',
        '["step"]',
        '{"step": null}',
    ]
    later = ['{"step": 3, "loss": 1.0}', '{"step": 3, "lo']
    (tmp_path / METRICS).write_text("\n".join([*kept[:2], later[0], *kept[2:], later[1]]))
    Records(tmp_path).forget_after(2)
    assert (tmp_path / METRICS).read_text().splitlines() == kept
    Records(tmp_path).append([{"step": 3, "loss": 0.5}])
    assert json.loads((tmp_path / METRICS).read_text().splitlines()[-1]) == {"step": 3, "loss": 0.5}


def figures(steps):
    """Losses that say the step, and the reports of two layers."""
    numbers = np.arange(1, steps + 1, dtype="float32")
    wide = np.stack([np.full((2, 3), number / 100) for number in numbers]).astype("float32")
    reports = {"encoder/0/experts/overflow": wide[:, :, 0], "encoder/0/experts/expert_use": wide}
    return StepMetrics(numbers, 2 * numbers, 0 * numbers, reports)


def test_every_tenth_step_has_the_reports_of_its_layers(tmp_path):
    shown = []
    records = Records(tmp_path)
    records.show = lambda step, means: shown.append((step, means))
    records.append_steps(5, figures(20).first(18), learning_rate=0.01, speed={"steps_per_s": 2.0})
    rows = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(6, 24))
    assert [row["step"] for row in rows if "encoder/0/experts/overflow" in row] == [10, 20]
    assert rows[4] == {
        "step": 10,
        "loss": 5.0,
        "gradient_norm": 10.0,
        "encoder/0/experts/overflow": [0.05, 0.05],
        "encoder/0/experts/expert_use": [[0.05, 0.05, 0.05], [0.05, 0.05, 0.05]],
    }
    assert rows[-1] == {"step": 23, "loss": 18.0, "gradient_norm": 36.0, "steps_per_s": 2.0}
    ((step, means),) = shown
    assert (step, means["loss"], means["learning_rate"]) == (23, 9.5, 0.01)
    assert abs(means["encoder/0/experts/overflow"] - 0.095) < 1e-6


def test_no_steps_leave_no_record(tmp_path):
    Records(tmp_path).append_steps(5, figures(3).first(0), learning_rate=0.01, speed={"steps_per_s": 2.0})
    assert not list(tmp_path.iterdir())


def test_damaged_lines_are_named_and_the_good_ones_kept(tmp_path):
    good = [b'{"step": 1, "loss": 2.0}', b'{"note": "caf\xc3\xa9"}', b'{"step": 2, "loss": 1.5}']
    file = tmp_path / METRICS
    file.write_bytes(b"\n".join([good[0], b"\xff\xfe", good[1], b"\x00" * 9, b"[" * 9999, good[2], b'{"step": 3, "lo']))
    said = Records(tmp_path).forget_after(2)
    assert said == f"{file}: damaged lines left out: 3, the first of them line 2"
    assert file.read_bytes().splitlines() == good
    assert Records(tmp_path).forget_after(2) is None
