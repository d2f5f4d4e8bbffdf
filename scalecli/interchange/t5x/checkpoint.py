"""T5X's checkpoints of T5 v1 and v1.1: `checkpoint_STEP`, one file or a folder with arrays of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from scalecli.architectures import build_spec
from scalecli.costs import factored_axes
from scalecli.errors import ConfigurationError
from scalecli.interchange.imported import VOCABULARIES, Imported, SourceFile, chosen_step, logits_field
from scalecli.interchange.plain_t5 import ARCHITECTURE_BY_GATE, FEED_FORWARD, IS_GATED
from scalecli.interchange.safe_files import first_file
from scalecli.interchange.t5x.files import Chunked, read_tree
from scalecli.interchange.weight_map import Location, all_locations, gather, stored_precision
from scalecli.shape import Shape
from scalecli.specs import ModelSpec

FORMAT = "t5x"
_NAME = re.compile(r"(?:[^/]+\.)?checkpoint_(?P<step>\d{1,12})")
_TREE = "checkpoint"  # the file's name in a folder
_ARRAYS = ("target.", "state.")  # how the folders of arrays begin; others hold the place in the training data
_TARGET, _STATISTICS, _STEP = "target/", "state/param_states/", "state/step"

_SUBLAYERS = {
    "encoder": {
        "self_attention": ("attention", "pre_attention_layer_norm"),
        "feed_forward": ("mlp", "pre_mlp_layer_norm"),
    },
    "decoder": {
        "self_attention": ("self_attention", "pre_self_attention_layer_norm"),
        "cross_attention": ("encoder_decoder_attention", "pre_cross_attention_layer_norm"),
        "feed_forward": ("mlp", "pre_mlp_layer_norm"),
    },
}
_ATTENTION = {"query": "query", "key": "key", "value": "value", "output": "out"}
_GATE_NOTE = "T5X's files don't say what passes the gates; it is taken to be GELU, as T5 v1.1 has it"


def recognizes(folder: Path) -> bool:
    """Whether a folder holds such checkpoints or is one, or a file is one."""
    return bool(_checkpoints(folder))


def select_files(names: Iterable[str], step: int | None) -> list[str]:
    """Of the files in a folder those of one checkpoint, the newest if no step is asked for; none if it holds none.

    Raises:
        MissingError: there is no checkpoint of that step.
    """
    names = list(names)
    by_step: dict[int, list[str]] = {}
    for name in names:
        first, _, rest = name.partition("/")
        if (match := _NAME.fullmatch(first)) and (rest in ("", _TREE) or rest.startswith(_ARRAYS)):
            by_step.setdefault(int(match["step"]), []).append(name)
    if by_step:
        beside = [name for name in names if name in VOCABULARIES]
        return by_step[chosen_step(by_step, step, "the folder")] + beside
    is_one = _TREE in names and any(name.startswith(_ARRAYS) for name in names)
    return [name for name in names if name == _TREE or name.startswith(_ARRAYS)] if is_one else []


def read(folder: Path, *, step: int | None, optimizer: bool) -> Imported:
    """Reads the checkpoint of a step, or the newest; with `optimizer` also Adafactor's second moments.

    The files hold no configuration: shape and architecture are told from the arrays.

    Raises:
        MissingError: there is no such step, or a file is not there or damaged.
        ConfigurationError: it is not T5 v1 or v1.1 (or a mixture of them), or has not the optimizer's state.
    """
    checkpoints = _checkpoints(folder)
    number = chosen_step(checkpoints, step, str(folder))
    file = checkpoints[number]
    leaves = read_tree(file)
    target = {path.removeprefix(_TARGET): leaf for path, leaf in leaves.items() if path.startswith(_TARGET)}
    architecture, shape = _identify(target, file)
    spec = build_spec(architecture, shape)
    names = locations(spec)
    arrays = list(target.values())
    state = None
    if optimizer:
        statistics = _statistics(spec, names, leaves, file)
        state = _state(spec, statistics, _read_step(leaves, number, file))
        arrays += [leaf for layers in statistics.values() for leaf in layers]
    base = folder if folder.is_dir() else folder.parent
    vocabulary = first_file(base, VOCABULARIES)
    files = [
        file,
        *(file.parent / name for leaf in arrays if isinstance(leaf, Chunked) for name in leaf.files),
        *((vocabulary,) if vocabulary else ()),
    ]
    return Imported(
        format=FORMAT,
        architecture=architecture,
        shape=shape,
        weights=gather(spec, names, target, str(file)),
        optimizer=state,
        step=number,
        precision=stored_precision(target),
        files=tuple(SourceFile.of(base, str(path.relative_to(base))) for path in files),
        vocabulary=vocabulary,
        notes=(_GATE_NOTE,) if IS_GATED[architecture] else (),
    )


def locations(spec: ModelSpec) -> dict[str, Location]:
    """Where T5X has each weight of a plain T5: its matrices stand as ours do, heads and their widths joined."""
    others = {
        "embedding/table": Location(("token_embedder/embedding",)),
        "logits/kernel": Location(("decoder/logits_dense/kernel",)),
    }
    for side in _SUBLAYERS:
        others[f"{side}/final_norm/scale"] = Location((f"{side}/{side}_norm/scale",))
        others[f"{side}/position_bias/table"] = Location((f"{side}/relpos_bias/rel_embedding",))

    def in_layers(path: str, copies: int) -> Location:
        side, _, sublayer, *weight = path.split("/")
        module, norm = _SUBLAYERS[side][sublayer]
        if weight == ["norm", "scale"]:
            name = f"{norm}/scale"
        else:
            matrices = FEED_FORWARD[spec.architecture] if sublayer == "feed_forward" else _ATTENTION
            name = f"{module}/{matrices[weight[0]]}/kernel"
        return Location(tuple(f"{side}/layers_{layer}/{name}" for layer in range(copies)))

    return all_locations(spec, others, in_layers)


def _checkpoints(folder: Path) -> dict[int, Path]:
    """The files with the trees by their steps: in a folder, or of what is a checkpoint itself."""
    checkpoints = {}
    for path in (folder, *(folder.iterdir() if folder.is_dir() else ())):
        tree = path / _TREE if path.is_dir() else path
        if (match := _NAME.fullmatch(path.name)) and tree.is_file():
            checkpoints[int(match["step"])] = tree
    return checkpoints


def _identify(target: Mapping[str, np.ndarray | Chunked], file: Path) -> tuple[str, Shape]:

    def sizes(name: str) -> tuple[int, int]:
        if name not in target:
            raise ConfigurationError(f"{file}: lacks {_TARGET}{name}, which T5 v1 and v1.1 have")
        first, *second = target[name].shape or (0,)
        if len(second) != 1:
            raise ConfigurationError(f"{file}: {_TARGET}{name} is {list(target[name].shape)}; a matrix is accepted")
        return first, second[0]

    vocabulary, d_model = sizes("token_embedder/embedding")
    heads, _ = sizes("encoder/relpos_bias/rel_embedding")
    _, inner = sizes("encoder/layers_0/attention/query/kernel")
    gated = "encoder/layers_0/mlp/wi_0/kernel" in target
    architecture = ARCHITECTURE_BY_GATE[gated]
    _, d_ff = sizes(f"encoder/layers_0/mlp/{FEED_FORWARD[architecture]['input']}/kernel")
    if not heads or inner % heads:
        raise ConfigurationError(
            f"{file}: {heads} heads in the position bias don't divide the queries' width of {inner}"
        )
    encoder_layers, decoder_layers = (
        len({name.split("/")[1] for name in target if name.startswith(f"{side}/layers_")}) for side in _SUBLAYERS
    )
    values = {
        **{"encoder_layers": encoder_layers, "decoder_layers": decoder_layers, "vocabulary": vocabulary},
        **{"d_model": d_model, "d_ff": d_ff, "d_kv": inner // heads, "heads": heads},
        "logits": logits_field(architecture, tied="decoder/logits_dense/kernel" not in target),
    }
    return architecture, Shape.from_dict(values, str(file))


def _read_step(leaves: Mapping[str, np.ndarray | Chunked], number: int, file: Path) -> int:
    """The step in the optimizer's state, which has to be that of the name."""
    step = leaves.get(_STEP)
    if step is None or step.shape != () or int(np.asarray(step)) != number:
        raise ConfigurationError(f"{file}: its {_STEP} is not {number}, as its name says; leave the optimizer out")
    return number


def _statistics(
    spec: ModelSpec, names: Mapping[str, Location], leaves: Mapping[str, np.ndarray | Chunked], file: Path
) -> dict[str, list[np.ndarray | Chunked]]:
    """The arrays of Adafactor's second moments, for each of our statistics those of all layers.

    T5X keeps v, or v_row and v_col: the mean over the larger axis, and over the other. Of two alike the later one
    counts as the larger, with us the earlier.
    """
    statistics: dict[str, list[np.ndarray | Chunked]] = {}
    for path, (_, weight) in spec.weights().items():
        axes = factored_axes(weight.shape)
        kinds = {"full": ("v", weight.shape)}
        if axes is not None:
            square = weight.shape[0] == weight.shape[1]
            by_kind = zip(("rows", "columns"), ("v_col", "v_row") if square else ("v_row", "v_col"), axes, strict=True)
            kinds = {kind: (slot, (weight.shape[1 - axis],)) for kind, slot, axis in by_kind}
        for name in names[path].names:
            for kind, (slot, shape) in (*kinds.items(), ("", ("m", (1,)))):
                slot_name = f"{_STATISTICS}{name}/{slot}"
                leaf = leaves.get(slot_name)
                if leaf is None or leaf.shape != shape or leaf.dtype != "float32":
                    there = "lacks it" if leaf is None else f"has {leaf.dtype} {list(leaf.shape)}"
                    raise ConfigurationError(
                        f"{file}: T5's Adafactor has {slot_name} of float32 {list(shape)}, and it {there}; "
                        "leave the optimizer out"
                    )
                if kind:
                    statistics.setdefault(f"{path}/{kind}", []).append(leaf)
    return statistics


def _state(spec: ModelSpec, statistics: Mapping[str, list[np.ndarray | Chunked]], step: int) -> dict[str, np.ndarray]:
    """Adafactor's state as `Adafactor.state_by_path` names it, layers stacked."""
    state: dict[str, np.ndarray] = {"iterations": np.asarray(step, "int64")}
    for path, layers in statistics.items():
        copies, _ = spec.weights()[path.rpartition("/")[0]]
        state[path] = np.stack([np.asarray(layer) for layer in layers]) if copies else np.asarray(layers[0])
    return state
