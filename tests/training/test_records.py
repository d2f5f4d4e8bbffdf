import json

from scalecli.training.records import METRICS, Records


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
