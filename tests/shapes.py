"""Shapes to try properties on: operators that make one an architecture can be built at."""

from hypothesis import strategies as st

from scalecli.architectures import IMAGE_ARCHITECTURES, KNOBS, named
from scalecli.architectures.operators import operators

# What an architecture takes only some numbers of: (first, step). Funnel's three blocks need as many layers.
STEPS = {
    **{("evolved", "dm"): (2, 2), ("lconv", "nt"): (1, 2), ("dconv", "nt"): (1, 2)},
    **{("switch", code): (2, 2) for code in ("nl", "el", "dl")},
    **{("funnel", "nl"): (3, 1), ("funnel", "el"): (3, 1)},
}


def operators_of(architecture):
    """The operators that an architecture knows, by their codes."""
    others = set(KNOBS) - {knob.name for knob in named(architecture).knobs}
    if architecture in IMAGE_ARCHITECTURES:
        others.add("decoder_layers")
    return {code: operator for code, operator in operators().items() if not others.issuperset(operator.fields)}


def values(architecture, code, largest):
    """Values of one operator."""
    accepted = operators()[code].values
    if accepted is bool:
        return st.just(True)
    if accepted is not int:
        own = named(architecture).defaults.get(operators()[code].fields[0])
        return st.sampled_from([word for word in accepted if word != own])
    if code == "fb":
        return st.integers(1, 3)
    first, step = STEPS.get((architecture, code), (1, 1))
    return st.integers(0, (largest - first) // step).map(lambda number: first + number * step)


def changes(architecture, largest=4096):
    """Operators with values, of those that the architecture knows; numbers up to `largest`."""
    drawn = st.fixed_dictionaries(
        {}, optional={code: values(architecture, code, largest) for code in operators_of(architecture)}
    )
    if architecture != "transformer":
        return drawn
    # Stacks that share their layers have equally many.
    return drawn.map(lambda each: {code: each[code] for code in each if "ss" not in each or code not in ("el", "dl")})
