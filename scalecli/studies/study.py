"""A study's file: which models are trained, on what, and for how long."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scalecli import shapes_directory, strict
from scalecli.errors import ConfigurationError, nearest

MOST_FLOPS = 1e30  # of a budget
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class Chips:
    """The machine that a plan's time is estimated for; by default as many chips as the papers had, or as it joins."""

    chip: str
    chips: int | None = None


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a study's file says.

    Models: `base`, then `base` with each of the `operators` (`nl24`, or several as `el8-dl2`), then `shapes`, each a
    name such as `small-nl24`; each in every one of the `architectures`, which may have operators too (`switch-ne8`);
    once for each of the `seeds`. `narrow` divides every width by a number (see `models.narrowed`). `without` excludes
    runs by name; the name of a model excludes its runs with all budgets and seeds.

    Training: `data` are the options of `scalecli pretrain` that say what it reads, `pretrain` its other options. Each
    run has `steps` steps, or one run for each of the `budgets` has those that so many training FLOPs pay for. With
    `tasks`, names or task files, each model is finetuned on them together; `finetune` are the options of
    `scalecli finetune`. `machine` is what the time is estimated for, by default the one that this runs on.

    Raises:
        ConfigurationError: it has no model or no seed, not just one of steps and budgets, says something twice, or a
            number is out of range.
    """

    base: str | None = None
    operators: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ("transformer",)
    without: tuple[str, ...] = ()
    narrow: int = 1
    seeds: tuple[int, ...] = (0,)
    data: dict[str, Any] = field(default_factory=dict)
    steps: int | None = None
    budgets: tuple[float, ...] = ()
    pretrain: dict[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    finetune: dict[str, Any] = field(default_factory=dict)
    machine: Chips | None = None

    def __post_init__(self) -> None:
        if self.base is None and not self.shapes:
            raise ConfigurationError("base: a study has a base, or shapes, or both")
        if self.base is None and self.operators:
            raise ConfigurationError("operators: they change the base, which is missing")
        for name in ("architectures", "seeds"):
            if not getattr(self, name):
                raise ConfigurationError(f"{name}: a study has one or more")
        if (self.steps is None) == (not self.budgets):
            raise ConfigurationError("steps: a study has steps or budgets (of training FLOPs), and not both")
        for name in ("operators", "shapes", "architectures", "budgets", "seeds", "without", "tasks"):
            values = getattr(self, name)
            if twice := [value for value in values if values.count(value) > 1]:
                raise ConfigurationError(f"{name}: {twice[0]} twice")
        for name, value in (("narrow", self.narrow), ("steps", self.steps)):
            if value is not None and value < 1:
                raise ConfigurationError(f"{name} is {value}; 1 or more is accepted")
        if bad_budgets := [budget for budget in self.budgets if not 0 < budget < MOST_FLOPS]:
            raise ConfigurationError(f"budgets: {bad_budgets[0]:g}; training FLOPs above 0 and below 1e30 are accepted")
        if bad_seeds := [seed for seed in self.seeds if not 0 <= seed < 2**31]:
            raise ConfigurationError(f"seeds: {bad_seeds[0]}; 0 to 2^31 - 1 is accepted")
        if self.finetune and not self.tasks:
            raise ConfigurationError("finetune: it goes with tasks, which are missing")


def ready_made() -> list[str]:
    """The names of the studies that come with the package."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def load_study(text: str) -> tuple[str, Study]:
    """The name and the content of a study that a user named: a YAML file, or one that comes with the package.

    The name is the file's, without its suffix.

    Raises:
        MissingError: there is no such file.
        ConfigurationError: it is not valid, or of a name that no directory can have; names the file and the key.
    """
    path = text
    if not text.endswith(_SUFFIXES) and os.sep not in text:
        path = str(_folder() / f"{text}.yaml")
        if text not in ready_made():
            hint = nearest(text, ready_made())
            raise ConfigurationError(
                f"no study {text!r}; there are {', '.join(ready_made())}, or give a file such as {text}.yaml{hint}"
            )
    name = Path(path).name
    name = name.rpartition(".")[0] or name
    if not is_directory_name(name):
        raise ConfigurationError(f"{path}: a study's name has letters, digits, '.', '_' and '-', and is not long")
    return name, strict.from_mapping(Study, strict.load_yaml(path), path)


def is_directory_name(text: str) -> bool:
    """Whether a run's directory may be called so: it stays where it is put, and needs no quotes in a shell."""
    return bool(_NAME.fullmatch(text))


def _folder() -> Path:
    return shapes_directory() / "studies"
