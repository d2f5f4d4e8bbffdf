import dataclasses
from pathlib import Path

import numpy as np
import pytest

from scalecli.architectures import build_spec
from scalecli.interchange.mesh_tensorflow import checkpoint as mesh_tensorflow
from scalecli.interchange.mesh_tensorflow.names import variable_names
from tests import oracle
from tests.interchange.mesh_tensorflow.forms import FORMS, model, read
from tests.interchange.mesh_tensorflow.writer import gin_of, random_weights, slots_of, variables_of, write_checkpoint
from tests.interchange.plain import model_of

ORACLE = ("ckpt_tiny_d32", "ckpt_d128_adafactor")


@pytest.mark.parametrize("name", FORMS)
def test_every_form_comes_back_as_it_was(tmp_path, name):
    spec, shape = model(name)
    weights = random_weights(spec)
    write_checkpoint(tmp_path, variables_of(spec, weights), gin=gin_of(spec, shape))
    imported = read(tmp_path)
    assert (imported.architecture, imported.shape, imported.step) == (spec.architecture, shape, 3)
    assert (imported.format, imported.precision, imported.optimizer) == ("mesh-tensorflow", "bfloat16", None)
    assert imported.weights.keys() == weights.keys()
    for path, expected in weights.items():
        assert imported.weights[path].dtype == np.float32
        np.testing.assert_array_equal(imported.weights[path], expected.astype("float32"))
    shared = any("share their parameters" in note for note in imported.notes)
    assert shared == bool(shape.shared_stacks)
    assert any("one key and one value head" in note for note in imported.notes) == shape.shared_heads


@oracle.needs_oracle
@pytest.mark.parametrize("name", oracle.ARCHITECTURE_OF)
def test_the_originals_variables_are_the_models_weights(tmp_path, name):
    spec, arrays = oracle.spec_of(name), oracle.load(f"{name}.npz")
    shape = oracle.shape_of_oracle(**oracle.ARCHITECTURE_OF[name][1])
    variables = {key.removeprefix("var:"): arrays[key] for key in arrays if key.startswith("var:")}
    imported = read(write_checkpoint(tmp_path, variables, gin=gin_of(spec, shape)))
    assert build_spec(imported.architecture, imported.shape) == spec
    assert dataclasses.replace(imported.shape, logits=None) == shape
    assert imported.precision == "float32"
    for path, expected in oracle.stacked(arrays, "var:", spec).items():
        np.testing.assert_array_equal(imported.weights[path], expected)


@oracle.needs_oracle
@pytest.mark.parametrize("name", ORACLE)
def test_logits_and_slots_of_the_originals_checkpoints(name):
    import tensorflow as tf

    folder = Path(oracle.FOLDER) / name
    imported = read(folder, optimizer=True)
    assert (imported.architecture, imported.step, imported.precision, imported.notes) == (
        "transformer",
        3,
        "bfloat16",
        (),
    )
    assert {file.name for file in imported.files} == {
        *("checkpoint", "operative_config.gin", "model.ckpt-3.index"),
        *("model.ckpt-3.data-00000-of-00002", "model.ckpt-3.data-00001-of-00002"),
    }
    expected = np.load(folder / "expected.npz")
    spec = build_spec(imported.architecture, imported.shape)
    logits = np.asarray(model_of(spec, imported.weights)({name: expected[name] for name in ("inputs", "targets")}))
    real = expected["targets"] > 0
    np.testing.assert_allclose(logits[real], expected["logits"][real], atol=1e-4)

    stored = tf.train.load_checkpoint(str(folder / "model.ckpt-3"))
    slots = {each for each in stored.get_variable_to_shape_map() if "_slot_" in each}
    kinds = {"full": "v", "rows": "vr", "columns": "vc"}
    assert imported.optimizer["iterations"] == stored.get_tensor("global_step")
    for path, layers in variable_names(spec).items():
        for kind, suffix in kinds.items():
            for layer, (variable,) in enumerate(layers):
                if f"{path}/{kind}" in imported.optimizer:
                    slot = f"{variable}_slot_{suffix}"
                    slots.remove(slot)
                    state = imported.optimizer[f"{path}/{kind}"]
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
    arrays = np.load(Path(oracle.FOLDER) / f"adafactor_trace_{trace}.npz")
    kinds = [kind for kind in ("v", "vr", "vc") if f"slot:{name}_slot_{kind}" in arrays]
    slots = {kind: arrays[f"slot:{name}_slot_{kind}"][step - 1] for kind in kinds}
    gradient, rate = arrays[f"grad:{name}"][step], arrays["learning_rate"][step]
    after = original_step(arrays[f"after:{name}"][step - 1], gradient, slots, step, rate)
    np.testing.assert_allclose(after, arrays[f"after:{name}"][step], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("place", [None, *(pytest.param(name, marks=oracle.needs_oracle) for name in ORACLE)])
def test_training_goes_on_with_the_originals_next_step(tmp_path, place):
    from scalecli.training.checkpoints import assign
    from scalecli.training.optimizers.adafactor import Adafactor

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
    imported = read(folder, optimizer=True)
    spec = build_spec(imported.architecture, imported.shape)
    draw = np.random.default_rng(2)
    gradients = {name: draw.normal(scale=1e-3, size=value.shape).astype("float32") for name, value in variables.items()}
    own = model_of(spec, imported.weights)
    weights = own.weights_by_path()
    optimizer = Adafactor(0.01)
    optimizer.build(list(weights.values()))
    assign(optimizer.state_by_path(weights), imported.optimizer, "the test")
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
    from scalecli.training.optimizers.adafactor import Adafactor

    wide = {"d_model": 128, "d_ff": 136}
    spec, shape = model(name, **wide, **({"encoder_layers": 2, "decoder_layers": 2} if name != "albert" else {}))
    variables = variables_of(spec, random_weights(spec))
    slots = slots_of(variables)
    imported = read(write_checkpoint(tmp_path, {**variables, **slots}, gin=gin_of(spec, shape)), optimizer=True)
    weights = EncoderDecoder(spec).weights_by_path()
    optimizer = Adafactor(0.01)
    optimizer.build(list(weights.values()))
    state = optimizer.state_by_path(weights)
    assert {path: tuple(value.shape) for path, value in state.items()} == {
        path: value.shape for path, value in imported.optimizer.items()
    }
    assert sum(value.size for value in imported.optimizer.values()) == 1 + sum(slot.size for slot in slots.values())
    parts = any(len(layer) > 1 for layers in variable_names(spec).values() for layer in layers)
    assert any("not quite the original's" in note for note in imported.notes) == parts


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
