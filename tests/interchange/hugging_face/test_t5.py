"""Folders of T5ForConditionalGeneration against the library itself, both ways, and what is refused."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from scalecli.architectures import build_spec
from scalecli.errors import ConfigurationError, MissingError
from scalecli.interchange.hugging_face import files as hugging_face_files
from scalecli.interchange.hugging_face import t5 as hugging_face
from scalecli.interchange.weight_map import Exported
from tests.data.conftest import vocabulary  # noqa: F401 (a fixture)
from tests.interchange.plain import FORMS, ROWS, batch, exported, logits_and_greedy, shape_of

forms = pytest.mark.parametrize(("architecture", "tied"), FORMS)


@pytest.fixture(scope="module")
def torch():
    pytest.importorskip("transformers")
    return pytest.importorskip("torch")


def read(folder, **options):
    return hugging_face.read(folder, **{"step": None, "optimizer": False, **options})


def written(folder, model):
    folder.mkdir()
    hugging_face.write(folder, model)
    return folder


def loaded(folder, torch):
    """The library's model in float32, which has found every weight and no other."""
    from transformers import T5ForConditionalGeneration

    model, info = T5ForConditionalGeneration.from_pretrained(
        folder, output_loading_info=True, torch_dtype=torch.float32
    )
    assert not any(info.values()), info
    return model.eval()


def theirs(model, data, torch):
    """The library's logits, and its greedy tokens padded to ten."""
    inputs, targets = (torch.tensor(data[name].astype("int64")) for name in ("inputs", "targets"))
    mask = (inputs > 0).long()
    # Of a decoder that is deeper than its encoder, transformers 5.23 counts the layers wrongly in its cache, unless the
    # configuration has the key that ours has.
    cached = model.config.num_decoder_layers <= getattr(model.config, "decoder_layers", model.config.num_layers)
    with torch.no_grad():
        logits = model(input_ids=inputs, attention_mask=mask, labels=targets).logits.numpy()
        tokens = model.generate(inputs, attention_mask=mask, max_new_tokens=10, do_sample=False, use_cache=cached)
    tokens = tokens.numpy()[:, 1:]
    return logits, np.pad(tokens, ((0, 0), (0, 10 - tokens.shape[1])))


def assert_same(spec, weights, model, torch):
    data = batch()
    (ours, our_tokens), (expected, tokens) = logits_and_greedy(spec, weights, data), theirs(model, data, torch)
    real = data["targets"] > 0
    assert expected[real].std() > 0.3 and len(np.unique(tokens)) > 3
    # Random models' logits go to 30 and beyond, of which float32 sums of two libraries differ by millionths.
    np.testing.assert_allclose(ours[real], expected[real], rtol=0, atol=5e-6 * np.abs(expected[real]).max())
    np.testing.assert_array_equal(our_tokens, tokens)


def random_model(torch, architecture, tied, dtype="float32"):
    """A model of the library's own, with the logits tied or not."""
    from transformers import T5Config, T5ForConditionalGeneration

    shape = shape_of(architecture, tied)
    torch.manual_seed(0)
    config = T5Config(
        **{theirs: getattr(shape, ours) for ours, theirs in hugging_face._SIZES.items()},
        feed_forward_proj={"transformer": "relu", "glu": "gated-gelu"}[architecture],
        tie_word_embeddings=tied,
        decoder_start_token_id=0,
    )
    model = T5ForConditionalGeneration(config)
    if not tied:
        model.lm_head.weight = torch.nn.Parameter(torch.randn(ROWS, shape.d_model))
    return _shaken(model, torch).to(getattr(torch, dtype)).eval()


def _shaken(model, torch):
    """The model with norms away from 1, and layers that count for more than the embedding, or tokens would repeat."""
    for name, parameter in model.named_parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
        if name.endswith(("o.weight", "decoder.final_layer_norm.weight")):
            parameter.data *= 3
    model.shared.weight.data *= 0.3
    return model


@forms
def test_what_is_written_is_the_same_model_there(tmp_path, torch, architecture, tied):
    model = exported(architecture, tied)
    assert_same(model.spec, model.weights, loaded(written(tmp_path / "hf", model), torch), torch)


@pytest.mark.parametrize("layers", [(1, 4), (3, 1)])
def test_other_depths_are_written(tmp_path, torch, layers):
    model = exported("transformer", True, encoder_layers=layers[0], decoder_layers=layers[1])
    assert_same(model.spec, model.weights, loaded(written(tmp_path / "hf", model), torch), torch)


@pytest.mark.parametrize(
    ("architecture", "tied", "dtype"),
    [*((*form, "float32") for form in FORMS), *((*form, "bfloat16") for form in FORMS[:2])],
)
def test_what_the_library_has_written_is_the_same_model_here(tmp_path, torch, architecture, tied, dtype):
    random_model(torch, architecture, tied, dtype).save_pretrained(tmp_path)
    imported = read(tmp_path)
    assert (imported.architecture, imported.shape, imported.precision) == (
        architecture,
        shape_of(architecture, tied),
        dtype,
    )
    assert [file.name for file in imported.files] == ["config.json", "model.safetensors"]
    assert (imported.step, imported.optimizer, imported.vocabulary, imported.notes) == (0, None, None, ())
    assert_same(build_spec(architecture, imported.shape), imported.weights, loaded(tmp_path, torch), torch)


def test_pytorch_files_with_the_embedding_under_all_its_names(tmp_path, torch):
    """As the first checkpoints have it, which also have a table that nothing reads."""
    model = random_model(torch, "transformer", True)
    model.config.save_pretrained(tmp_path)
    unused = {hugging_face._UNUSED: torch.ones(32, 3)}
    torch.save({**model.state_dict(), **unused}, tmp_path / "pytorch_model.bin")
    imported = read(tmp_path)
    assert [file.name for file in imported.files] == ["config.json", "pytorch_model.bin"]
    assert len(imported.notes) == 1 and hugging_face._UNUSED in imported.notes[0]
    assert_same(build_spec("transformer", imported.shape), imported.weights, model, torch)


def test_shards_are_read(tmp_path, torch):
    model = random_model(torch, "glu", False)
    model.save_pretrained(tmp_path / "whole")
    model.save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    sharded, whole = read(tmp_path / "shards"), read(tmp_path / "whole")
    assert len(sharded.files) > 3 and sharded.files[1].name == "model.safetensors.index.json"
    assert sharded.shape == whole.shape
    for path, weight in whole.weights.items():
        np.testing.assert_array_equal(sharded.weights[path], weight)


def test_shards_are_written(tmp_path, torch, monkeypatch):
    monkeypatch.setattr(hugging_face_files, "_SHARD_BYTES", 40_000)
    model = exported("transformer", True)
    folder = written(tmp_path / "hf", model)
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 2
    assert not (folder / "model.safetensors").exists()
    assert_same(model.spec, model.weights, loaded(folder, torch), torch)
    imported = read(folder)
    for path, weight in model.weights.items():
        np.testing.assert_array_equal(imported.weights[path], weight)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@forms
def test_a_round_trip_is_bit_for_bit(tmp_path, architecture, tied, precision):
    first = written(tmp_path / "first", exported(architecture, tied, precision))
    imported = read(first)
    assert imported.precision == precision
    again = Exported(imported.shape, build_spec(architecture, imported.shape), imported.weights, 0.1, precision, None)
    written(tmp_path / "second", again)
    for name in ("config.json", "model.safetensors"):
        assert (first / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@forms
def test_a_round_trip_through_the_library_is_bit_for_bit(tmp_path, torch, architecture, tied):
    random_model(torch, architecture, tied, "bfloat16").save_pretrained(tmp_path / "theirs")
    imported = read(tmp_path / "theirs")
    again = Exported(imported.shape, build_spec(architecture, imported.shape), imported.weights, 0.1, "bfloat16", None)
    written(tmp_path / "ours", again)
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "ours"))
    assert before.keys() == after.keys()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)


def test_the_tokenizer_comes_along(tmp_path, torch, vocabulary):  # noqa: F811
    from transformers import AutoTokenizer, GenerationConfig

    folder = written(tmp_path / "hf", exported("transformer", True, vocabulary=vocabulary))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == vocabulary.size == 180
    text = "the span of noise is read again"
    assert tokenizer(text).input_ids == [*vocabulary.encode(text), 1]
    assert tokenizer.convert_tokens_to_ids(["<pad>", "</s>", "<extra_id_0>", "<extra_id_99>"]) == [0, 1, 179, 80]
    assert tokenizer("the <extra_id_1>").input_ids[-2:] == [178, 1]
    generation = GenerationConfig.from_pretrained(folder)
    assert (generation.decoder_start_token_id, generation.eos_token_id, generation.pad_token_id) == (0, 1, 0)
    imported = read(folder)
    assert imported.vocabulary == folder / "spiece.model"
    assert imported.vocabulary.read_bytes() == vocabulary.path.read_bytes()
    assert imported.files[-1].name == "spiece.model"


def test_a_tokenizer_json_is_the_vocabulary_where_there_is_no_other(tmp_path, vocabulary):  # noqa: F811
    folder = written(tmp_path / "hf", exported("transformer", True, vocabulary=vocabulary))
    assert read(folder).vocabulary == folder / "spiece.model"
    (folder / "spiece.model").unlink()
    imported = read(folder)
    assert imported.vocabulary == folder / "tokenizer.json" and imported.files[-1].name == "tokenizer.json"


@pytest.mark.parametrize("own_logits", [True, False])
def test_mt5_is_a_t5_v1_1(tmp_path, torch, own_logits):
    """transformers 5 ties its logits, and versions before did not; neither scales them."""
    from transformers import MT5Config, MT5ForConditionalGeneration

    sizes = {theirs: getattr(shape_of("glu", False), ours) for ours, theirs in hugging_face._SIZES.items()}
    torch.manual_seed(0)
    model = MT5ForConditionalGeneration(MT5Config(**sizes, tie_word_embeddings=False, decoder_start_token_id=0))
    if own_logits:
        model.lm_head.weight = torch.nn.Parameter(torch.randn(ROWS, sizes["d_model"]))
    _shaken(model, torch).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "mt5"
    if own_logits:  # as the released files have it
        (tmp_path / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    imported = read(tmp_path)
    assert (imported.architecture, imported.shape) == ("glu", shape_of("glu", False))
    assert_same(build_spec("glu", imported.shape), imported.weights, model.eval(), torch)


@pytest.mark.parametrize(("version", "tied"), [("4.57.6", True), ("5.24.0", False)])
def test_an_mt5_with_tied_logits_is_scaled_by_version_4_only(tmp_path, version, tied):
    folder = written(tmp_path / "hf", exported("glu", True))
    config = json.loads((folder / "config.json").read_text())
    changed = {"model_type": "mt5", "tie_word_embeddings": True, "transformers_version": version}
    (folder / "config.json").write_text(json.dumps({**config, **changed}))
    assert read(folder).shape == shape_of("glu", tied)


def test_unscaled_logits_of_the_embedding_become_a_copy(tmp_path, torch):
    """T5 v1.1 by a configuration of version 5 and without weights of its own for the logits."""
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {theirs: getattr(shape_of("glu", False), ours) for ours, theirs in hugging_face._SIZES.items()}
    model = T5ForConditionalGeneration(
        T5Config(**sizes, feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0)
    )
    model.lm_head.weight = model.shared.weight
    _shaken(model, torch).save_pretrained(tmp_path)
    imported = read(tmp_path)
    assert imported.shape.logits is None and "unscaled" in imported.notes[0]
    np.testing.assert_array_equal(imported.weights["logits/kernel"].T, imported.weights["embedding/table"])
    assert_same(build_spec("glu", imported.shape), imported.weights, model.eval(), torch)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """A folder that is read without complaint."""
    folder = written(tmp_path_factory.mktemp("valid") / "hf", exported("glu", False))
    assert read(folder).shape == shape_of("glu", False)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "umt5"}, "model_type is 'umt5'; t5 and mt5 are accepted"),
        ({"feed_forward_proj": "gated-silu"}, "feed_forward_proj is 'gated-silu'; scalecli has relu and gated-gelu"),
        ({"dense_act_fn": "gelu"}, "dense_act_fn is 'gelu'; scalecli's T5 has 'gelu_new'"),
        ({"relative_attention_num_buckets": 64}, "relative_attention_num_buckets is 64"),
        ({"relative_attention_max_distance": 256}, "relative_attention_max_distance is 256"),
        ({"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon is 1e-05"),
        ({"decoder_start_token_id": 2}, "decoder_start_token_id is 2"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no'"),
        ({"tie_word_embeddings": True}, "is not 'shared.weight', though config.json says that they are tied"),
        ({"d_model": None}, "lacks d_model"),
        ({"d_model": 64}, r"is \[256, 32\], the model\'s is \[256, 64\]"),
        ({"d_kv": "8"}, "d_kv is '8'; a whole number"),
        ({"num_heads": 2}, "the model's is"),
        ({"feed_forward_proj": "relu", "dense_act_fn": None, "is_gated_act": None}, "lacks 'encoder.block.0.layer.1"),
        ({"num_layers": 3}, "lacks 'encoder.block.2.layer.0"),
        ({"num_layers": 1}, "has 'encoder.block.1.layer.0"),
        ({"num_layers": 2**24, "num_decoder_layers": 2**24}, "fewer weights than its configuration has layers"),
    ],
)
def test_configurations_of_other_models_are_refused(valid, tmp_path, change, message):
    folder = shutil.copytree(valid, tmp_path / "hf")
    config = {**json.loads((folder / "config.json").read_text()), **change}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises((ConfigurationError, MissingError), match=message):
        read(folder)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"shared.weight": None}, MissingError, "lacks 'shared.weight'"),
        ({"encoder.embed_tokens.weight": np.ones((ROWS, 32), "float32")}, ConfigurationError, "share their embedding"),
        ({"encoder.final_layer_norm.weight": None}, MissingError, "lacks 'encoder.final_layer_norm.weight'"),
        ({"encoder.final_layer_norm.weight": np.ones(32, "int8")}, ConfigurationError, "is int8; float32, bfloat16"),
        ({"encoder.final_layer_norm.bias": np.ones(32, "float32")}, ConfigurationError, "which this model hasn't"),
    ],
)
def test_weights_of_other_models_are_refused(valid, tmp_path, change, error, message):
    folder = shutil.copytree(valid, tmp_path / "hf")
    arrays = {**load_file(folder / "model.safetensors"), **change}
    save_file({name: array for name, array in arrays.items() if array is not None}, folder / "model.safetensors")
    with pytest.raises(error, match=message):
        read(folder)


def test_a_step_and_an_optimizer_are_refused(valid):
    with pytest.raises(ConfigurationError, match="no steps; leave out --step 3"):
        read(valid, step=3)
    with pytest.raises(MissingError, match="leave out --optimizer"):
        read(valid, optimizer=True)


def test_mixed_dtypes_are_float32(valid, tmp_path):
    folder = shutil.copytree(valid, tmp_path / "hf")
    arrays = load_file(folder / "model.safetensors")
    arrays["shared.weight"] = arrays["shared.weight"].astype("float16")
    save_file(arrays, folder / "model.safetensors")
    imported = read(folder)
    assert imported.precision == "float32"
    np.testing.assert_array_equal(imported.weights["embedding/table"], arrays["shared.weight"].astype("float32"))


@pytest.mark.parametrize(
    ("architecture", "fields", "message"),
    [
        ("switch", {"experts": 4}, "has no switch; it can hold transformer and glu"),
        ("transformer", {"shared_heads": True}, "SH"),
        ("transformer", {"tied_key_values": True}, "SKV"),
        ("transformer", {"shared_stacks": True, "decoder_layers": 2}, "share"),
    ],
)
def test_what_it_cannot_hold_is_refused(architecture, fields, message):
    with pytest.raises(ConfigurationError, match=message):
        hugging_face.check(architecture, shape_of("transformer", True, **fields))


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["config.json", "pytorch_model.bin", "model.safetensors", "README.md"], ["config.json", "model.safetensors"]),
        (["spiece.model", "pytorch_model.bin", "tf_model.h5"], ["pytorch_model.bin", "spiece.model"]),
        (
            ["model-1.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "x/model.bin"],
            ["model-1.safetensors", "model.safetensors.index.json"],
        ),
        (["config.json", "model.weights.h5"], []),
    ],
)
def test_of_a_folder_only_the_model_is_wanted(names, kept):
    assert hugging_face.select_files(names, None) == kept


def test_folders_are_recognised(valid, tmp_path):
    assert hugging_face.recognizes(valid)
    assert not hugging_face.recognizes(tmp_path)
