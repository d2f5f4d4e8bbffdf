import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalecli import costs
from scalecli.architectures import TEXT_ARCHITECTURES, build_spec
from scalecli.architectures.operators import operators
from scalecli.costs import Batch, adafactor_bytes, adafactor_state_size, factored_axes, flops, weights_bytes
from scalecli.shape import apply_operators, parse_name, presets
from tests.shapes import STEPS, changes, operators_of

PAPER_BATCH = costs.BATCHES["paper"]


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
    paper = flops(spec, batch, "paper")
    assert paper == {component: 2 * counts[component] for component in paper}
    assert set(paper) == {*forward, "embedding", "elementwise", "products"}


@pytest.mark.parametrize("architecture", TEXT_ARCHITECTURES)
def test_no_component_is_left_out_of_the_total(architecture):
    spec = spec_of("tiny", architecture)
    assert set(spec.multiply_adds(512, 114)) <= set(costs.COMPONENTS)
    assert set().union(*(flops(spec, Batch(), name) for name in costs.CONVENTIONS)) == set(spec.multiply_adds(512, 114))


def test_every_component_is_one_of_some_architecture():
    components = set().union(*(spec_of("tiny", name).multiply_adds(512, 114) for name in TEXT_ARCHITECTURES))
    assert components == set(costs.COMPONENTS)


@pytest.mark.parametrize(
    ("architecture", "repeated"),
    [
        ("transformer", {"elementwise"}),
        ("evolved", {"elementwise", "convolutions"}),
        ("dconv", {"elementwise", "convolutions"}),
        ("switch", {"elementwise", "router"}),
        ("universal", {"elementwise", "recurrence"}),
        ("albert", {"elementwise", "embedding projections"}),
    ],
)
def test_the_papers_count_what_each_core_repeats(architecture, repeated):
    spec = spec_of("tiny", architecture)
    one, eight = (flops(spec, PAPER_BATCH, "paper", model_parallel) for model_parallel in (1, 8))
    assert {name: count // one[name] for name, count in eight.items()} == {
        name: 8 if name in repeated else 1 for name in one
    }
    for convention in ("forward", "training"):
        assert flops(spec, Batch(), convention, 8) == flops(spec, Batch(), convention)


def fitting_batch(architecture, operators, draw):
    """A batch whose inputs the architecture can have."""
    sequences, inputs, targets = (draw(st.integers(1, 4096)) for _ in range(3))
    if architecture == "funnel":
        inputs *= 4
    if architecture == "mixer":
        inputs = min(inputs, operators.get("np", 512))
    return Batch(sequences, inputs, targets)


@pytest.mark.parametrize("architecture", TEXT_ARCHITECTURES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_costs_are_positive_integers(architecture, data):
    operators = data.draw(changes(architecture))
    batch = fitting_batch(architecture, operators, data.draw)
    spec = build_spec(architecture, apply_operators(presets(architecture)["tiny"], operators, architecture))
    counts = [count for convention in costs.CONVENTIONS for count in flops(spec, batch, convention).values()]
    for cost in [*counts, spec.parameters(), spec.embedding_parameters(), weights_bytes(spec), adafactor_bytes(spec)]:
        assert type(cost) is int and cost > 0


MORE, SAME, LESS = 1, 0, -1
# How parameters, FLOPs that are done, and the papers' FLOPs change with a larger value, where not all of them grow.
EXCEPTIONS = {
    # Layers share their weights.
    **{("albert", code): (SAME, MORE, MORE) for code in ("nl", "el", "dl")},
    # Encoder and decoder share theirs.
    **{(name, "ss"): (LESS, SAME, SAME) for name in ("albert", "transformer")},
    # The same layers are run more often; a highway has a gate for each time.
    ("universal", "nr"): (None, MORE, MORE),
    # Later blocks see fewer positions.
    ("funnel", "fb"): (SAME, LESS, LESS),
    # A token goes to one expert, however many there are; only the router grows, and places are rounded to whole tokens.
    ("switch", "ne"): (MORE, None, None),
    # The products of learned taps are element by element, which only the papers count.
    ("lconv", "nt"): (MORE, SAME, MORE),
    # Shorter inputs take the first rows of the matrices.
    ("mixer", "np"): (MORE, SAME, SAME),
}
for name in TEXT_ARCHITECTURES:
    # Fewer projections. What shared heads leave is smaller only where there are several.
    EXCEPTIONS.update({(name, code): (LESS, LESS, LESS) for code in ("sh", "skv", "shkv")})

KNOBS = [
    (architecture, code)
    for architecture in TEXT_ARCHITECTURES
    for code in operators_of(architecture)
    if not isinstance(operators()[code].values, tuple)
]


OPERATORS = operators()


@pytest.mark.parametrize(("architecture", "code"), KNOBS)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_costs_grow_with_every_knob(architecture, code, data):
    operators = {name: value for name, value in data.draw(changes(architecture, 512)).items() if name != code}
    if code in ("sh", "skv", "shkv"):
        operators = {name: value for name, value in operators.items() if name not in ("sh", "skv", "shkv")}
        operators["nh"] = max(operators.get("nh", 2), 2)
    if code in ("el", "dl", "ss"):  # the Transformer's stacks that share their layers have equally many
        operators = {name: value for name, value in operators.items() if name not in ("el", "dl", "ss")}
    if code == "fb":
        operators["nl"] = data.draw(st.integers(4, 64))
        operators.pop("el", None)
    smaller = apply_operators(presets(architecture)["tiny"], operators, architecture)
    if OPERATORS[code].values is bool:
        larger = apply_operators(smaller, {code: True}, architecture)
    else:
        field, step = OPERATORS[code].fields[0], STEPS.get((architecture, code), (1, 1))[1]
        value = getattr(smaller, field) + step * data.draw(st.integers(1, 1 if code == "fb" else 1000))
        smaller = apply_operators(smaller, {code: getattr(smaller, field)}, architecture)  # NL: both stacks alike
        larger = apply_operators(smaller, {code: value}, architecture)
    batch = Batch(2, 8 * 2 ** (larger.funnel_blocks or 0), 4)
    batch = Batch(2, min(batch.inputs, smaller.positions or batch.inputs), 4)
    before, after = (
        (each.parameters(), *(sum(flops(each, batch, name).values()) for name in ("forward", "paper")))
        for each in (build_spec(architecture, shape) for shape in (smaller, larger))
    )
    changes_of_costs = zip(before, after, EXCEPTIONS.get((architecture, code), (MORE,) * 3), strict=True)
    for small, large, expected in changes_of_costs:
        if expected is not None:
            assert (large > small) - (large < small) == expected


@pytest.mark.parametrize(("kind", "grows"), [("act", False), ("basic", False), ("gated", False), ("highway", True)])
def test_only_a_highway_has_more_parameters_when_layers_are_run_more_often(kind, grows):
    three, four = (spec_of(f"base-{kind}-nr{times}", "universal").parameters() for times in (3, 4))
    assert (four > three) is grows and four >= three


def test_more_experts_cost_about_as_much():
    one, many = (sum(flops(spec_of(f"base-ne{n}", "switch"), Batch(), "forward").values()) for n in (8, 128))
    assert many == pytest.approx(one, rel=0.01)


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
    assert adafactor_state_size(shape) == size


def test_adafactor_state_of_tiny_by_hand():
    # 4 norms-free matrices of an attention: 256 x 256 each, so 512 numbers; the feed-forward's two: 1280 each.
    attention, feed_forward, norm, bias = 4 * 512, 2 * 1280, 256, 4 * 32
    encoder = 4 * (attention + feed_forward + 2 * norm) + norm + bias
    decoder = 4 * (2 * attention + feed_forward + 3 * norm) + norm + bias
    assert adafactor_bytes(spec_of("tiny")) == 4 * (encoder + decoder + 32128 + 256)


def test_the_state_of_a_wide_model_is_a_small_part_of_its_weights():
    assert adafactor_bytes(spec_of("base")) < weights_bytes(spec_of("base")) / 400
