"""`scalecli export`: what is refused before anything is read."""

import subprocess
import sys

import pytest

from scalecli.cli.main import run


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "RUN"),
        (["run", "out"], 2, "--to"),
        (["run", "--to", "hugging-face"], 2, "DIRECTORY"),
        (["run", "out", "--to", "onnx"], 2, "'hugging-face', 'keras-hub'"),
        (["run", "out", "--to", "keras-hub", "--precision", "int8"], 2, "'float32', 'bfloat16'"),
        (["run", "gs://bucket/out", "--to", "hugging-face"], 3, "gs://bucket/out: what is written to must be a local"),
        (["s3://bucket/run", "out", "--to", "hugging-face"], 2, "gs://BUCKET/FOLDER is accepted"),
        (["nowhere", "out", "--to", "hugging-face"], 4, "nowhere"),
    ],
)
def test_what_cannot_be_is_one_line(capsys, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    exit_code = run(["export", *arguments])
    out, err = capsys.readouterr()
    assert (exit_code, out, err.count("\n")) == (code, "", 1)
    assert message in err
    assert not list(tmp_path.iterdir())


def test_help_needs_no_tensorflow():
    program = (
        "import sys; from scalecli.cli.main import run; code = run(['export', '--help']);"
        "sys.exit(code or 'tensorflow' in sys.modules or 'numpy' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and "hugging-face" in ran.stdout
