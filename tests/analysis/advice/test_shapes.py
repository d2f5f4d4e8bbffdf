import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalecli.analysis.advice.shapes import (
    COSTS,
    DEEPEST,
    Setting,
    candidates,
    nearest_published,
    published_alternatives,
    shape_cost,
)
from scalecli.architectures import TEXT_ARCHITECTURES
from scalecli.costs import Batch
from scalecli.costs.hardware import Machine
from scalecli.costs.memory import Training
from scalecli.errors import ConfigurationError
from scalecli.shape import parse_name, presets

PAPERS = Setting(Machine(), Training(), Batch())
AT_LEAST_ONE = {"parameters": 1e9, "flops": 3e13, "memory": 8e9, "steps/s": 3.0}


def candidates_for(architecture="transformer", **budgets):
    return candidates(architecture, {name.replace("_per_", "/"): limit for name, limit in budgets.items()}, PAPERS)


def test_eight_teraflops():
    """Deeper than a published shape before that shape, and what nobody published last."""
    assert [candidate.name for candidate in candidates_for(flops=8e12)][:6] == [
        *("small-nl18", "small-nl16", "small-el23", "small", "mini-nl28", "mini-nl8"),
    ]
    assert [candidate.score for candidate in candidates_for(flops=8e12)][:6] == [
        78.73,
        78.73,
        73.57,
        73.57,
        73.52,
        73.52,
    ]
    assert candidates_for(flops=8e12)[-1].name == "tiny"


def test_the_deepest_that_the_budget_allows():
    by_name = {candidate.name: candidate for candidate in candidates_for(flops=8e12)}
    assert 0.95 < by_name["small-nl18"].used <= 1
    assert shape_cost("transformer", parse_name("small-nl19"), "flops", PAPERS) > 8e12
    assert by_name["small-nl18"].costs["flops"] == pytest.approx(7.85e12, rel=0.01)


def test_depth_ends_where_returns_diminish():
    deepest = next(candidate for candidate in candidates_for(parameters=1e10) if candidate.name.startswith("small-nl"))
    assert deepest.shape.encoder_layers == DEEPEST
    assert {candidate.shape.encoder_layers for candidate in candidates_for("evolved", parameters=1e9)} <= set(
        range(DEEPEST // 2 + 1)
    )


def test_a_larger_budget_goes_to_depth_before_width():
    """Small with 24 layers, which the paper trained, comes before base, which costs more."""
    names = [candidate.name for candidate in candidates_for(parameters=230e6)]
    assert names.index("small-nl24") < names.index("base")
    assert names[0].startswith("small-nl")


def test_evidence_is_said_to_be_what_it_is():
    by_name = {candidate.name: candidate for candidate in candidates_for(flops=8e12)}
    assert by_name["small-nl16"].evidence == "its own"
    assert by_name["small-nl18"].evidence == "nowhere smaller than small-nl16; within 10%: small-nl16 78.73"
    assert by_name["small-el23"].evidence == "nowhere smaller than small; none published within 10%"
    assert by_name["tiny-nl36"].evidence == "none published within 10%" and by_name["tiny-nl36"].score is None


def test_a_shape_stands_on_the_best_that_it_contains():
    wide_and_deep = next(
        candidate for candidate in candidates_for(parameters=8e8, steps_per_s=4) if candidate.name == "base-nl32"
    )
    assert "nowhere smaller than small-nl24" in wide_and_deep.evidence and wide_and_deep.score == 79.92


def test_scores_of_other_architectures_are_their_own():
    glu = candidates_for("glu", flops=8e12)
    assert glu[0].evidence.startswith("nowhere smaller than glu-small")
    assert glu[0].score == pytest.approx((79.1 + 67.4 + 83.0) / 3)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("architecture", TEXT_ARCHITECTURES)
def test_every_candidate_meets_the_budget(architecture, cost):
    shapes = candidates(architecture, {cost: AT_LEAST_ONE[cost]}, PAPERS)
    assert shapes
    for candidate in shapes:
        value = shape_cost(architecture, candidate.shape, cost, PAPERS)
        assert value == candidate.costs[cost]
        assert value >= AT_LEAST_ONE[cost] if cost == "steps/s" else value <= AT_LEAST_ONE[cost]
        assert parse_name(candidate.name, architecture) == candidate.shape


@settings(max_examples=20, deadline=None)
@given(parameters=st.floats(1e7, 1e10), flops=st.floats(1e12, 1e14))
def test_several_budgets_at_once(parameters, flops):
    shapes = candidates_for(parameters=parameters, flops=flops)
    for candidate in shapes:
        shares = candidate.costs["parameters"] / parameters, candidate.costs["flops"] / flops
        assert candidate.used == pytest.approx(max(shares)) and candidate.used <= 1
    scores = [-1 if candidate.score is None else candidate.score for candidate in shapes]
    assert scores == sorted(scores, reverse=True)
    assert len({candidate.shape for candidate in shapes}) == len(shapes)


def test_nothing_is_as_cheap_as_that():
    assert candidates_for(parameters=1e3) == []


def test_a_machine_that_can_train_none_meets_no_budget_of_memory():
    odd = Setting(Machine("tpu-v3", 7), Training(), Batch())
    assert candidates("transformer", {"memory": 1e12}, odd) == []
    assert candidates("transformer", {"parameters": 1e8}, odd)[0].costs["memory"] is None


def like(name, cost, architecture="transformer"):
    every = published_alternatives(architecture, parse_name(name, architecture), cost, PAPERS)
    return [(alternative.model.name, alternative.difference) for alternative in every]


def test_cheaper_than_base():
    """Table 4 of Scale Efficiently: all but small-nl16 are better than base, and that is offered all the same."""
    assert like("base", "parameters") == [
        ("base", None),
        ("small-el32", pytest.approx(0.65)),
        ("small-nl20", pytest.approx(0.14)),
        ("small-nl22", pytest.approx(0.38)),
        ("small-nl24", pytest.approx(0.76)),
        ("small-nl16", pytest.approx(-0.43)),
        ("transformer-base", None),
    ]
    changes = published_alternatives("transformer", presets()["base"], "parameters", PAPERS)
    assert changes[4].change == pytest.approx(193e6 / 223e6 - 1, abs=0.01)


def test_cheaper_than_large_and_xl():
    assert [name for name, _ in like("large", "flops")] == ["large", "base-nl36", "transformer-large"]
    assert [name for name, _ in like("xl", "flops")] == ["xl", "large-nl36", "transformer-xl", "glu-xl"]


def test_faster_is_cheaper():
    alternatives = published_alternatives("transformer", presets()["small"], "steps/s", PAPERS)
    assert [candidate.model.name for candidate in alternatives] == ["small", "mini-nl8", "transformer-small"]
    assert alternatives[1].change > 0 > alternatives[1].difference


def test_only_models_of_the_same_table_are_compared():
    alternatives = published_alternatives("switch", presets("switch")["base"], "flops", PAPERS)
    assert {candidate.model.source for candidate in alternatives} == {"architectures"}
    assert [candidate.model.name for candidate in alternatives] == ["switch-base", "glu-base"]


def test_what_is_not_published_has_no_alternatives():
    assert like("base-nl14", "flops") == []


def test_a_cost_that_is_not_known_says_why():
    with pytest.raises(ConfigurationError, match="--model-parallel 8 does not divide heads 12"):
        published_alternatives(
            "transformer", presets()["base"], "memory", Setting(Machine("h100", 8, 8), Training(), Batch())
        )


def test_nearest():
    assert nearest_published("transformer", parse_name("small-nl17")) == "within 10%: small-nl16 78.73"
    assert nearest_published("transformer", parse_name("tiny-nl12")) == "none published within 10%"
