import pytest

from scalecli.architectures import ARCHITECTURES, build_spec
from scalecli.costs.hardware import Machine
from scalecli.costs.layout import local_weights
from scalecli.errors import ConfigurationError
from scalecli.shape import parse_name, presets

ALL = [(name, size) for name in ARCHITECTURES for size in presets(name)]


def spec_of(name, architecture="transformer"):
    return build_spec(architecture, parse_name(name, architecture))


def parameters_of_a_device(spec, machine):
    return sum(weight.size for weight in local_weights(spec, machine))


@pytest.mark.parametrize(("architecture", "size"), ALL)
def test_one_device_holds_the_whole_model(architecture, size):
    spec = spec_of(size, architecture)
    assert parameters_of_a_device(spec, Machine("h100", 1)) == spec.parameters()


@pytest.mark.parametrize(("name", "architecture"), [("small-sh", "transformer"), ("small-skv", "transformer")])
def test_so_it_does_with_shared_heads(name, architecture):
    spec = spec_of(name, architecture)
    assert parameters_of_a_device(spec, Machine("h100", 1)) == spec.parameters()


def test_heads_d_ff_and_vocabulary_are_split_and_norms_are_not():
    spec = spec_of("large")
    d_model = 1024
    norms = d_model * sum(max(copies, 1) for path, (copies, _) in spec.weights().items() if path.endswith("scale"))
    assert parameters_of_a_device(spec, Machine("tpu-v3", 16, 2)) == (spec.parameters() - norms) / 2 + norms


@pytest.mark.parametrize("architecture", ["lconv", "dconv"])
def test_what_is_d_model_wide_on_both_sides_is_not_split(architecture):
    spec = spec_of("base", architecture)
    whole, half = (parameters_of_a_device(spec, Machine("h100", 4, parallel)) for parallel in (1, 2))
    kept = sum(
        max(copies, 1) * weight.size
        for path, (copies, weight) in spec.weights().items()
        if "/mixing/" in path or path.endswith("scale")
    )
    assert half == (whole - kept) / 2 + kept


def test_experts_are_spread_over_the_replicas():
    spec = spec_of("base", "switch")
    whole, spread = (list(local_weights(spec, Machine("h100", count))) for count in (1, 8))
    assert [weight.whole for weight in whole] == [weight.whole for weight in spread]
    for one, other in zip(whole, spread, strict=True):
        experts = len(one.whole) == 3
        assert other.spread == experts and one.spread is False
        assert other.size == (one.size // 8 if experts else one.size)


def test_no_more_replicas_share_experts_than_there_are():
    spec = spec_of("tiny", "switch")  # 32 experts
    held = {weight.local[0] for weight in local_weights(spec, Machine("tpu-v3", 32)) if weight.spread}
    assert held == {1}


def test_a_shared_head_is_on_every_device():
    spec = spec_of("small-sh")
    shapes = {(weight.whole, weight.local) for weight in local_weights(spec, Machine("h100", 2, 2))}
    keys_and_values, queries = ((512, 64), (512, 64)), ((512, 512), (512, 256))
    assert keys_and_values in shapes and queries in shapes


@pytest.mark.parametrize(
    ("name", "architecture", "parallel", "message"),
    [
        ("base", "transformer", 8, "--model-parallel 8 does not divide heads 12"),
        ("small", "glu", 2, "--model-parallel 2 does not divide d_ff 1365"),
        ("xl", "transformer", 1024, "heads 32|vocabulary 32128"),
    ],
)
def test_what_does_not_divide_is_refused(name, architecture, parallel, message):
    with pytest.raises(ConfigurationError, match=message):
        list(local_weights(spec_of(name, architecture), Machine("tpu-v3", 512, parallel)))
