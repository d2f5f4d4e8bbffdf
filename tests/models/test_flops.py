"""The specs' FLOPs against those that XLA counts in the compiled forward pass."""

import keras
import numpy as np
import pytest

from scalecli import costs
from scalecli.architectures import TEXT_ARCHITECTURES
from scalecli.models.encoder_decoder import EncoderDecoder
from tests import oracle

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX lets XLA's count be read")

# XLA counts the body of a loop once, so there is one layer of each kind and one pass.
ONE_OF_EACH = {
    "switch": {"encoder_layers": 2, "decoder_layers": 2, "experts": 2},
    "universal": {"recurrence": 1, "recurrence_type": "basic"},
    "mos": {"softmaxes": 1},
    "mixer": {"positions": 256},
    "funnel": {"encoder_layers": 2, "funnel_blocks": 2},
    "lconv": {"taps": 7},
    "dconv": {"taps": 7},
    "albert": {"embedding_size": 128, "shared_stacks": False},
}
# Wide and long enough for what only XLA counts (softmax, norms, activations) to vanish beside the products.
WIDE = {"d_model": 512, "d_ff": 2048, "d_kv": 64, "heads": 8, "vocabulary": 4096}
BATCH = costs.Batch(sequences=4, inputs=256, targets=128)


@pytest.mark.parametrize("architecture", TEXT_ARCHITECTURES)
def test_flops_are_those_that_xla_counts(architecture):
    import jax

    fields = {"encoder_layers": 1, "decoder_layers": 1, **WIDE, **ONE_OF_EACH.get(architecture, {})}
    spec = oracle.small_spec(architecture, **fields)
    model = EncoderDecoder(spec)
    variables = model.variables

    def forward(values, inputs, targets):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return model.outputs({"inputs": inputs, "targets": targets}, dropout_seed=0).logits

    ids = [np.ones((BATCH.sequences, length), "int32") for length in (BATCH.inputs, BATCH.targets)]
    compiled = jax.jit(forward).lower([variable.value for variable in variables], *ids).compile()
    counted = compiled.cost_analysis()["flops"]
    within = 0.02 if architecture in ("transformer", "glu") else 0.03
    assert sum(costs.flops(spec, BATCH, "forward").values()) == pytest.approx(counted, rel=within)
