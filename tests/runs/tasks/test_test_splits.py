"""The test splits of GLUE and SuperGLUE, whose labels aren't published: all are predicted, none is scored."""

import json
import zipfile

from scalecli.data.tasks.registry import all_tasks
from scalecli.evaluation.submissions import FILES
from scalecli.manifest import load_manifest
from scalecli.runs.tasks.examples import remarks
from tests.data.tasks.unlabelled import write_test_splits
from tests.runs.conftest import command


def test_all_of_glue_and_superglue(material, reference, tmp_path):
    write_test_splits(tmp_path / "data")
    arguments = ["--data-dir", tmp_path / "data", "--split", "test", "--batch", 4, "--format", "json"]
    arguments += ["--run", tmp_path / "eval", "--cache-directory", material.folder / "cache"]
    ran = command("eval", reference, "--tasks", "glue,superglue", *arguments)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["tables"]["results"] == []
    files = {}
    for benchmark in FILES:
        with zipfile.ZipFile(tmp_path / "eval" / f"{benchmark}.zip") as archive:
            files[benchmark] = {name: archive.read(name).decode().splitlines() for name in archive.namelist()}
    assert set(files["glue"]) == set(FILES["glue"].values()) - {"WNLI.tsv"} and len(files["glue"]) == 10
    assert set(files["superglue"]) == set(FILES["superglue"].values()) and len(files["superglue"]) == 10
    for lines in files["glue"].values():
        assert [line.split("\t")[0] for line in lines] == ["index", "0", "1"]
    for lines in files["superglue"].values():
        assert [json.loads(line)["idx"] for line in lines][-1] in (0, 1) and len(lines) == 2
    manifest = load_manifest(tmp_path / "eval")
    assert manifest.results == {24: {}} and manifest.data.documents == 42
    assert "without a test split, and left out: dpr" in ran.err
    assert "predicted but not scored, since the test split has no labels: cola, sst2, mrpc, qqp, stsb, mnli" in ran.err
    assert "glue.zip: 10 of 11 files, without WNLI.tsv" in ran.err and "superglue.zip: 10 of 10 files;" in ran.err


def test_what_is_said_of_squads_forms():
    tasks = [all_tasks()[name] for name in ("cola", "squad", "squad_2022", "squad_v2")]
    squad, squad_2022, squad_v2 = remarks(tasks)
    assert squad.startswith("squad: T5's form of 2021") and squad_v2.startswith("squad_v2: T5's form of 2021")
    assert squad_2022.startswith("squad_2022: T5's form since April 2022")
    assert squad.endswith("scores are against answers spaced like that, as T5's are")
