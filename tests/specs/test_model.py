import pytest

from scalecli.architectures import TEXT_ARCHITECTURES, build_spec
from scalecli.errors import ConfigurationError
from scalecli.shape import parse_name


def spec_of(architecture, name):
    return build_spec(architecture, parse_name(name, architecture))


@pytest.mark.parametrize("architecture", TEXT_ARCHITECTURES)
def test_weights_add_up(architecture):
    spec = spec_of(architecture, "tiny-el4-dl2")
    weights = spec.weights()
    assert sum(max(layers, 1) * weight.size for layers, weight in weights.values()) == spec.parameters()
    assert {path.split("/")[0] for path in weights} <= {"embedding", "encoder", "decoder", "logits"}
    assert weights["embedding/table"][0] == 0
    inside = [weight.size for path, (_, weight) in weights.items() if path.startswith(("embedding/", "logits/"))]
    assert sum(inside) == spec.embedding_parameters() < spec.parameters()


@pytest.mark.parametrize(
    ("architecture", "encoder", "decoder"),
    [
        *[(name, [4], [2]) for name in TEXT_ARCHITECTURES if name not in ("switch", "funnel", "albert")],
        ("switch", [2], [1]),  # pairs
        ("funnel", [2, 1, 1], [2]),
        ("albert", [0], [0]),  # one layer's weights
    ],
)
def test_layers_own_their_weights(architecture, encoder, decoder):
    weights = spec_of(architecture, "tiny-el4-dl2").weights()
    for side, expected in (("encoder", encoder), ("decoder", decoder)):
        owners = {
            number: {layers for path, (layers, _) in weights.items() if path.startswith(f"{side}/{number}/")}
            for number in range(len(expected))
        }
        assert owners == {number: {layers} for number, layers in enumerate(expected)}
        assert not any(path.startswith(f"{side}/{len(expected)}/") for path in weights)


def test_shared_stacks_have_the_decoders_weights():
    shared, separate = (spec_of("albert", name).weights() for name in ("tiny-ss", "tiny"))
    assert not any(path.startswith("encoder/") for path in shared)
    assert set(shared) == {path for path in separate if not path.startswith("encoder/")}


def test_a_stack_multiplies_its_block_by_its_layers():
    one, two, three = (spec_of("transformer", f"tiny-el{layers}").encoder.multiply_adds(7, 7) for layers in (1, 2, 3))
    for component in ("attention projections", "attention scores", "feed-forward"):
        assert (two[component], three[component]) == (2 * one[component], 3 * one[component])
    assert three["elementwise"] - two["elementwise"] == two["elementwise"] - one["elementwise"] == 2 * 4 * 7 * 256


def test_a_recurrence_multiplies_the_whole_stack_by_its_passes():
    basic, act = (spec_of("universal", f"base-{kind}-nr3").multiply_adds(16, 8) for kind in ("basic", "act"))
    once = spec_of("universal", "base-basic-nr1").multiply_adds(16, 8)
    assert basic["feed-forward"] == 3 * once["feed-forward"]
    assert act["feed-forward"] == 4 * once["feed-forward"]
    assert (once["recurrence"], basic["recurrence"], act["recurrence"]) == (0, 0, 4 * (16 + 8) * 768)


def test_funnel_layers_behind_a_pooling_see_half_the_positions():
    funnel, plain = (spec_of(name, "base").multiply_adds(512, 8) for name in ("funnel", "transformer"))
    decoder = spec_of("funnel", "base").decoder.multiply_adds(8, 128)
    # Four layers at each of 512, 256 and 128 positions, where the Transformer has twelve at 512.
    encoder = 2 * 768 * 3072 * 4 * (512 + 256 + 128)
    assert funnel["feed-forward"] - decoder["feed-forward"] == encoder
    assert plain["feed-forward"] - decoder["feed-forward"] == 2 * 768 * 3072 * 12 * 512


@pytest.mark.parametrize(
    ("architecture", "inputs", "message"),
    [
        ("funnel", 510, "pools its inputs by 4, and they are 510 long; a multiple of 4 is accepted"),
        ("mixer", 513, "512 input positions, and the inputs are 513 long; shorter inputs or --positions 513"),
    ],
)
def test_inputs_that_cannot_be(architecture, inputs, message):
    spec = spec_of(architecture, "tiny")
    with pytest.raises(ConfigurationError, match=message):
        spec.multiply_adds(inputs, 8)


@pytest.mark.parametrize("architecture", TEXT_ARCHITECTURES)
def test_packing_is_refused_where_examples_cannot_be_kept_apart(architecture):
    reason = spec_of(architecture, "tiny").why_not_packed()
    if architecture in ("evolved", "lconv", "dconv", "mixer", "funnel", "performer"):
        assert "examples" in reason or "positions" in reason
    else:
        assert reason is None


def test_a_funnel_of_one_block_may_be_packed():
    assert spec_of("funnel", "tiny-fb1").why_not_packed() is None
