"""The vocabulary that a pretraining run trains on its own text."""

import hashlib
import json
import shutil

import pytest

from scalecli.data.text import vocabulary as vocabulary_module
from scalecli.data.text.pieces import UNKNOWN, USER_DEFINED
from scalecli.data.text.vocabulary import load_vocabulary
from scalecli.data.text.vocabulary_training import train_vocabulary
from scalecli.interchange.hugging_face import t5 as hugging_face
from scalecli.manifest import load_manifest
from scalecli.runs import importing
from tests.interchange.plain import exported as random_model
from tests.runs.conftest import PIECES, command, documents


def test_the_vocabulary_of_an_attempt_that_failed_is_not_taken_up(material, tmp_path, no_training):
    directory = tmp_path / "run"
    directory.mkdir()
    left = train_vocabulary(["few words in one line"] * 60, 17, directory / "vocabulary.model")
    ran = command(*material.pretraining(directory, vocabulary=f"train:{PIECES}", steps=1))
    assert ran.code == 0, ran.err
    assert load_manifest(directory).data.vocabulary.pieces == PIECES
    assert hashlib.sha256((directory / "vocabulary.model").read_bytes()).hexdigest() != left.sha256


def test_a_vocabulary_is_trained_once_for_a_text(material, tmp_path, no_training):
    def trained(name, pieces, **options):
        options = {"vocabulary": f"train:{pieces}", "cache_directory": tmp_path / "cache", "steps": 1, **options}
        ran = command(*material.pretraining(tmp_path / name, **options))
        assert ran.code == 0, ran.err
        return "training a vocabulary" in ran.err, load_manifest(tmp_path / name).data.vocabulary.sha256

    other = tmp_path / "other.txt"
    other.write_text("".join(f"{document}\n" for document in documents(300, seed=1)))
    first, sha256 = trained("first", PIECES)
    assert first and trained("second", PIECES) == (False, sha256)
    assert trained("fewer", 150)[0] and trained("other", PIECES, text=other)[0]


def test_unknown_tokens_are_counted_and_said(material, tmp_path, no_training):
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{document} ¿\n" for document in documents(400)))

    def ran(name, **options):
        ran = command(*material.pretraining(tmp_path / name, text=text, steps=1, **options))
        assert ran.code == 0, ran.err
        return ran, load_manifest(tmp_path / name)

    known = load_vocabulary(str(material.vocabulary), cache_directory=tmp_path)
    ids = [token for n, document in enumerate(documents(400)) if n % 50 for token in known.encode(f"{document} ¿")]
    share = ids.count(UNKNOWN) / len(ids)
    assert share > 0.005
    first, manifest = ran("other")
    assert manifest.data.unknown == pytest.approx(share, rel=0.05)
    (warning,) = manifest.warnings
    assert f"{manifest.data.unknown:.2%} of the tokens are unknown" in warning and warning in first.err
    second, manifest = ran("own", vocabulary="train:150")
    assert manifest.data.unknown == 0 and not manifest.warnings and "are unknown" not in second.err


def test_runs_of_before_go_on_with_their_vocabulary(material, tmp_path, no_training):
    """Their manifests do not count unknown tokens, and their vocabularies left rare characters out."""
    assert command(*material.pretraining(tmp_path / "run", vocabulary=f"train:{PIECES}", steps=1)).code == 0
    manifest = tmp_path / "run" / "run.yaml"
    lines = [line for line in manifest.read_text().splitlines(keepends=True) if not line.startswith("  unknown:")]
    manifest.write_text("".join(lines))
    assert load_manifest(tmp_path / "run").data.unknown is None
    before = (tmp_path / "run" / "vocabulary.model").read_bytes()
    ran = command(*material.pretraining(tmp_path / "run", vocabulary=f"train:{PIECES}", steps=2))
    assert ran.code == 0, ran.err
    assert (tmp_path / "run" / "vocabulary.model").read_bytes() == before


def exported(reference, folder, **config):
    """The folder that an export of the reference run makes, with another configuration."""
    assert command("export", reference, "--to", "hugging-face", folder).code == 0
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    return folder


def test_a_folder_with_tokenizer_json_alone_has_its_own_vocabulary(reference, tmp_path):
    folder = exported(reference, tmp_path / "hf")
    (folder / "spiece.model").unlink()
    ran = command("import", folder, "--run", tmp_path / "run", "--cache-directory", tmp_path / "cache")
    assert ran.code == 0, ran.err
    entry = load_manifest(tmp_path / "run").data.vocabulary
    assert (entry.name, entry.pieces) == ("tokenizer.json", PIECES)
    first, second = (
        load_vocabulary(str(run / "vocabulary.model"), cache_directory=tmp_path)
        for run in (reference, tmp_path / "run")
    )
    for document in documents(50):
        assert first.encode(f"{document}, <extra_id_0>.") == second.encode(f"{document}, <extra_id_0>.")


def test_t5s_vocabulary_is_not_attached_to_another_model(reference, tmp_path):
    folder = exported(reference, tmp_path / "hf")
    for name in ("spiece.model", "tokenizer.json"):
        (folder / name).unlink()
    failed = command("import", folder, "--run", tmp_path / "run").failed(4)
    assert "no vocabulary lies beside the checkpoint, and its embedding has 384 rows" in failed
    assert "--vocabulary FILE" in failed and not (tmp_path / "run").exists()


def test_t5s_vocabulary_is_said_to_be_taken(material, reference, tmp_path, monkeypatch):
    folder = exported(reference, tmp_path / "hf")
    for name in ("spiece.model", "tokenizer.json"):
        (folder / name).unlink()
    model = material.vocabulary.read_bytes()
    sha256 = hashlib.sha256(model).hexdigest()
    monkeypatch.setattr(vocabulary_module, "T5_SHA256", sha256)
    monkeypatch.setattr(importing, "T5_PIECES", PIECES)
    (tmp_path / "cache" / "vocabularies").mkdir(parents=True)
    (tmp_path / "cache" / "vocabularies" / f"{sha256}.model").write_bytes(model)
    ran = command("import", folder, "--run", tmp_path / "run", "--cache-directory", tmp_path / "cache")
    assert ran.code == 0, ran.err
    manifest = load_manifest(tmp_path / "run")
    assert manifest.data.vocabulary.name == "t5"
    assert "no vocabulary lies beside the checkpoint; it is taken to be T5's" in manifest.warnings


def own_sentinels(material, folder):
    """The small vocabulary with a hundred sentinels of its own, as mT5's has them, 12 rows short of its embedding."""
    model = load_vocabulary(str(material.vocabulary), cache_directory=folder).model()
    for number in reversed(range(100)):
        model.pieces.add(piece=f"▁<extra_id_{number}>", score=0.0, type=USER_DEFINED)
    file = folder / "own.model"
    file.write_bytes(model.SerializeToString())
    return file


def test_a_vocabulary_with_sentinels_from_scratch(material, tmp_path, no_training):
    file = own_sentinels(material, tmp_path)
    arguments = material.pretraining(tmp_path / "run", vocabulary=file, steps=1)
    shown = command(*arguments, "--show-examples", 1)
    assert shown.code == 0 and "<extra_id_0>" in shown.out and "<extra_id_1>" in shown.out
    ran = command(*arguments)
    assert ran.code == 0, ran.err
    manifest = load_manifest(tmp_path / "run")
    assert manifest.data.vocabulary.pieces == PIECES + 100 and manifest.shape["vocabulary"] == 384
    ran = command("export", tmp_path / "run", "--to", "hugging-face", tmp_path / "hf")
    assert ran.code == 0, ran.err
    again = command("import", tmp_path / "hf", "--run", tmp_path / "again")
    assert again.code == 0, again.err
    assert (tmp_path / "again" / "vocabulary.model").read_bytes() == file.read_bytes()


def test_an_mt5_is_imported(material, tmp_path):
    """Its vocabulary has 300 ids for 304 rows, as mT5's 250,100 for 250,112: no second hundred would fit."""
    folder = tmp_path / "hf"
    folder.mkdir()
    hugging_face.write(folder, random_model("glu", False, rows=304))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "mt5"}))
    shutil.copyfile(own_sentinels(material, tmp_path), folder / "spiece.model")
    ran = command("import", folder, "--run", tmp_path / "run")
    assert ran.code == 0, ran.err
    manifest = load_manifest(tmp_path / "run")
    assert (manifest.architecture, manifest.shape["vocabulary"], manifest.data.vocabulary.pieces) == ("glu", 304, 300)
    (folder / "spiece.model").unlink()
    assert "304 rows" in command("import", folder, "--run", tmp_path / "other").failed(4)
