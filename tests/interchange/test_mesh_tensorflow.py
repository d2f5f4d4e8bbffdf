import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from scalecli.architectures import TEXT_ARCHITECTURES, build_spec
from scalecli.errors import ConfigurationError, MissingError
from scalecli.interchange import mesh_tensorflow
from scalecli.interchange.mesh_names import variable_names
from scalecli.shape import Shape
from tests import oracle
from tests.interchange.mesh import gin_of, random_weights, slots_of, variables_of, write_checkpoint
from tests.interchange.plain import model_of

ORACLE = ("ckpt_tiny_d32", "ckpt_d128_adafactor")
# Forms of the architectures whose names are known, with sizes that tell matrices from their transposes.
SIZES = {"encoder_layers": 2, "decoder_layers": 3, "d_model": 24, "d_ff": 40, "d_kv": 8, "heads": 4, "vocabulary": 128}
FORMS = {
    **{name: (name, oracle.KNOBS[name]) for name in TEXT_ARCHITECTURES if name not in ("performer", "mixer")},
    "switch": ("switch", {"experts": 3, "encoder_layers": 2, "decoder_layers": 4}),
    "funnel": ("funnel", {"encoder_layers": 5, "funnel_blocks": 2}),
    "shared heads": ("transformer", {"shared_heads": True}),
    "tied keys and values": ("transformer", {"tied_key_values": True}),
    "both": ("transformer", {"shared_heads": True, "tied_key_values": True}),
    "shared stacks": ("transformer", {"shared_stacks": True, "encoder_layers": 3}),
    "untied": ("transformer", {"logits": "untied"}),
    "tied glu": ("glu", {"logits": "tied"}),
    "separate albert": ("albert", {"embedding_size": 16, "shared_stacks": False}),
    **{
        f"{kind} universal": ("universal", {"recurrence": 2, "recurrence_type": kind})
        for kind in ("basic", "highway", "gated")
    },
}


def model(name, **sizes):
    architecture, knobs = FORMS[name]
    shape = Shape(**{**SIZES, **knobs, **sizes})
    return build_spec(architecture, shape), shape


def read(folder, step=None, optimizer=False):
    return mesh_tensorflow.read(folder, step=step, optimizer=optimizer)


@pytest.fixture
def plain(tmp_path):
    """Variables, configuration and folder of a small Transformer."""
    spec, shape = model("transformer")
    return variables_of(spec, random_weights(spec)), gin_of(spec, shape), tmp_path / "folder"


@pytest.mark.parametrize("name", FORMS)
def test_every_form_comes_back_as_it_was(tmp_path, name):
    spec, shape = model(name)
    weights = random_weights(spec)
    write_checkpoint(tmp_path, variables_of(spec, weights), gin=gin_of(spec, shape))
    found = read(tmp_path)
    assert (found.architecture, found.shape, found.step) == (spec.architecture, shape, 3)
    assert (found.format, found.precision, found.optimizer) == ("mesh-tensorflow", "bfloat16", None)
    assert found.weights.keys() == weights.keys()
    for path, expected in weights.items():
        assert found.weights[path].dtype == np.float32
        np.testing.assert_array_equal(found.weights[path], expected.astype("float32"))
    shared = any("share their parameters" in note for note in found.notes)
    assert shared == bool(shape.shared_stacks)
    assert any("one key and one value head" in note for note in found.notes) == shape.shared_heads


@oracle.needs_oracle
@pytest.mark.parametrize("name", oracle.ARCHITECTURE_OF)
def test_the_originals_variables_are_the_models_weights(tmp_path, name):
    spec, arrays = oracle.spec_of(name), oracle.load(f"{name}.npz")
    shape = oracle.shape_of_oracle(**oracle.ARCHITECTURE_OF[name][1])
    variables = {key.removeprefix("var:"): arrays[key] for key in arrays if key.startswith("var:")}
    found = read(write_checkpoint(tmp_path, variables, gin=gin_of(spec, shape)))
    assert build_spec(found.architecture, found.shape) == spec
    assert dataclasses.replace(found.shape, logits=None) == shape
    assert found.precision == "float32"
    for path, expected in oracle.stacked(arrays, "var:", spec).items():
        np.testing.assert_array_equal(found.weights[path], expected)


@oracle.needs_oracle
@pytest.mark.parametrize("name", ORACLE)
def test_logits_and_slots_of_the_originals_checkpoints(name):
    import tensorflow as tf

    folder = Path(oracle.FOLDER) / name
    found = read(folder, optimizer=True)
    assert (found.architecture, found.step, found.precision, found.notes) == ("transformer", 3, "bfloat16", ())
    assert {file.name for file in found.files} == {
        *("checkpoint", "operative_config.gin", "model.ckpt-3.index"),
        *("model.ckpt-3.data-00000-of-00002", "model.ckpt-3.data-00001-of-00002"),
    }
    expected = np.load(folder / "expected.npz")
    spec = build_spec(found.architecture, found.shape)
    logits = np.asarray(model_of(spec, found.weights)({name: expected[name] for name in ("inputs", "targets")}))
    real = expected["targets"] > 0
    np.testing.assert_allclose(logits[real], expected["logits"][real], atol=1e-4)

    stored = tf.train.load_checkpoint(str(folder / "model.ckpt-3"))
    slots = {each for each in stored.get_variable_to_shape_map() if "_slot_" in each}
    kinds = {"full": "v", "rows": "vr", "columns": "vc"}
    assert found.optimizer["iterations"] == stored.get_tensor("global_step")
    for path, layers in variable_names(spec).items():
        for kind, suffix in kinds.items():
            for layer, (variable,) in enumerate(layers):
                if f"{path}/{kind}" in found.optimizer:
                    slot = f"{variable}_slot_{suffix}"
                    slots.remove(slot)
                    state = found.optimizer[f"{path}/{kind}"]
                    one = state[layer] if spec.weights()[path][0] else state
                    np.testing.assert_array_equal(one, stored.get_tensor(slot))
    assert not slots


def original_step(variable, gradient, slots, step, rate):
    """One step of Adafactor on one of the original's variables by its rules (the traces are of them), float64."""
    variable, gradient = variable.astype("float64"), gradient.astype("float64")
    decay = 1 - (step + 1.0) ** -0.8
    squared = gradient**2 + 1e-30
    if "v" in slots:
        second = decay * slots["v"] + (1 - decay) * squared
        update = gradient * second**-0.5
    else:
        largest = int(np.argmax(variable.shape))
        other = 1 - largest
        rows = decay * slots["vr"] + (1 - decay) * squared.mean(axis=largest)
        columns = decay * slots["vc"] + (1 - decay) * squared.mean(axis=other)
        factors = np.expand_dims((rows / rows.mean()) ** -0.5, largest), np.expand_dims(columns**-0.5, other)
        update = gradient * factors[0] * factors[1]
    update /= max(1.0, np.sqrt((update**2).mean()))
    return variable - rate * max(np.sqrt((variable**2).mean()), 1e-3) * update


@oracle.needs_oracle
@pytest.mark.parametrize(("trace", "name", "step"), [("const1e-3", "matrix", 4), ("rsqrt_warmup10000", "small", 2)])
def test_the_rules_are_those_of_the_traces(trace, name, step):
    found = np.load(Path(oracle.FOLDER) / f"adafactor_trace_{trace}.npz")
    kinds = [kind for kind in ("v", "vr", "vc") if f"slot:{name}_slot_{kind}" in found]
    slots = {kind: found[f"slot:{name}_slot_{kind}"][step - 1] for kind in kinds}
    gradient, rate = found[f"grad:{name}"][step], found["learning_rate"][step]
    after = original_step(found[f"after:{name}"][step - 1], gradient, slots, step, rate)
    np.testing.assert_allclose(after, found[f"after:{name}"][step], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("place", [None, *(pytest.param(name, marks=oracle.needs_oracle) for name in ORACLE)])
def test_training_goes_on_with_the_originals_next_step(tmp_path, place):
    from scalecli.training.adafactor import Adafactor
    from scalecli.training.checkpoints import assign

    if place is None:
        spec, shape = model("transformer", d_model=128, d_ff=256, d_kv=32, vocabulary=256)
        variables = variables_of(spec, random_weights(spec))
        slots = slots_of(variables)
        folder = write_checkpoint(tmp_path, {**variables, **slots}, gin=gin_of(spec, shape))
    else:
        import tensorflow as tf

        folder = Path(oracle.FOLDER) / place
        stored = tf.train.load_checkpoint(str(folder / "model.ckpt-3"))
        every = {name: stored.get_tensor(name) for name in stored.get_variable_to_shape_map()}
        variables = {name: every[name] for name in every if "_slot_" not in name and name != "global_step"}
        slots = {name: every[name] for name in every if "_slot_" in name}
    found = read(folder, optimizer=True)
    spec = build_spec(found.architecture, found.shape)
    draw = np.random.default_rng(2)
    gradients = {name: draw.normal(scale=1e-3, size=value.shape).astype("float32") for name, value in variables.items()}
    own = model_of(spec, found.weights)
    weights = own.weights_by_path()
    optimizer = Adafactor(0.01)
    optimizer.build(list(weights.values()))
    assign(optimizer.state_by_path(weights), found.optimizer, "the test")
    of_paths = mesh_tensorflow.weights(spec, gradients.__getitem__)
    optimizer.apply([of_paths[path] for path in weights], list(weights.values()))

    def after(name):
        kinds = {kind: slots[f"{name}_slot_{kind}"] for kind in ("v", "vr", "vc") if f"{name}_slot_{kind}" in slots}
        return original_step(variables[name], gradients[name], kinds, 3, 0.01).astype("float32")

    assert any(name.endswith("_vr") for name in slots) == (place != ORACLE[0])
    for path, expected in mesh_tensorflow.weights(spec, after).items():
        np.testing.assert_allclose(np.asarray(weights[path]), expected, rtol=1e-5, atol=1e-6, err_msg=path)


@pytest.mark.parametrize("name", ["transformer", "switch", "dconv", "highway universal", "evolved", "albert"])
def test_slots_lie_at_the_places_of_the_optimizer(tmp_path, name):
    from scalecli.models.encoder_decoder import EncoderDecoder
    from scalecli.training.adafactor import Adafactor

    wide = {"d_model": 128, "d_ff": 136}
    spec, shape = model(name, **wide, **({"encoder_layers": 2, "decoder_layers": 2} if name != "albert" else {}))
    variables = variables_of(spec, random_weights(spec))
    slots = slots_of(variables)
    found = read(write_checkpoint(tmp_path, {**variables, **slots}, gin=gin_of(spec, shape)), optimizer=True)
    weights = EncoderDecoder(spec).weights_by_path()
    optimizer = Adafactor(0.01)
    optimizer.build(list(weights.values()))
    state = optimizer.state_by_path(weights)
    assert {path: tuple(value.shape) for path, value in state.items()} == {
        path: value.shape for path, value in found.optimizer.items()
    }
    assert sum(value.size for value in found.optimizer.values()) == 1 + sum(slot.size for slot in slots.values())
    parts = any(len(each) > 1 for layers in variable_names(spec).values() for each in layers)
    assert any("not quite the original's" in note for note in found.notes) == parts


def test_shared_stacks_compute_what_two_copies_would():
    spec, shape = model("shared stacks")
    weights = {path: weight.astype("float32") for path, weight in random_weights(spec).items()}
    apart = build_spec("transformer", dataclasses.replace(shape, shared_stacks=None))
    copies = {path: weights[path.replace("encoder/", "decoder/")] for path in apart.weights()}
    assert copies.keys() - weights.keys() == {path for path in copies if path.startswith("encoder/")}
    draw = np.random.default_rng(0)
    batch = {"inputs": draw.integers(2, 128, (2, 7)), "targets": draw.integers(2, 128, (2, 5))}
    shared, unshared = (np.asarray(model_of(*each)(batch)) for each in ((spec, weights), (apart, copies)))
    np.testing.assert_allclose(shared, unshared, rtol=1e-5, atol=1e-5)


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
        found = read(write_checkpoint(folder / str(number), spelled, gin=gin))
        for path, weight in new.weights.items():
            np.testing.assert_array_equal(found.weights[path], weight)
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
    assert mesh_tensorflow.recognises(folder) and not mesh_tensorflow.recognises(folder / "checkpoint")
    assert read(folder).step == 3  # as the state says
    assert read(folder, step=20).step == 20
    (folder / "checkpoint").unlink()
    assert read(folder).step == 100
    with pytest.raises(MissingError, match="has no checkpoint of step 21; there are 3, 20, 100"):
        read(folder, step=21)
    listed = [each.name for each in folder.iterdir()] + ["checkpoint", "eval/events", "model.ckpt-1000.meta"]
    shard = "data-00000-of-00001"
    assert set(mesh_tensorflow.wanted(listed, None)) == {
        *("checkpoint", "operative_config.gin", f"model.ckpt-100.{shard}", "model.ckpt-100.index")
    }
    assert set(mesh_tensorflow.wanted(listed, 20)) == {
        *("operative_config.gin", f"model.ckpt-20.{shard}", "model.ckpt-20.index")
    }
    assert mesh_tensorflow.wanted(["config.json", "model.safetensors"], None) == []
    with pytest.raises(MissingError, match="the folder has no checkpoint of step 5; there are 3, 20, 100"):
        mesh_tensorflow.wanted(listed, 5)


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
