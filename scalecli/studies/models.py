"""The models of a study: its lists multiplied out, each model with the name of its run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from scalecli.architectures import DEFAULT_ARCHITECTURE, KNOBS, build_spec, named
from scalecli.errors import ConfigurationError
from scalecli.references import ModelReference
from scalecli.shape import Shape, parse_name, shape_name
from scalecli.studies.study import Study, is_directory_name

MOST_RUNS = 10_000
FINETUNED = "-finetuned"


@dataclass(frozen=True)
class Trial:
    """One model and one seed: it is pretrained into the run `name`, and finetuned into another."""

    name: str
    model: ModelReference
    seed: int

    @property
    def finetuned(self) -> str:
        """The name of the run that it is finetuned into."""
        return f"{self.name}{FINETUNED}"


def trials(study: Study, source: str) -> list[Trial]:
    """All trials of a study in the order in which they run: all models with the first seed, then with the next.

    A run is called as its model, after its architecture where that isn't the Transformer, and by its seed where that
    isn't 0; so a study that grows keeps its runs. A model that comes twice is trained once. `source` names the file.

    Raises:
        ConfigurationError: an unknown architecture, size or operator, a model that can't be, a name in `without` that
            is none, or too many runs.
    """
    if len(study.seeds) * len(study.architectures) * (len(_texts(study)) + 1) > MOST_RUNS:
        raise ConfigurationError(f"{source}: more than {MOST_RUNS:,} runs")
    try:
        models = list(_models(study))
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from None
    if not models:
        raise ConfigurationError(f"{source}: without: it names every run")
    return [
        Trial(name if seed == 0 else f"{name}-seed{seed}", model, seed)
        for seed in study.seeds
        for name, model in models
    ]


def _texts(study: Study) -> list[str]:
    """The names of the shapes, as the file's lists make them."""
    of_base = [] if study.base is None else [study.base, *(f"{study.base}-{each}" for each in study.operators)]
    return [text.lower() for text in (*of_base, *study.shapes)]


def _models(study: Study) -> Iterator[tuple[str, ModelReference]]:
    """The models, each with the name of its run."""
    seen: set[tuple[str, Shape]] = set()
    unused = list(study.without)
    for text in study.architectures:
        architecture, _, knobs = text.partition("-")
        try:
            named(architecture)
        except ConfigurationError as error:
            raise ConfigurationError(f"architectures: {error}") from None
        before = [f"narrow{study.narrow}"] if study.narrow > 1 else []
        before += [text] if text != DEFAULT_ARCHITECTURE else []
        for of_shape in _texts(study):
            name = "-".join([*before, of_shape])
            if name in unused:
                unused.remove(name)
                continue
            if not is_directory_name(name):
                raise ConfigurationError(f"{name!r} can't be a directory's name")
            shape = _shape(f"{of_shape}-{knobs}" if knobs else of_shape, architecture, study.narrow)
            if (architecture, shape) not in seen:
                seen.add((architecture, shape))
                yield name, ModelReference(shape_name(shape, architecture), architecture, shape)
    if unused:
        raise ConfigurationError(f"without: the study has no run {unused[0]!r}")


def _shape(text: str, architecture: str, narrow: int) -> Shape:
    """The shape of a name, made narrower; one that its architecture can have."""
    try:
        shape = narrowed(parse_name(text, architecture), narrow)
        build_spec(architecture, shape)
    except ConfigurationError as error:
        raise ConfigurationError(f"{architecture}: {error}") from None
    return shape


def narrowed(shape: Shape, factor: int) -> Shape:
    """The shape with every width divided: d_model, d_ff, d_kv and knobs that are widths, rounded, at least 1.

    Layers, heads and an architecture's other knobs stay, and the vocabulary is that of the text.
    """
    names = ("d_model", "d_ff", "d_kv", *(knob.name for knob in KNOBS.values() if knob.is_width))
    widths = {name: width for name in names if (width := getattr(shape, name)) is not None}
    return replace(shape, **{name: max(1, round(width / factor)) for name, width in widths.items()})
