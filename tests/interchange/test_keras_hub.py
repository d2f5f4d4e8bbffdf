"""Presets of T5Backbone against the library itself, both ways, and what is refused."""

import json
import shutil
import warnings

import h5py
import numpy as np
import pytest

from scalecli.architectures import build_spec
from scalecli.errors import ConfigurationError, MissingError
from scalecli.interchange import keras_hub
from scalecli.interchange.weight_map import Exported
from tests.data.conftest import vocabulary  # noqa: F401 (a fixture)
from tests.interchange.plain import FORMS, batch, exported, logits_and_greedy, model_of, shape_of

pytestmark = pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
forms = pytest.mark.parametrize(("architecture", "tied"), FORMS)
DEPTH = {"encoder_layers": 2, "decoder_layers": 2}


@pytest.fixture(scope="module")
def library():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras_hub as library

        yield library


def read(folder, **options):
    return keras_hub.read(folder, **{"step": None, "optimizer": False, **options})


def written(folder, model):
    folder.mkdir()
    keras_hub.write(folder, model)
    return folder


def theirs(data):
    """A batch as the backbone takes it."""
    shifted = np.pad(data["targets"], ((0, 0), (1, 0)))[:, :-1]
    return {
        "encoder_token_ids": data["inputs"],
        "encoder_padding_mask": (data["inputs"] > 0).astype("int32"),
        "decoder_token_ids": shifted,
        "decoder_padding_mask": (data["targets"] > 0).astype("int32"),
    }


def assert_same(spec, weights, backbone):
    """The encoder's outputs, and logits made of the decoder's as T5 makes them."""
    data = batch()
    model = model_of(spec, weights)
    outputs = backbone(theirs(data))
    memory, _ = model.start_decoding(data["inputs"], 1)
    inputs, targets = data["inputs"] > 0, data["targets"] > 0
    encoded = np.asarray(outputs["encoder_sequence_output"])
    np.testing.assert_allclose(np.asarray(memory.context.memory)[inputs], encoded[inputs], rtol=0, atol=1e-4)
    decoded = np.asarray(outputs["decoder_sequence_output"])
    tied = backbone.tie_embedding_weights
    scaled = decoded * (spec.decoder.final_norm.d_model**-0.5 if tied else 1)
    logits = np.asarray(backbone.token_embedding(scaled, reverse=True))
    assert logits[targets].std() > 0.3
    np.testing.assert_allclose(np.asarray(model(data))[targets], logits[targets], rtol=0, atol=1e-4)


@forms
def test_what_is_written_is_the_same_model_there(tmp_path, library, architecture, tied):
    model = exported(architecture, tied, **DEPTH)
    folder = written(tmp_path / "preset", model)
    backbone = library.models.T5Backbone.from_preset(str(folder))
    assert backbone.dropout == 0.1
    assert_same(model.spec, model.weights, backbone)
    imported = read(folder)  # and back, bit for bit
    assert (imported.architecture, imported.shape, imported.precision) == (architecture, model.shape, "float32")
    for path, weight in model.weights.items():
        np.testing.assert_array_equal(imported.weights[path], weight)


def test_it_generates_the_same_tokens_there(tmp_path, library, vocabulary):  # noqa: F811
    if not hasattr(library.models, "T5Seq2SeqLM"):
        pytest.skip("this version has the backbone alone")
    model = exported("glu", False, vocabulary=vocabulary, encoder_layers=1, decoder_layers=1)
    folder = written(tmp_path / "preset", model)
    language_model = library.models.T5Seq2SeqLM.from_preset(str(folder))
    text = "the span of noise"
    assert [int(token) for token in language_model.preprocessor.tokenizer(text)] == vocabulary.encode(text)
    language_model.preprocessor = None
    language_model.compile(sampler="greedy")
    data = batch()
    given = theirs({**data, "targets": np.zeros((3, 11), "int32")})
    given["decoder_padding_mask"][:, 0] = 1
    output = language_model.generate({name: np.asarray(each) for name, each in given.items()}, stop_token_ids=None)
    _, tokens = logits_and_greedy(model.spec, model.weights, data)
    assert len(np.unique(tokens)) > 3
    for ours, their in zip(tokens, np.asarray(output["decoder_token_ids"])[:, 1:], strict=True):
        length = np.flatnonzero(ours == 1)[0] + 1 if 1 in ours else len(ours)
        np.testing.assert_array_equal(ours[:length], their[:length])


@pytest.mark.parametrize(
    ("architecture", "tied", "dtype"), [("transformer", True, "bfloat16"), ("glu", False, "float32")]
)
def test_what_the_library_has_written_is_the_same_model_here(tmp_path, library, architecture, tied, dtype):
    shape = shape_of(architecture, tied, **DEPTH)
    gated = architecture == "glu"
    options = {
        **{name: getattr(shape, ours) for ours, name in keras_hub._SIZES.items()},
        "activation": library.src.utils.keras_utils.gelu_approximate if gated else "relu",
        **{"use_gated_activation": gated, "tie_embedding_weights": tied},
    }
    backbone = library.models.T5Backbone(**options, dtype=dtype)
    random = np.random.default_rng(0)
    for variable in backbone.weights:
        variable.assign(variable + 0.1 * random.normal(size=variable.shape).astype("float32"))
    backbone.save_to_preset(str(tmp_path / "whole"))
    backbone.save_to_preset(str(tmp_path / "shards"), max_shard_size=5e-5)
    whole, shards = read(tmp_path / "whole"), read(tmp_path / "shards")
    assert (whole.architecture, whole.shape, whole.precision) == (architecture, shape, dtype)
    assert [file.name for file in whole.files] == ["config.json", "model.weights.h5"]
    assert len(shards.files) > 3 and shards.files[1].name == "model.weights.json"
    for path, weight in whole.weights.items():
        np.testing.assert_array_equal(shards.weights[path], weight)
    if dtype == "float32":
        assert_same(build_spec(architecture, shape), whole.weights, backbone)


def test_a_round_trip_of_bfloat16_is_bit_for_bit(tmp_path, vocabulary):  # noqa: F811
    model = exported("transformer", True, "bfloat16", vocabulary, **DEPTH)
    imported = read(written(tmp_path / "first", model))
    assert imported.precision == "bfloat16"
    assert imported.vocabulary.read_bytes() == vocabulary.path.read_bytes()
    assert imported.files[-1].name == "assets/tokenizer/vocabulary.spm"
    again = Exported(imported.shape, model.spec, imported.weights, 0.1, "bfloat16", None)
    second = read(written(tmp_path / "second", again))
    for path, weight in imported.weights.items():
        np.testing.assert_array_equal(second.weights[path], weight)
        np.testing.assert_allclose(weight, model.weights[path], rtol=2**-8)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    folder = written(tmp_path_factory.mktemp("valid") / "preset", exported("transformer", True, **DEPTH))
    assert read(folder).shape == shape_of("transformer", True, **DEPTH)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "gelu"}, "activation is 'gelu' without a gate; scalecli has 'relu' without"),
        ({"use_gated_activation": True}, "activation is 'relu' with a gate"),
        ({"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon is 1e-05"),
        ({"tie_embedding_weights": None}, "tie_embedding_weights is None"),
        ({"tie_embedding_weights": False}, "lacks 'layers/reversible_embedding/vars/1'"),
        ({"hidden_dim": None}, "lacks hidden_dim"),
        ({"hidden_dim": 64}, "the model's is"),
        ({"num_layers": 1}, "lacks 'layers/t5_transformer_layer_1/self_attention/vars/0'"),
        ({"num_layers": 2**24}, "fewer weights than its configuration has layers"),
    ],
)
def test_configurations_of_other_models_are_refused(valid, tmp_path, change, message):
    folder = shutil.copytree(valid, tmp_path / "preset")
    values = json.loads((folder / "config.json").read_text())
    values["config"].update(change)
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises((ConfigurationError, MissingError), match=message):
        read(folder)


def test_another_library_class_is_refused(valid, tmp_path):
    folder = shutil.copytree(valid, tmp_path / "preset")
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "registered_name": "keras_hub>BertBackbone"}))
    with pytest.raises(ConfigurationError, match="'keras_hub>T5Backbone' is accepted"):
        read(folder)


def test_damaged_and_hostile_files_are_refused(valid, tmp_path):
    whole = (valid / "model.weights.h5").read_bytes()
    folder = shutil.copytree(valid, tmp_path / "preset")
    for content in (b"", whole[:3000], whole[: len(whole) // 2]):
        (folder / "model.weights.h5").write_bytes(content)
        with pytest.raises(MissingError, match=r"model\.weights\.h5: not an HDF5 file, or a damaged one"):
            read(folder)


def _external(file):
    file.create_dataset("layers/x", (8,), "f4", external=[("/etc/passwd", 0, 32)])


def _never_written(file):
    file.create_dataset("layers/x", (2**31,), "f4")  # eight gigabytes by its word


def _packed(file):
    file.create_dataset("layers/x", data=np.zeros(2**16, "f4"), compression="gzip")


def _texts(file):
    file.create_dataset("layers/x", data=["no", "weight"], dtype=h5py.string_dtype())


@pytest.mark.parametrize("addition", [_external, _never_written, _packed, _texts])
def test_what_is_no_plain_array_is_refused(valid, tmp_path, addition):
    folder = shutil.copytree(valid, tmp_path / "preset")
    with h5py.File(folder / "model.weights.h5", "a") as file:
        addition(file)
    with pytest.raises(MissingError, match=r"'layers/x' is object, no weight|'layers/x' are not in this file"):
        read(folder)


def test_a_link_out_of_the_file_is_not_followed(valid, tmp_path):
    folder = shutil.copytree(valid, tmp_path / "preset")
    name = "layers/t5_layer_norm/vars/0"
    with h5py.File(folder / "model.weights.h5", "a") as file:
        del file[name]
        file[name] = h5py.ExternalLink(str(valid / "model.weights.h5"), name)
    with pytest.raises(MissingError, match=f"lacks '{name}'"):
        read(folder)


@pytest.mark.parametrize("name", ["../preset/model.weights.h5", "/etc/passwd", 3, "nowhere.weights.h5"])
def test_an_index_names_plain_files_beside_it(valid, tmp_path, name):
    folder = shutil.copytree(valid, tmp_path / "preset")
    (folder / "model.weights.h5").rename(folder / "model_00000.weights.h5")
    index = {"weight_map": {"/layers/x/vars": "model_00000.weights.h5", "/layers/y/vars": [name]}}
    (folder / "model.weights.json").write_text(json.dumps(index))
    with pytest.raises(MissingError, match=r"plain names|no such file"):
        read(folder)


def test_a_step_and_an_optimizer_are_refused(valid):
    with pytest.raises(ConfigurationError, match="no steps"):
        read(valid, step=3)
    with pytest.raises(MissingError, match="leave out --optimizer"):
        read(valid, optimizer=True)


@pytest.mark.parametrize(
    ("architecture", "fields", "message"),
    [
        ("mos", {"softmaxes": 3}, "has no mos"),
        ("transformer", {"shared_heads": True}, "SH"),
        ("transformer", {"decoder_layers": 3}, "has 2 encoder and 3 decoder layers"),
    ],
)
def test_what_it_cannot_hold_is_refused(architecture, fields, message):
    with pytest.raises(ConfigurationError, match=message):
        keras_hub.check(architecture, shape_of("transformer", True, **{**DEPTH, **fields}))


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["config.json", "task.json", "model.weights.h5"], ["config.json", "model.weights.h5"]),
        (
            ["model_00000.weights.h5", "model.weights.json", "assets/tokenizer/vocabulary.spm"],
            ["assets/tokenizer/vocabulary.spm", "model.weights.json", "model_00000.weights.h5"],
        ),
        (["config.json", "model.safetensors"], []),
    ],
)
def test_of_a_folder_only_the_model_is_wanted(names, kept):
    assert keras_hub.select_files(names, None) == kept


def test_folders_are_recognised(valid, tmp_path):
    assert keras_hub.recognizes(valid)
    assert not keras_hub.recognizes(tmp_path)
