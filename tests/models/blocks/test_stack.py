"""Stacks whose layers are shared, repeated or pooled: decoding, the order of the batch, sizes, and what is refused."""

import keras
import numpy as np
import pytest
from keras import ops

from scalecli.errors import ConfigurationError
from scalecli.models.blocks.pooling import pooled
from scalecli.models.compiled import compiled
from scalecli.models.encoder_decoder import EncoderDecoder
from tests import oracle
from tests.xla import either_way, use_xla

TARGETS = 5
RECURRENCES = ("basic", "act", "highway", "gated")
VARIANTS = {
    **{kind: ("universal", {"layers": 2, "recurrence": 2, "recurrence_type": kind}) for kind in RECURRENCES},
    "albert": ("albert", {"layers": 2, "embedding_size": 16, "shared_stacks": False}),
    "albert_shared_stacks": ("albert", {"layers": 2, "embedding_size": 16, "shared_stacks": True}),
    "funnel": ("funnel", {"layers": 2, "encoder_layers": 4, "funnel_blocks": 2}),
}
each_variant = pytest.mark.parametrize("variant", VARIANTS)


def model_of(variant, precision="float32", **fields):
    """A model with weights that are nowhere symmetric."""
    architecture, knobs = VARIANTS[variant]
    keras.utils.set_random_seed(2)
    model = EncoderDecoder(oracle.small_spec(architecture, **{**knobs, **fields}), precision)
    random = np.random.default_rng(2)
    for variable in model.variables:
        variable.assign(variable + 0.3 * random.normal(size=variable.shape).astype("float32"))
    return model


def batch_of(rows=3, inputs=8):
    random = np.random.default_rng(0)
    batch = {"inputs": random.integers(2, 128, (rows, inputs)), "targets": random.integers(2, 128, (rows, TARGETS))}
    batch["inputs"][1, 5:] = 0
    return {name: ids.astype("int32") for name, ids in batch.items()}


def decoded_logits(model, batch, order):
    """Logits [batch, targets, vocabulary] with caches; before position 2 the state's rows are put into `order`.

    `batch` is in that order from the start, but for the targets before that position.
    """

    def decode(inputs, tokens, order):
        memory, state = model.start_decoding(inputs, TARGETS)

        def token(position, state, logits):
            moved = model.reorder_state(state, order)
            state = keras.tree.map_structure(lambda new, old: ops.where(position == 2, new, old), moved, state)
            of_token, state = model.decode_token(memory, state, ops.take(tokens, position, axis=1), position)
            return position + 1, state, ops.slice_update(logits, (0, position, 0), of_token[:, None])

        logits = ops.zeros((inputs.shape[0], TARGETS, 128))
        return ops.while_loop(lambda position, *_: position < TARGETS, token, (ops.zeros((), "int32"), state, logits))[
            2
        ]

    tokens = np.pad(batch["targets"], ((0, 0), (1, 0)))[:, :-1]
    return np.array(compiled(model, decode)(batch["inputs"], tokens, np.asarray(order, "int32")))


@either_way
@each_variant
def test_decoding_is_teacher_forcing_and_follows_its_rows(variant, xla, monkeypatch):
    """All rows have the same inputs, as the hypotheses of a beam have."""
    use_xla(monkeypatch, xla)
    model, order = model_of(variant), [2, 0, 0]
    batch = batch_of()
    batch["inputs"][:] = batch["inputs"][1]
    # From position 2 on, the tokens before it are those of the rows that were taken over.
    history = {**batch, "targets": np.concatenate([batch["targets"][order][:, :1], batch["targets"][:, 1:]], axis=1)}
    whole = compiled(model, model)
    found = decoded_logits(model, batch, order)
    before, after = np.array(whole(batch)), np.array(whole(history))
    np.testing.assert_allclose(found[:, :2], before[:, :2], atol=3e-5)
    np.testing.assert_allclose(found[:, 2:], after[:, 2:], atol=3e-5)
    assert np.abs(after[:, 2:] - before[:, 2:]).max() > 1e-2  # so that the order means something


@pytest.mark.parametrize("variant", ("highway", "gated"))
def test_bfloat16_is_near_float32(variant):
    batch = batch_of()
    narrow, wide = (
        np.array(compiled(model, model)(batch))
        for model in (model_of(variant, "bfloat16"), model_of(variant, "float32"))
    )
    assert np.isfinite(narrow).all()
    assert np.abs(narrow - wide).mean() < 0.15 * np.abs(wide).mean()


def program_size(model):
    """Size of the program of the forward and backward pass, in bytes or lines; what is in a loop counts once."""
    batch = batch_of()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        def step():
            with tf.GradientTape() as tape:
                loss = ops.sum(model(batch))
            return [tf.convert_to_tensor(each) for each in tape.gradient(loss, [v.value for v in model.variables])]

        return tf.function(step).get_concrete_function().graph.as_graph_def().ByteSize()
    import jax

    values = [variable.value for variable in model.trainable_variables]
    step = jax.grad(lambda values: ops.sum(model.stateless_call(values, [], batch)[0]))
    return str(jax.make_jaxpr(step)(values)).count("\n")


def test_neither_passes_nor_layers_make_the_program_larger():
    small = program_size(model_of("highway"))
    assert program_size(model_of("highway", recurrence=5, encoder_layers=4, decoder_layers=4)) <= 1.01 * small


def test_adaptive_passes_are_reported():
    model = model_of("act")
    reports = compiled(model, lambda batch: model.outputs(batch).reports)(batch_of())
    assert len(reports) == 4
    for side in ("encoder", "decoder"):
        remainder, time = (float(reports[f"{side}/recurrence/{name}"]) for name in ("remainder", "ponder_time"))
        assert 0 < remainder < 1
        assert 1 + remainder <= time <= 3 + remainder


def test_shared_stacks_have_one_set_of_weights():
    shared, separate = model_of("albert_shared_stacks"), model_of("albert")
    encoder, decoder = shared.encoder.parts(), shared.decoder.parts()
    assert set(encoder) < set(decoder)
    for prefix, part in encoder.items():
        for name, variable in part.owned.items():
            assert variable is decoder[prefix].owned[name], f"{prefix}{name}"
    assert len(separate.variables) == len(shared.variables) + sum(len(part.owned) for part in encoder.values())
    # The encoder's position bias sees both directions even where its table is the decoder's.
    bias = np.array(shared.encoder.biases(6)[4])
    assert (bias[0, :, 0, 1:] != bias[0, :, 0, :1]).any()


def test_pooling_takes_the_mean_of_what_is_real():
    x = np.arange(24, dtype="float32").reshape(1, 6, 4)
    real = np.array([1, 1, 1, 0, 0, 0], "float32").reshape(1, 6, 1)
    expected = np.stack([x[0, :2].mean(0), x[0, 2], np.zeros(4)])
    np.testing.assert_allclose(np.array(pooled(x, ops.convert_to_tensor(real), 2))[0], expected)


def test_what_stands_at_padding_is_not_pooled():
    """Nor does it matter how much padding there is."""
    model, batch = model_of("funnel"), batch_of()
    segments = {f"{side}_segments": (ids > 0).astype("int32") for side, ids in batch.items()}
    call = compiled(model, model)
    before = np.array(call({**batch, **segments}))
    memory, _ = model.start_decoding(ops.convert_to_tensor(batch["inputs"]), TARGETS)
    assert memory.context.memory.shape[1] == 4
    changed = {**batch, "inputs": np.where(batch["inputs"] == 0, 99, batch["inputs"])}
    np.testing.assert_allclose(np.array(call({**changed, **segments})), before, atol=1e-5)
    longer = {**batch, "inputs": np.pad(batch["inputs"], ((0, 0), (0, 8)))}
    np.testing.assert_allclose(np.array(call(longer)), before, atol=1e-5)


@pytest.mark.parametrize("length, blocks", [(7, 2), (6, 3)])
def test_inputs_that_can_not_be_halved_are_refused(length, blocks):
    model = model_of("funnel", funnel_blocks=blocks)
    with pytest.raises(ConfigurationError, match=f"{length} long; a multiple of {2 ** (blocks - 1)} is accepted"):
        model(batch_of(inputs=length))
