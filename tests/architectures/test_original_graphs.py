"""Parameters and FLOPs against the graphs of the papers' original code, where the environment says that they lie."""

import re
from pathlib import Path

import pytest
import yaml

from scalecli.architectures import build_spec
from scalecli.costs import Batch, flops
from scalecli.shape import parse_name
from tests.oracle import FOLDER, needs_oracle

GROUPS = ("paper1_and_vanilla", "d_kv_32", "paper2_graphs", "paper2_graphs_model_parallel_counter")
EVEN = "|".join(re.escape(blocks) for blocks in ("2, 2", "3, 3", "6, 6", "12, 12"))  # spread as our funnel does
THIRDS = "|".join(re.escape(blocks) for blocks in ("2, 1, 1", "2, 2, 2", "4, 4, 4", "8, 8, 8"))
# Their name of a graph, by group: the architecture and our name of its shape. What is not here is no shape of ours.
SHAPES = [
    (r"paper1_and_vanilla/(tiny|mini|small|base|large|xl|xxl|xxxl)", "transformer", r"\1"),
    (r"paper1_and_vanilla/(mini|small|base|large|xl)(\d+)L", "transformer", r"\1-nl\2"),
    (r"paper1_and_vanilla/small32EL", "transformer", "small-el32"),
    (r"paper1_and_vanilla/nl12xxl", "transformer", "xxl-nl12"),
    (r"d_kv_32/(\w+)", "transformer", r"\1-kv32"),
    (r"\w+/glu/(tiny|small|base|large)/dff(\d+)", "glu", r"\1-ff\2"),
    (r"\w+/glu/xl/dff(\d+)", "glu", r"xl-dm1024-kv128-ff\1"),
    (r"\w+/(?:t511|glu/)(large|xl)(?: t5.1.1)?(?: B64)?", "glu", r"\1"),
    (r"\w+/t511small \(8L,ff1024,6h\)", "glu", "small-nl8-ff1024-nh6"),
    (r"\w+/mos15/(\w+)/tied relu", "mos", r"\1"),
    (r"\w+/albert/(\w+)/E(\d+)", "albert", r"\1-nh{heads}-ff{d_ff}-es\2-ss"),
    (r"\w+/albert-sep/(\w+)/E(\d+)", "albert", r"\1-nh{heads}-ff{d_ff}-es\2"),
    (r"\w+/albert-sep small 12h ff3072", "albert", "small"),
    (r"\w+/albert-sep small 12L 8h ff2048", "albert", "small-nl12-nh8-ff2048"),
    (r"\w+_counter/albert-sep/large", "albert", "large"),
    (r"\w+_counter/albert-shared/large", "albert", "large-ss"),
    (r"\w+/evolved/(\w+)/(\d),(\d)", "evolved", r"\1-el\2-dl\3"),
    (r"\w+/(lconv|dconv)/(\w+)/(?:both/)?(\d),(\d)", r"\1", r"\2-nt7-el\3-dl\4"),
    (r"\w+/dconv15/(\w+)/(\d),(\d)", "dconv", r"\1-nt15-el\2-dl\3"),
    (r"\w+/switch/(\w+)/train/gs1024", "switch", r"\1"),
    (rf"\w+/funnel/(\w+)/\[(?:{EVEN})\]", "funnel", r"\1-fb2"),
    (rf"\w+/funnel/(\w+)/\[(?:{THIRDS})\](?: B64)?", "funnel", r"\1"),
    (r"\w+_counter/funnel/(\w+) 8,8,8(?: B64)?", "funnel", r"\1"),
    (r"\w+/ut/(\w+)/(basic|act|highway)/layers(\d)", "universal", r"\1-\2-nl\3"),
    (r"\w+/ut/small dkv64/act/layers4", "universal", "small-kv64-act-nl4"),
    (r"\w+_counter/ut/large/act/1", "universal", "large"),
]


def facts():
    return yaml.safe_load((Path(FOLDER) / "facts.yaml").read_text()) if FOLDER else {}


def shape_of(graph):
    """(architecture, shape) of a graph by its name, or None where it is no shape of ours."""
    for pattern, architecture, name in SHAPES:
        match = re.fullmatch(pattern, graph)
        if match:
            architecture, name = match.expand(architecture), match.expand(name)
            if "{" in name:  # of the size itself, where ours differs
                name = name.format(**vars(parse_name(name.split("-")[0])))
            return architecture, parse_name(name, architecture)
    return None


def figures(graph, measured):
    """How a graph's FLOPs were counted: (sequences, cores of a model-parallel group, FLOPs)."""
    if graph.startswith("paper1"):
        return 128, 1, measured["einsum_T_targets128__eval__1dev"]
    is_xl = "xl" in graph and "switch" not in graph
    if "_counter/" in graph:
        return 64 if is_xl else 128, 8 if is_xl else 2, measured["einsum_laid_out_T"]
    return 64 if is_xl else 128, 1, measured["einsum_T"]


GRAPHS = {
    f"{group}/{name}": measured
    for group in GROUPS
    for name, measured in facts().get(group, {}).items()
    if shape_of(f"{group}/{name}") is not None
}


@needs_oracle
def test_every_architecture_is_among_the_graphs():
    assert {shape_of(graph)[0] for graph in GRAPHS} == {
        *("transformer", "glu", "mos", "albert", "evolved", "lconv", "dconv", "switch", "funnel", "universal"),
    }
    assert len(GRAPHS) > 130


@needs_oracle
@pytest.mark.parametrize("graph", GRAPHS)
def test_parameters_and_flops_of_a_graph(graph):
    architecture, shape = shape_of(graph)
    spec = build_spec(architecture, shape)
    assert spec.parameters() == GRAPHS[graph]["params"]
    sequences, model_parallel, printed = figures(graph, GRAPHS[graph])
    counted = sum(flops(spec, Batch(sequences, 512, 128), "paper", model_parallel).values())
    assert counted == pytest.approx(printed * 1e12, rel=0.003)


@needs_oracle
@pytest.mark.parametrize("architecture", ["performer", "mixer"])
def test_flops_that_were_derived_from_a_graph(architecture):
    """The original code has neither architecture in a form that could be counted."""
    for name, derived in facts()["analytic_from_vanilla_eval_graph"][architecture].items():
        size, _, hidden = name.partition("/T")
        shape = parse_name(size, architecture)
        if hidden and int(hidden) != shape.d_ff:
            continue
        spec = build_spec(architecture, shape)
        if "params" in derived:
            assert spec.parameters() == derived["params"]
        counted = sum(flops(spec, Batch(64 if size == "xl" else 128, 512, 128), "paper").values())
        printed = derived.get("tflops", derived.get("encoder_and_decoder_self"))
        assert counted == pytest.approx(printed * 1e12, rel=0.003)
