"""Mesh-TensorFlow folders: spellings, what only the configuration says, and what is refused."""

import shutil

import numpy as np
import pytest

from scalecli.errors import ConfigurationError, MissingError
from scalecli.interchange.mesh_tensorflow import checkpoint as mesh_tensorflow
from tests.interchange.mesh_tensorflow.forms import model, read
from tests.interchange.mesh_tensorflow.writer import gin_of, random_weights, slots_of, variables_of, write_checkpoint


@pytest.fixture
def plain(tmp_path):
    """Variables, configuration and folder of a small Transformer."""
    spec, shape = model("transformer")
    return variables_of(spec, random_weights(spec)), gin_of(spec, shape), tmp_path / "folder"


def test_old_spellings(plain):
    variables, gin, folder = plain
    new = read(write_checkpoint(folder / "new", variables, gin=gin))
    old = {
        (name if "block" in name else name.replace("rms_norm", "final_layer_norm")).replace(
            "rms_norm", "layer_norm"
        ): value
        for name, value in variables.items()
    }
    assert set(old).isdisjoint(name for name in variables if "norm" in name)
    named = {
        name.replace("layer_000", "self_attention").replace("layer_002", "dense_relu_dense"): value
        for name, value in variables.items()
    }
    for number, spelled in enumerate((old, named)):
        imported = read(write_checkpoint(folder / str(number), spelled, gin=gin))
        for path, weight in new.weights.items():
            np.testing.assert_array_equal(imported.weights[path], weight)
    variables["decoder/final_layer_norm/scale"] = variables["decoder/rms_norm/scale"]
    with pytest.raises(ConfigurationError, match="are one variable by two names"):
        read(write_checkpoint(folder / "both", variables, gin=gin))


def test_without_a_configuration_the_variables_say_it(plain):
    variables, gin, folder = plain
    with_it = read(write_checkpoint(folder / "a", variables, gin=gin))
    without = read(write_checkpoint(folder / "b", variables, state=False))
    assert without.shape == with_it.shape
    assert without.notes == ("no operative_config.gin lies beside it; the shape is that of its variables",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "albert",
            r"don't tell the layers of the encoder; make_layer_stack.num_layers does, and there is no operative",
        ),
        ("universal", r"don't tell the steps of the recurrence; UTLayerStack.act_max_steps does, and there is no"),
        ("lconv", r"don't tell heads; SelfAttention.num_heads does, and there is no operative_config.gin"),
    ],
)
def test_what_only_the_configuration_says(tmp_path, name, message):
    spec, _ = model(name)
    with pytest.raises(ConfigurationError, match=message):
        read(write_checkpoint(tmp_path, variables_of(spec, random_weights(spec))))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("d_model = 24", "d_model = 32", "Unitransformer.d_model is 32, and the variables say 24"),
        ("d_ff = 40", "d_ff = 41", "encoder/DenseReluDense.hidden_size is 41, and the variables say 40"),
        ("d_kv = 8", "d_kv = 16", "SelfAttention.key_value_size is 16, and the variables say 8"),
        ("num_heads = 4", "num_heads = 2", "SelfAttention.num_heads is 2, and the variables say 4"),
        ("\nnum_layers = 3", "\nnum_layers = 2", "decoder/make_layer_stack.num_layers is 2, and there are 3 blocks"),
        ("encoder/make_layer_stack.num_layers = 2", "encoder/make_layer_stack.num_layers = 1", "encoder/.* is 1, and"),
        ("memory_heads = 0", "memory_heads = 1", "num_memory_heads is 1, and the variables say all heads"),
        ("shared_kv = False", "shared_kv = True", "shared_kv is True, and there are variables for each"),
        ("'relu'", "'swish'", "DenseReluDense.activation is 'swish', and transformer has relu here"),
        ("'bias_shared'", "'contextual'", "relative_attention_type is 'contextual', and the models here have 'bias_sh"),
        ("weights = True", "weights = False", "and_softmax_weights is False, and there is no variable of logits"),
        ("d_ff = 40", "d_ff = @open", "encoder/DenseReluDense.hidden_size is '@open', and the variables say 40"),
        ("d_ff = 40", "d_ff = open('x')", r"operative_config.gin:5: neither an import nor a binding"),
        ("%num_heads", "%num_head", "%num_head is not defined"),
    ],
)
def test_a_configuration_of_another_model(plain, old, new, message):
    variables, gin, folder = plain
    assert old in gin
    with pytest.raises(ConfigurationError, match=message):
        read(write_checkpoint(folder, variables, gin=gin.replace(old, new)))


CHANGED = {
    "one too few": (
        lambda each: each.pop("decoder/block_001/layer_001/EncDecAttention/v"),
        "lacks decoder/block_001/layer_001/EncDecAttention/v, which transformer of this shape has; did you mean",
    ),
    "one too many": (
        lambda each: each.update({"encoder/extra/kernel": np.zeros(3, "float32")}),
        "has encoder/extra/kernel, which transformer of this shape hasn't",
    ),
    "logits that mixture weights never reach": (
        lambda each: each.update(
            {
                "shared/embedding_embedding_weights": each.pop("shared/embedding"),
                "shared/embedding_context_weights": np.zeros((3, 24, 24), "float32"),
                "shared/embedding_mixture_weights": np.zeros((3, 24), "float32"),
                "decoder/logits/kernel": np.zeros((24, 128), "float32"),
            }
        ),
        "decoder/logits/kernel",
    ),
    "another shape": (
        lambda each: each.update({"encoder/rms_norm/scale": np.zeros(23, "float32")}),
        r"encoder/rms_norm/scale is \[23\] in the checkpoint, \[24\] in the model",
    ),
    "transposed": (
        lambda each: each.update(
            {"encoder/block_001/layer_001/DenseReluDense/wi/kernel": np.zeros((40, 24), "float32")}
        ),
        r"wi/kernel is \[40, 24\] in the checkpoint, \[24, 40\] in the model",
    ),
    "two memory heads": (
        lambda each: each.update({name: value[:, :16] for name, value in each.items() if name.endswith(("/k", "/v"))}),
        r"keys of width 16, 2 heads for 4 of queries \(num_memory_heads\); one for all",
    ),
    "odd heads": (
        lambda each: each.update(
            {name: np.zeros((5, 32), "float32") for name in each if name.endswith("attention_bias")}
        ),
        "queries are 32 wide, which 5 heads can't share",
    ),
    "no width": (
        lambda each: each.update(
            {name: np.zeros((24, 0), "float32") for name in each if name.endswith(("/q", "/k", "/v"))}
        ),
        "queries are 0 wide, which 4 heads can't share",
    ),
    "no embedding": (lambda each: each.pop("shared/embedding"), "has no variable shared/embedding"),
    "nothing": (lambda each: each.clear(), "has no variable of an encoder|has no variable shared/embedding"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_variables_of_no_model(plain, name):
    variables, _, folder = plain
    change, message = CHANGED[name]
    change(variables)
    with pytest.raises(ConfigurationError, match=message):
        read(write_checkpoint(folder, variables))


def test_an_encoder_is_needed_where_stacks_cannot_share(tmp_path):
    spec, _ = model("glu")
    variables = {
        name: value for name, value in variables_of(spec, random_weights(spec)).items() if "encoder" not in name
    }
    with pytest.raises(ConfigurationError, match="no variable of an encoder, and glu needs them"):
        read(write_checkpoint(tmp_path, variables))


def test_a_step_that_its_name_does_not_say(plain):
    variables, gin, folder = plain
    write_checkpoint(folder, variables, step=3, gin=gin, state=False)
    for file in folder.glob("model.ckpt-3.*"):
        shutil.copy(file, folder / file.name.replace("-3.", "-4."))
    with pytest.raises(ConfigurationError, match="its global_step is 3, not 4"):
        read(folder)


def test_slots_that_are_not_there(plain):
    variables, gin, folder = plain
    slots = slots_of(variables)
    del slots["encoder/rms_norm/scale_slot_v"]
    write_checkpoint(folder, {**variables, **slots}, gin=gin)
    assert read(folder).optimizer is None
    with pytest.raises(ConfigurationError, match=r"no encoder/rms_norm/scale_slot_v.*leave the optimizer out"):
        read(folder, optimizer=True)


def test_the_step_that_is_read(plain):
    variables, gin, folder = plain
    for step in (20, 100, 3):
        write_checkpoint(folder, variables, step=step, gin=gin)
    assert mesh_tensorflow.recognizes(folder) and not mesh_tensorflow.recognizes(folder / "checkpoint")
    assert read(folder).step == 3  # as the state says
    assert read(folder, step=20).step == 20
    (folder / "checkpoint").unlink()
    assert read(folder).step == 100
    with pytest.raises(MissingError, match="has no checkpoint of step 21; there are 3, 20, 100"):
        read(folder, step=21)
    listed = [file.name for file in folder.iterdir()] + ["checkpoint", "eval/events", "model.ckpt-1000.meta"]
    shard = "data-00000-of-00001"
    assert set(mesh_tensorflow.select_files(listed, None)) == {
        *("checkpoint", "operative_config.gin", f"model.ckpt-100.{shard}", "model.ckpt-100.index")
    }
    assert set(mesh_tensorflow.select_files(listed, 20)) == {
        *("operative_config.gin", f"model.ckpt-20.{shard}", "model.ckpt-20.index")
    }
    assert mesh_tensorflow.select_files(["config.json", "model.safetensors"], None) == []
    with pytest.raises(MissingError, match="the folder has no checkpoint of step 5; there are 3, 20, 100"):
        mesh_tensorflow.select_files(listed, 5)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ('model_checkpoint_path: "../../etc/passwd"', "only plain names of files beside it are accepted"),
        ('model_checkpoint_path: "/etc/passwd"', "only plain names of files beside it are accepted"),
        ('model_checkpoint_path: "model.ckpt-9"', "model.ckpt-9.index: no such file, and checkpoint names it"),
        ('model_checkpoint_path: "last"', "names 'last', which has no step"),
        ("\0\1\2", "names no model_checkpoint_path"),
        ("x" * (2 << 20), "larger than the 1,048,576 bytes"),
    ],
)
def test_a_state_that_names_no_file_beside_it(plain, state, message):
    variables, gin, folder = plain
    write_checkpoint(folder, variables, gin=gin)
    (folder / "last.index").write_bytes(b"")
    (folder / "checkpoint").write_text(state)
    with pytest.raises(MissingError, match=message):
        read(folder)
    assert read(folder, step=3).step == 3
