"""The models of a study: its lists multiplied out, each model with the names of its runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from scalecli.architectures import DEFAULT_ARCHITECTURE, KNOBS, build_spec, load
from scalecli.architectures.loading import SUFFIX
from scalecli.errors import ConfigurationError, errors_at
from scalecli.references import ModelReference
from scalecli.shape import Shape, parse_name, shape_name
from scalecli.studies.study import Study, is_directory_name

MOST_RUNS = 10_000
FINETUNED = "-finetuned"


@dataclass(frozen=True)
class Trial:
    """One model, budget and seed: pretrained into the run `name` and, if `finetunes`, finetuned into another.

    `budget` is in training FLOPs, None in a study that gives steps.
    """

    name: str
    model: ModelReference
    seed: int
    budget: float | None = None
    finetunes: bool = False

    @property
    def finetuned(self) -> str:
        """The name of the run that it is finetuned into."""
        return f"{self.name}{FINETUNED}"


def trials(study: Study, source: str) -> list[Trial]:
    """All trials of a study in the order in which they run: for each seed all models, each with every budget.

    A run is named after its model, preceded by an architecture other than the Transformer and followed by its budget
    and a seed other than 0; so a study that grows keeps its runs. A model that comes twice is trained once. `source`
    names the file.

    Raises:
        ConfigurationError: an unknown architecture, size or operator, an impossible model, a name in `without` that is
            none, or too many runs.
    """
    budgets: tuple[float | None, ...] = study.budgets or (None,)
    with errors_at(source):
        names = list(_model_names(study))
        if len(names) * len(budgets) * len(study.seeds) > MOST_RUNS:
            raise ConfigurationError(f"more than {MOST_RUNS:,} runs")
        models = list(_models(study))
    excluded = set(study.without)
    kept = []
    for seed in study.seeds:
        for model_name, model in models:
            for budget in budgets:
                if not excluded.intersection(run := _run_names(model_name, budget, seed)):
                    finetunes = bool(study.tasks) and run[-1] + FINETUNED not in excluded
                    kept.append(Trial(run[-1], model, seed, budget, finetunes))
    known = {
        run for name in names for budget in budgets for seed in study.seeds for run in _run_names(name, budget, seed)
    }
    known |= {name + FINETUNED for name in known if study.tasks}
    if unknown := next((name for name in study.without if name not in known), None):
        raise ConfigurationError(f"{source}: without: the study has no run {unknown!r}")
    if not kept:
        raise ConfigurationError(f"{source}: without: it names every run")
    return kept


def _run_names(model_name: str, budget: float | None, seed: int) -> tuple[str, str, str]:
    """The names of a model, of its runs with a budget, and of the one of these with a seed."""
    with_budget = model_name if budget is None else f"{model_name}-{budget_name(budget)}"
    return model_name, with_budget, with_budget if seed == 0 else f"{with_budget}-seed{seed}"


def budget_name(budget: float) -> str:
    """A budget as names of runs have it: `3e13`."""
    mantissa, exponent = f"{budget:.14e}".split("e")
    return f"{float(mantissa):.15g}e{int(exponent)}"


def _model_names(study: Study) -> dict[str, tuple[str, str]]:
    """The architecture and the shape's name of each model, by the model's name in the study."""
    with_base = [] if study.base is None else [study.base, *(f"{study.base}-{text}" for text in study.operators)]
    narrow = [f"narrow{study.narrow}"] if study.narrow > 1 else []
    return {
        "-".join([*narrow, *_unless_default(architecture, knobs), shape]): (architecture, "-".join([shape, *knobs]))
        for architecture, knobs in map(_architecture, study.architectures)
        for shape in map(str.lower, (*with_base, *study.shapes))
    }


def _architecture(text: str) -> tuple[str, list[str]]:
    """The name of an architecture and its knobs, from `switch-ne8` or `./mine.py-np64`."""
    file, suffix, rest = text.partition(SUFFIX)
    address, _, knobs = (file + suffix, "", rest.removeprefix("-")) if suffix else text.partition("-")
    with errors_at("architectures"):
        return load(address), [knobs] if knobs else []


def _unless_default(architecture: str, knobs: list[str]) -> list[str]:
    return [architecture, *knobs] if knobs or architecture != DEFAULT_ARCHITECTURE else []


def _models(study: Study) -> Iterator[tuple[str, ModelReference]]:
    """The models that are trained at all, each with its name in the study."""
    seen: set[tuple[str, Shape]] = set()
    for name, (architecture, shape_text) in _model_names(study).items():
        if name in study.without:  # perhaps a size that this architecture does not have
            continue
        if not is_directory_name(name):
            raise ConfigurationError(f"{name!r} can't be a directory's name")
        shape = _shape(shape_text, architecture, study.narrow)
        if (architecture, shape) not in seen:
            seen.add((architecture, shape))
            yield name, ModelReference(shape_name(shape, architecture), architecture, shape)


def _shape(name: str, architecture: str, narrow: int) -> Shape:
    """The shape of that name, made narrower, once its architecture has accepted it."""
    with errors_at(architecture):
        shape = narrowed(parse_name(name, architecture), narrow)
        build_spec(architecture, shape)
    return shape


def narrowed(shape: Shape, factor: int) -> Shape:
    """The shape with d_model, d_ff, d_kv and knobs that are widths divided by `factor`, rounded, at least 1.

    Layers, heads and an architecture's other knobs stay, and the vocabulary is that of the text.
    """
    names = ("d_model", "d_ff", "d_kv", *(knob.name for knob in KNOBS.values() if knob.is_width))
    widths = {name: width for name in names if (width := getattr(shape, name)) is not None}
    return replace(shape, **{name: max(1, round(width / factor)) for name, width in widths.items()})
