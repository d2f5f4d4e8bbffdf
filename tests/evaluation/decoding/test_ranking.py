import numpy as np
import pytest
from keras import ops

from scalecli.architectures import build_spec
from scalecli.evaluation.decoding.ranking import label_ranker
from scalecli.models.encoder_decoder import EncoderDecoder, token_losses
from scalecli.shape import Shape

SHAPE = Shape(encoder_layers=1, decoder_layers=1, d_model=16, d_ff=32, d_kv=8, heads=2, vocabulary=64)
LABELS = [np.array(ids, np.int32) for ids in ([7, 1], [9, 1], [12, 8, 1])]


@pytest.fixture(scope="module")
def model():
    model = EncoderDecoder(build_spec("transformer", SHAPE))
    random = np.random.default_rng(0)
    for variable in model.variables:  # as it starts, the model gives all texts of a length much the same
        variable.assign(2 * random.normal(size=variable.shape))
    return model


def test_the_likeliest_label_is_chosen(model):
    draw = np.random.default_rng(1)
    inputs = draw.integers(2, 64, (12, 10)).astype(np.int32)
    inputs[3, 6:] = 0
    losses = np.zeros((12, 3))
    for place, label in enumerate(LABELS):  # each label by itself, without padding
        targets = np.tile(label, (12, 1))
        of_tokens = token_losses(model({"inputs": ops.convert_to_tensor(inputs), "targets": targets}), targets)
        losses[:, place] = np.asarray(ops.sum(of_tokens, axis=1))
    assert len(set(losses.argmin(axis=1).tolist())) > 1
    assert label_ranker(model, LABELS)(inputs).tolist() == losses.argmin(axis=1).tolist()
