"""TensorFlow's own TPU bridge, the passes that cut a graph into what a TPU compiles and what its host does."""

import re
from pathlib import Path

from tensorflow.python import pywrap_mlir

KERNELS = {
    line for line in (Path(__file__).parent / "tpu_kernels.txt").read_text().splitlines() if not line.startswith("#")
}
_UNKNOWN = re.compile(r"tensor<(\*|[0-9x]*\?)")
_CONTROL_FLOW = {"Yield", "WhileRegion", "IfRegion", "CaseRegion"}


def faults(function):
    """What a TPU could not do of a traced function: ops without a kernel, shapes that are not static.

    Raises what the bridge does of a graph that it can't cut.
    """
    graph = pywrap_mlir.import_function(function, "", False)
    bridged = pywrap_mlir.experimental_run_pass_pipeline(graph, "tf-replicated-clustering-bridge-v2", False)
    functions = dict(re.findall(r"\n  func\.func (?:private )?@([\w.$-]+)(.*?)(?=\n  func\.func |\Z)", bridged, re.S))
    clusters = re.findall(r"\"tf_device\.cluster_func\".*?func = @([\w.$-]+)", bridged)
    assert clusters, "nothing is left for the TPU"
    inside, waiting = set(), list(clusters)
    while waiting:
        name = waiting.pop()
        if name not in inside:
            inside.add(name)
            waiting += [called for called in re.findall(r"@([\w.$-]+)", functions[name]) if called in functions]
    text = "".join(functions[name] for name in inside)
    kinds = set(re.findall(r"\"?tf\.([A-Z]\w*)\"?[ (<]", text))
    assert len(kinds) > 10, kinds
    found = [f"no TPU kernel: {kind}" for kind in sorted(kinds - KERNELS - _CONTROL_FLOW)]
    return found + [f"a dynamic shape: {line[:300]}" for line in map(str.strip, text.splitlines()) if _is_dynamic(line)]


def _is_dynamic(line):
    """Whether an operation makes a shape that is not known of ones that are."""
    types = re.search(r"\"tf\..* : \((.*?)\) -> (.*)$", re.sub(r"!tf_type\.(variant|resource)<[^>]*>+", "", line))
    return bool(types) and not _UNKNOWN.search(types[1]) and bool(_UNKNOWN.search(types[2]))
