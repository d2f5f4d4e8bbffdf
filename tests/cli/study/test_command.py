"""`scalecli study` from the command line: the plan, what it writes for clusters, and the status; nothing is trained."""

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from scalecli.architectures import build_spec
from scalecli.cli.main import cli, run
from scalecli.costs import Batch, flops
from scalecli.costs.hardware import Machine
from scalecli.costs.memory import Training
from scalecli.costs.roofline import estimate
from scalecli.costs.this_machine import COMPILE_SECONDS, IMPORT_SECONDS
from scalecli.data.text.span_corruption import SpanCorruption
from scalecli.shape import parse_name
from scalecli.specs.base import VOCABULARY_ROWS
from scalecli.storage.holding import FileRecord, Holder, holding
from scalecli.studies import execution
from tests.analysis.runs import save_run
from tests.studies.test_execution import until

STUDY = """
base: tiny
operators: [nl2]
data: {text: [corpus.txt], vocabulary: t5, inputs_length: 64}
steps: 300
pretrain: {batch: 32, keep-step: [100, 200], learning_rate: 0.5e-2}
machine: {chip: cpu}
"""
TASKS = "tasks: [sst2, rte]\nfinetune: {steps: 50, packed: true, data_dir: 'data sets'}\n"


@pytest.fixture
def study(tmp_path, monkeypatch, invoke):
    """Writes a study beside its corpus, and runs a subcommand on it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus.txt").write_text("some text\n")

    def study(subcommand, *options, text=STUDY):
        (tmp_path / "s.yaml").write_text(text)
        return invoke("study", subcommand, "s.yaml", *options)

    return study


def commands(study, **text):
    code, out, err = study("run", "--commands", **text)
    assert code == 0, err
    return out.splitlines()


def complete(line, **changes):
    """Leaves a complete run of a command."""
    words = shlex.split(line)
    save_run(words[words.index("--run") + 1], command_line=line, **changes)


def planned_rows(study):
    return json.loads(study("run", "--dry-run", "--format", "json")[1])["tables"]["plan"]


def test_each_command_is_one_that_a_user_could_type(study):
    first, second = commands(study)
    assert first == (
        "scalecli pretrain tiny --run runs/s/tiny --steps 300 --text corpus.txt --vocabulary t5 --inputs-length 64 "
        "--batch 32 --keep-step 100 --keep-step 200 --learning-rate 0.005 --seed 0"
    )
    for line in (first, second):
        program, subcommand, *words = shlex.split(line)
        assert program == "scalecli"
        cli.get_command(None, subcommand).make_context(subcommand, words)  # raises for an option that is not there


def test_finetuning_follows_pretraining_with_its_seed(study):
    text = STUDY + TASKS + "seeds: [0, 3]\narchitectures: [glu]\n"
    lines = commands(study, text=text)
    assert len(lines) == 4
    pretraining, finetuning = lines[2].split(" && ")
    assert pretraining.startswith("scalecli pretrain tiny --arch glu --run runs/s/glu-tiny-seed3 ")
    assert finetuning == (
        "scalecli finetune runs/s/glu-tiny-seed3 --run runs/s/glu-tiny-seed3-finetuned --tasks sst2,rte --steps 50 "
        "--packed --data-dir 'data sets' --seed 3"
    )


def test_all_runs_have_the_same_data_steps_and_options(study):
    lines = commands(study, text=STUDY + "shapes: [mini, small-nl2]\nseeds: [0, 1]\n")
    rests = {tuple(shlex.split(line)[5:-1]) for line in lines}
    assert len(lines) == 8 and len(rests) == 1


def test_the_plan_has_every_run_and_what_it_costs(study):
    code, out, err = study("run", "--dry-run", "--format", "json", text=STUDY + TASKS)
    assert code == 0, err
    rows = json.loads(out)["tables"]["plan"]
    assert [row["run"] for row in rows] == ["tiny", "tiny-finetuned", "tiny-nl2", "tiny-nl2-finetuned"]
    spec = build_spec("transformer", parse_name("tiny"))
    assert rows[0]["parameters"] == spec.parameters() and parse_name("tiny").vocabulary == VOCABULARY_ROWS
    batch = Batch(32, 64, SpanCorruption(64, 0.15, 3.0).targets_length)
    assert rows[0]["flops"] == 300 * sum(flops(spec, batch, "training").values())
    assert rows[1]["flops"] == 50 * sum(flops(spec, Batch(128, 512, 84), "training").values())
    assert all(row["hours"] > 0 and row["to_do"] == "all" for row in rows)
    assert "all: 4 runs, " in err and "to do: 4 runs, " in err and "on 1 cpu" in err
    assert not os.path.exists("runs")


def test_the_time_is_for_the_machine_that_is_asked_for(study):
    code, out, err = study("run", "--dry-run", "--format", "json", "--chip", "h100", "--chips", "8")
    assert code == 0, err
    batch = Batch(32, 64, SpanCorruption(64, 0.15, 3.0).targets_length)
    for row in json.loads(out)["tables"]["plan"]:
        spec = build_spec("transformer", parse_name(row["run"]))
        steps_per_s = estimate(spec, batch, Machine("h100", 8), Training(precision="float32")).steps_per_s
        assert 3600 * row["hours"] == pytest.approx(IMPORT_SECONDS + COMPILE_SECONDS + 300 / steps_per_s)
    assert re.fullmatch(r"to do: 2 runs, 38\.9T training FLOPs, 0:51 on 8 h100, .*", err.splitlines()[1])


def test_a_plan_goes_without_a_time_where_the_machine_can_t_have_the_batch(study):
    code, out, err = study("run", "--dry-run", "--format", "json", "--chip", "tpu-v3", "--chips", "32")
    assert code == 0
    assert [row["hours"] for row in json.loads(out)["tables"]["plan"]] == [None, None]
    assert "in a time that is not known" in err and "does not divide into 64 equal shares" in err


def test_measured_speeds_correct_the_estimates_of_the_other_runs(study):
    def seconds():
        return [3600 * row["hours"] for row in planned_rows(study)]

    start = IMPORT_SECONDS + COMPILE_SECONDS
    before = [second - start for second in seconds()]
    times = {"created": "2022-07-21T12:00:00+00:00", "finished": "2022-07-21T12:02:30+00:00"}
    complete(commands(study)[0], **times)  # 300 steps at 2.5 steps/s, and 30 seconds more
    assert seconds() == pytest.approx([IMPORT_SECONDS + 150, IMPORT_SECONDS + 30 + 120 * before[1] / before[0]])
    assert "to do: 1 runs, " in study("run", "--dry-run")[1]


def test_budgets_pay_for_whole_steps_of_each_model(study):
    text = STUDY.replace("steps: 300", "budgets: [1e12, 3e12]")
    code, out, err = study("run", "--dry-run", "--format", "json", text=text)
    assert code == 0, err
    batch = Batch(32, 64, SpanCorruption(64, 0.15, 3.0).targets_length)
    for row, (model, budget) in zip(
        json.loads(out)["tables"]["plan"],
        [("tiny", 1e12), ("tiny", 3e12), ("tiny-nl2", 1e12), ("tiny-nl2", 3e12)],
        strict=True,
    ):
        of_step = sum(flops(build_spec("transformer", parse_name(model)), batch, "training").values())
        assert row["run"] == f"{model}-{budget:.0e}".replace("e+", "e")
        assert row["flops"] == row["steps"] * of_step and budget - of_step < row["flops"] <= budget
    assert "budgets pay for whole steps: runs spend " in err
    line = commands(study, text=text)[0]
    assert f"--run runs/s/tiny-1e12 --steps {json.loads(out)['tables']['plan'][0]['steps']} " in line
    code, out, err = study("run", text=STUDY.replace("steps: 300", "budgets: [1e12, 1e9]"))
    assert (code, out) == (3, "") and not os.path.exists("runs")
    assert err.startswith("error: s.yaml: tiny-1e9: budgets: 1e9 training FLOPs pay for no step of this model, which")


def test_a_plan_without_a_machine_is_for_this_one(study, monkeypatch):
    def notes(*options, text=None):
        text = text or STUDY.replace("machine: {chip: cpu}\n", "")
        return study("run", "--dry-run", "--format", "json", *options, text=text)[2]

    monkeypatch.setattr("scalecli.cli.study.plan.this_machine", lambda: Machine("h100", 2))
    assert " on this machine (2 h100), " in notes()
    assert " on 1 cpu, " in notes(text=STUDY)
    monkeypatch.setattr("scalecli.cli.study.plan.this_machine", lambda: None)  # GPUs that are not known
    assert " on 16 tpu-v3, " in notes()
    assert " on 1 a100-80, " in notes("--chip", "a100-80", "--chips", "1")


def test_only_what_is_missing_is_left(study):
    text = STUDY + TASKS
    lines = commands(study, text=text)
    complete(lines[0].split(" && ")[0])
    assert commands(study, text=text) == [lines[0].split(" && ")[1], lines[1]]
    complete(lines[0].split(" && ")[1])
    assert commands(study, text=text) == [lines[1]]
    complete(lines[1].split(" && ")[0], status="interrupted")
    assert commands(study, text=text) == [lines[1]]
    for line in lines[1].split(" && "):
        complete(line)
    code, out, err = study("run", "--commands", text=text)
    assert (code, out, err) == (0, "", "s: nothing is missing\n")


def test_a_complete_run_of_another_command_is_checked_again(study):
    complete(commands(study)[0].replace("--batch 32", "--batch 33"))
    assert planned_rows(study)[0]["to_do"] == "check: made by another command"
    assert len(commands(study)) == 2


def test_a_slurm_array_runs_each_job_where_the_study_was_planned(study, tmp_path, monkeypatch):
    lines = commands(study, text=STUDY + TASKS)
    assert study("run", "--slurm", "jobs/array.sh", text=STUDY + TASKS)[0] == 0
    script = (tmp_path / "jobs" / "array.sh").read_text()
    assert "#SBATCH --array=0-1\n" in script and f"#SBATCH --output={tmp_path}/runs/s/s-%A_%a.log\n" in script
    fake = tmp_path / "bin" / "scalecli"
    fake.parent.mkdir()
    fake.write_text('#!/bin/bash\nprintf "%s|" scalecli "$@" >> calls; echo >> calls\n')
    fake.chmod(0o755)
    environment = {**os.environ, "PATH": f"{fake.parent}:{os.environ['PATH']}"}
    for task, code in (("1", 0), ("2", 2)):
        ran = subprocess.run(
            ["bash", str(tmp_path / "jobs" / "array.sh")], cwd="/", env={**environment, "SLURM_ARRAY_TASK_ID": task}
        )
        assert ran.returncode == code
    calls = [line.rstrip("|").split("|") for line in (tmp_path / "calls").read_text().splitlines()]
    assert calls == [shlex.split(command) for command in lines[1].split(" && ")]


def test_a_file_for_gnu_parallel_has_a_line_for_each_job(study, tmp_path):
    code, _, err = study("run", "--parallel", "jobs.txt")
    assert code == 0 and "parallel --joblog jobs.txt.log < jobs.txt" in err
    assert (tmp_path / "jobs.txt").read_text().splitlines() == commands(study)


def test_the_runs_are_started_in_order_and_failures_are_reported(study, monkeypatch):
    monkeypatch.setattr(execution, "PROGRAM", (sys.executable, "-c", "import sys; sys.exit(4 * ('tiny' in sys.argv))"))
    code, out, err = study("run", "--format", "json", text=STUDY + TASKS)
    assert code == 1
    assert [line for line in err.splitlines() if line.startswith("# ")] == [
        *("# tiny, 1 of 4", "# tiny-nl2, 2 of 4", "# tiny-nl2-finetuned, 3 of 4")
    ]
    assert err.splitlines()[-1] == (
        "error: s: 1 of 4 runs failed: tiny by exit code 4, so there is no tiny-finetuned; the same command tries again"
    )
    assert [row["status"] for row in json.loads(out)["tables"]["status"]] == ["missing"] * 4


def test_a_run_that_another_process_is_at_work_on_is_left_to_it_and_is_no_failure(study, monkeypatch, tmp_path):
    monkeypatch.setattr(execution, "PROGRAM", (sys.executable, "-c", ""))
    (tmp_path / "runs/s/tiny").mkdir(parents=True)
    with holding(FileRecord(tmp_path / "runs/s/tiny"), "tiny", lambda message: None):
        code, _, err = study("run", text=STUDY + TASKS)
    assert code == 0
    started = [line.split(",")[0] for line in err.splitlines() if line.startswith("# ")]
    assert started == ["# tiny-nl2", "# tiny-nl2-finetuned"]
    holder = f"process {os.getpid()} on {platform.node()}"
    assert err.splitlines()[-1] == f"tiny: left to {holder}, which is at work on it, so there is no tiny-finetuned"


HELD_RUN = """
import sys, time
from pathlib import Path
from scalecli.storage.holding import FileRecord, Holder, holding
from scalecli.studies.child import end_with_parent
end_with_parent()
directory = Path(sys.argv[sys.argv.index("--run") + 1])
directory.mkdir(parents=True)
with holding(FileRecord(directory), directory.name, print):
    time.sleep(600)
"""
STUDY_RUN = f"""
import sys
from scalecli.cli.main import run
from scalecli.studies import execution
execution.PROGRAM = (sys.executable, "-c", {HELD_RUN!r})
sys.exit(run(["study", "run", "s.yaml"]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_second_study_run_leaves_held_runs_alone_and_killing_the_first_ends_its_run(study, tmp_path):
    study("status", text=STUDY.replace("operators: [nl2]\n", ""))
    first = subprocess.Popen([sys.executable, "-c", STUDY_RUN], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        record = FileRecord(tmp_path / "runs/s/tiny")
        until(lambda: Holder.read(record.read()))
        held_by = Holder.read(record.read()).pid
        second = subprocess.run([sys.executable, "-c", STUDY_RUN], capture_output=True, text=True, timeout=300)
        assert second.returncode == 0
        assert second.stderr.splitlines()[-1].startswith(f"tiny: left to process {held_by} on ")
    finally:
        first.kill()
        first.wait()
    state = Path(f"/proc/{held_by}/stat")
    until(lambda: not state.exists() or ") Z " in state.read_text())


def test_text_that_is_not_there_is_found_before_anything_is_started(study, monkeypatch):
    monkeypatch.setattr(execution, "PROGRAM", ("/nowhere",))
    code, out, err = study("run", text=STUDY.replace("corpus.txt", "none.txt"))
    assert (code, out) == (4, "") and "none.txt" in err.splitlines()[-1]


def test_the_status_says_how_far_each_run_is(study):
    first, second = commands(study)
    complete(first)
    complete(second, status="running", throughput=None, results={}, best=None)
    with open("runs/s/tiny-nl2/metrics.jsonl", "w") as metrics:
        metrics.write('{"step": 100, "loss": 3.5, "steps_per_s": 20.0}\n')
    code, out, _ = study("status", "--format", "json")
    assert code == 0
    done, going = json.loads(out)["tables"]["status"]
    assert (done["status"], done["step"], done["upstream"], done["left"]) == ("completed", 300, -4.25, None)
    assert (going["status"], going["step"], going["steps"], going["loss"]) == ("running", 100, 300, 3.5)
    assert (going["left"], going["upstream"]) == ("0:10", None)
    assert study("status")[1].splitlines()[0].split() == (
        ["Run", "Status", "Step", "Of", "Loss", "Upstream", "Downstream", "Steps/s", "Left", "Written"]
    )


def test_a_live_status_ends_with_the_runs_and_fits_into_80_columns(study, monkeypatch):
    from scalecli.cli.study import tables as study_tables

    first, second = commands(study)
    complete(first)
    looks = []
    drawn = study_tables.table_text

    def draw(*arguments, width):
        looks.append(drawn(*arguments, width=80))
        complete(second)
        return looks[-1]

    monkeypatch.setattr(study_tables, "table_text", draw)
    monkeypatch.setattr(study_tables, "SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr("scalecli.cli.study.command.sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    code, out, _ = study("status")
    assert code == 0 and len(looks) == 1
    assert "missing" in looks[0] and len(looks[0].splitlines()) == 4
    header, _, *rows = out.splitlines()[-4:]
    assert "Downstream" in header and all("completed" in row for row in rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {txt: a}", "s.yaml: data: unknown option 'txt'; did you mean 'text'?"),
        ("pretrain: {batch: many}", "s.yaml: pretrain.batch: 'many' is not a valid integer."),
        ("pretrain: {batch: [1, 2]}", "s.yaml: pretrain.batch: expected one value, found [1, 2]"),
        ("pretrain: {batch: 0}", "s.yaml: batch is 0; 1 or more is accepted"),
        ("pretrain: {seed: 1}", "s.yaml: pretrain.seed: a study says this in its own keys, for all runs alike"),
        ("pretrain: {nl: 1}", "s.yaml: pretrain.nl: a study says this in its own keys, for all runs alike"),
        ("data: {steps: 1}", "s.yaml: data.steps: a study says this in its own keys, for all runs alike"),
        ("data: {batch: 1}\npretrain: {batch: 2}", "s.yaml: pretrain.batch: data says it already"),
        ("tasks: [sst3]", "s.yaml: task 'sst3': none of that name"),
        ("tasks: [sst2]\nfinetune: {input: a}", "s.yaml: finetune.input: a study says this in its own keys"),
        ("tasks: [sst2]\nfinetune: {step_s: 1}", "s.yaml: finetune: unknown option 'step_s'; did you mean 'steps'?"),
        ("machine: {chip: tpu-v33}", "s.yaml: no chip 'tpu-v33'"),
        ("data: {text: [a], dataset: c4/en}", "s.yaml: --text and --dataset are two sources; give one"),
    ],
)
@pytest.mark.parametrize("subcommand", ["run", "status"])
def test_a_bad_study_is_one_line_and_starts_nothing(study, subcommand, text, message):
    code, out, err = study(subcommand, text=f"base: tiny\nsteps: 5\n{text}\n")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert err.startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "s.yaml", "--commands", "--dry-run"], 2, "--dry-run, --commands, --slurm and --parallel: give one"),
        (["run", "scaling-mikro", "--dry-run"], 3, "did you mean 'scaling-micro'?"),
        (["run", "s.yaml", "--directory", "gs://bucket/runs"], 3, "must be a local directory"),
        (["run", "none.yaml"], 4, "none.yaml: no such file"),
        (["stats", "s.yaml"], 2, "No such command 'stats'"),
    ],
)
def test_what_is_asked_for_wrongly_is_one_line(study, capsys, arguments, code, message):
    study("run", "--commands")
    assert run(["study", *arguments]) == code
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_a_config_file_reaches_the_subcommands(study, capsys, tmp_path):
    study("run", "--commands")
    config = tmp_path / "config.yaml"
    config.write_text("study: {run: {directory: elsewhere, commands: true}}\n")
    assert run(["--config", str(config), "study", "run", "s.yaml"]) == 0
    assert "--run elsewhere/tiny " in capsys.readouterr().out
    config.write_text("study: {ran: {directory: elsewhere}}\n")
    assert run(["--config", str(config), "study", "run", "s.yaml"]) == 3
    assert "study: unknown subcommand 'ran'; did you mean 'run'?" in capsys.readouterr().err


def test_no_plan_and_no_status_imports_tensorflow(study, tmp_path):
    study("run", "--commands", text=STUDY + TASKS)
    program = (
        "import sys; from scalecli.cli.main import run\n"
        "assert run(['study', 'run', 's.yaml', '--dry-run']) == 0 and run(['study', 'status', 's.yaml']) == 0\n"
        "assert not {'tensorflow', 'keras', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
