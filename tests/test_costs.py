import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalecli import costs
from scalecli.architectures import ARCHITECTURES, build_spec
from scalecli.costs import Batch, adafactor_bytes, adafactor_state_size, factored_axes, flops, weights_bytes
from scalecli.shape import OPERATORS, apply_operators, parse_name, presets
from scalecli.specs import Weight

PAPER_BATCH = costs.BATCHES["paper"]
names = st.sampled_from(list(ARCHITECTURES))
operators = st.dictionaries(st.sampled_from(list(OPERATORS)), st.integers(1, 4096))


def spec_of(name, architecture="transformer"):
    return build_spec(architecture, parse_name(name, architecture))


@pytest.mark.parametrize(
    ("name", "architecture", "printed"),
    [
        ("tiny", "transformer", 1.20e12),
        ("small", "transformer", 3.70e12),
        ("base", "transformer", 11.4e12),
        ("large", "transformer", 34.3e12),
        ("tiny", "glu", 1.29e12),
        ("small", "glu", 3.70e12),
        ("base", "glu", 11.4e12),
    ],
)
def test_the_paper_convention_gives_the_papers_figures(name, architecture, printed):
    total = sum(flops(spec_of(name, architecture), PAPER_BATCH, "paper").values())
    assert total == pytest.approx(printed, rel=0.015)


def test_forward_is_twice_the_multiply_adds_that_are_done():
    spec, batch = spec_of("small"), Batch(2, 16, 8)
    counts = spec.multiply_adds(16, 8)
    forward = flops(spec, batch, "forward")
    assert set(forward) == {"attention projections", "attention scores", "feed-forward", "logits"}
    assert all(forward[component] == 2 * 2 * counts[component] for component in forward)
    assert flops(spec, batch, "training") == {component: 3 * count for component, count in forward.items()}
    assert flops(spec, batch, "paper") == {component: 2 * counts[component] for component in costs.COMPONENTS}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_component_is_left_out_of_the_total(architecture):
    assert set(spec_of("tiny", architecture).multiply_adds(512, 114)) == set(costs.COMPONENTS)


@given(architecture=names, changes=operators, batch=st.builds(Batch, *[st.integers(1, 4096)] * 3))
def test_costs_are_positive_integers(architecture, changes, batch):
    spec = build_spec(architecture, apply_operators(presets(architecture)["tiny"], changes))
    counts = [count for convention in costs.CONVENTIONS for count in flops(spec, batch, convention).values()]
    for cost in [*counts, spec.parameters(), weights_bytes(spec), adafactor_bytes(spec)]:
        assert type(cost) is int and cost > 0


@given(architecture=names, changes=operators, operator=st.sampled_from(list(OPERATORS)), more=st.integers(1, 1000))
def test_a_larger_value_of_any_operator_costs_more(architecture, changes, operator, more):
    smaller = apply_operators(presets(architecture)["tiny"], changes)
    value = min(getattr(smaller, field) for field in OPERATORS[operator])
    base, larger = (apply_operators(smaller, {operator: size}) for size in (value, value + more))
    a, b = build_spec(architecture, base), build_spec(architecture, larger)
    assert a.parameters() < b.parameters() and weights_bytes(a) < weights_bytes(b)
    for convention in costs.CONVENTIONS:
        assert sum(flops(a, Batch(), convention).values()) < sum(flops(b, Batch(), convention).values())


@pytest.mark.parametrize("changes", [{"sequences": 129}, {"inputs": 513}, {"targets": 115}])
def test_a_larger_batch_costs_more(changes):
    for convention in costs.CONVENTIONS:
        larger = flops(spec_of("tiny"), Batch(**changes), convention)
        assert sum(larger.values()) > sum(flops(spec_of("tiny"), Batch(), convention).values())


def test_weights_are_float32():
    assert weights_bytes(spec_of("tiny")) == 4 * 15_570_688


@pytest.mark.parametrize(
    ("shape", "axes", "size"),
    [
        ((512,), None, 512),
        ((8, 32), None, 256),
        ((127, 4096), None, 127 * 4096),
        ((128, 4096), (1, 0), 128 + 4096),
        ((512, 512), (0, 1), 1024),
        ((4, 256, 512), (2, 1), 4 * 256 + 4 * 512),
    ],
)
def test_adafactor_factors_matrices_with_two_wide_axes(shape, axes, size):
    assert factored_axes(shape) == axes
    assert adafactor_state_size(Weight(shape, None)) == size


def test_adafactor_state_of_tiny_by_hand():
    # 4 norms-free matrices of an attention: 256 x 256 each, so 512 numbers; the feed-forward's two: 1280 each.
    attention, feed_forward, norm, bias = 4 * 512, 2 * 1280, 256, 4 * 32
    encoder = 4 * (attention + feed_forward + 2 * norm) + norm + bias
    decoder = 4 * (2 * attention + feed_forward + 3 * norm) + norm + bias
    assert adafactor_bytes(spec_of("tiny")) == 4 * (encoder + decoder + 32128 + 256)


def test_the_state_of_a_wide_model_is_a_small_part_of_its_weights():
    assert adafactor_bytes(spec_of("base")) < weights_bytes(spec_of("base")) / 400
