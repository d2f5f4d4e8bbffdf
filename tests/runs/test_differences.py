import dataclasses

from scalecli.manifest import Best, Origin, OriginFile, Parent
from scalecli.runs.directory import differences
from scalecli.times import utc_now
from tests.manifests import example_manifest


def test_differences_are_those_that_decide_the_numbers():
    run = example_manifest()
    data = dataclasses.replace(run.data, inputs_length=512)
    now = example_manifest(
        optimizer={"name": "adafactor", "learning_rate": 0.001, "clip": 1.0},
        schedule={"name": "inverse_square_root"},
        shape={**run.shape, "d_model": 512},
        data=data,
        objective=None,
        seed=1,
    )
    assert differences(run, now) == [
        "shape.d_model: 256 in the run, 512 now",
        "data.inputs_length: 128 in the run, 512 now",
        "objective.noise_density: 0.15 in the run, nothing now",
        "objective.mean_span_length: 3.0 in the run, nothing now",
        "optimizer.learning_rate: 0.01 in the run, 0.001 now",
        "schedule.warmup: 100 in the run, nothing now",
        "seed: 0 in the run, 1 now",
        "optimizer.clip: nothing in the run, 1.0 now",
    ]


def test_the_lengths_of_rows_of_tasks_are_an_outcome():
    run = example_manifest()
    of_task = dataclasses.replace(run.data, kind="task", task={"name": "sst2", "lengths": {"inputs": 512}})
    shorter = dataclasses.replace(of_task, inputs_length=64, targets_length=8)
    other = dataclasses.replace(shorter, task={"name": "sst2", "lengths": {"inputs": 256}})
    run, now, cut = (example_manifest(data=data) for data in (of_task, shorter, other))
    assert differences(run, now) == []
    assert differences(run, cut) == ["data.task.lengths.inputs: 512 in the run, 256 now"]


def test_length_outcome_place_and_machine_are_no_differences():
    run = example_manifest(parent=Parent(path="a/run.yaml", sha256="cd" * 32, step=300))
    task = {"name": "sst2", "train": ["/elsewhere/train.tsv"], "validation": ["/elsewhere/dev.tsv"]}
    moved = {**task, "train": ["/here/train.tsv"], "validation": ["/here/dev.tsv"]}
    vocabulary = dataclasses.replace(run.data.vocabulary, name="/here/spiece.model")
    run = dataclasses.replace(run, data=dataclasses.replace(run.data, task=task, vocabulary=vocabulary))
    vocabulary = dataclasses.replace(vocabulary, name="/elsewhere/spiece.model", file="/elsewhere/vocabulary.model")
    now = example_manifest(
        name="again",
        status="running",
        created=utc_now(),
        finished=None,
        steps=900,
        command_line="",
        results={1: {}},
        best=Best(step=1, rule="last"),
        throughput=None,
        parent=Parent(path="b/run.yaml", sha256="cd" * 32, step=300),
        data=dataclasses.replace(run.data, name="moved.txt", task=moved, vocabulary=vocabulary),
    )
    assert differences(run, now) == []
    other = dataclasses.replace(now, parent=Parent(path="a/run.yaml", sha256="ef" * 32, step=200))
    assert differences(run, other) == [
        f"parent.sha256: {'cd' * 32} in the run, {'ef' * 32} now",
        "parent.step: 300 in the run, 200 now",
    ]


def test_a_vocabulary_to_be_trained_is_compared_by_how_it_is_made():
    """Its file is the run's own, so that its hash could not differ."""
    run = example_manifest()
    vocabulary = dataclasses.replace(run.data.vocabulary, name="train:4000")
    now = dataclasses.replace(run, data=dataclasses.replace(run.data, vocabulary=vocabulary))
    assert differences(run, now) == ["data.vocabulary.name: train:8000 in the run, train:4000 now"]
    vocabulary = dataclasses.replace(vocabulary, name="kept.model", sha256="ef" * 32)
    now = dataclasses.replace(run, data=dataclasses.replace(run.data, vocabulary=vocabulary))
    assert differences(run, now) == [f"data.vocabulary.sha256: {'ab' * 32} in the run, {'ef' * 32} now"]


def test_an_import_is_its_files_wherever_they_lie():
    files = {"a.index": OriginFile(bytes=3, sha256="ab" * 32)}
    origin = Origin(format="mesh-tensorflow", source="gs://bucket/a", precision="bfloat16", files=files)
    run = example_manifest(kind="import", origin=origin)
    moved = dataclasses.replace(origin, source="/here/a", files={"a.index": OriginFile(bytes=3, sha256="cd" * 32)})
    assert differences(run, dataclasses.replace(run, origin=moved)) == []  # data.identity has the hashes
    other = dataclasses.replace(run, origin=dataclasses.replace(origin, format="t5x"), start_step=3)
    assert differences(run, other) == [
        "origin.format: mesh-tensorflow in the run, t5x now",
        "start_step: 0 in the run, 3 now",
    ]
