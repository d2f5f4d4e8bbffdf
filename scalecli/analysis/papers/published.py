"""The tables that the two papers print, as data: `shapes/published/*.yaml`."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scalecli import shapes_directory, strict
from scalecli.analysis.quantities import parse_quantity
from scalecli.errors import ConfigurationError, MissingError, errors_at, nearest

# Paper: its file. A table is named by its paper and number; the number alone means one of the first paper.
PAPERS = {
    "scale-efficiently": "scale_efficiently.yaml",
    "architectures": "scaling_laws_vs_architectures.yaml",
}
DOWNSTREAM = ("glue", "superglue", "squad")

Cell = int | float | str | None

# The columns that a table may have besides scores: printed texts, single figures, and traits, which make a model
# neither better nor worse.
_PRINTED = ("parameters", "flops")
_FIGURES = ("architecture", "steps_per_s", "chips", "upstream", "average", "instead_of")
_SHAPE = ("encoder_layers", "decoder_layers", "d_model", "d_ff", "d_kv", "heads")
_KNOBS = ("experts", "encoder_recurrence", "decoder_recurrence")
_SLOPES = (
    *("flops_upstream", "flops_downstream", "parameters_upstream", "parameters_downstream"),
    "upstream_downstream",
)
_TRAITS = (*_SHAPE, *_KNOBS, *_SLOPES)
_SCORES = (
    *(*DOWNSTREAM, "imagenet_10shot", "anli", "cosmosqa", "hellaswag", "physicaliqa", "socialiqa", "winogrande"),
    *("xsum", "cnn_dailymail", "multi_news", "civil_comments", "wiki_toxicity", "imdb_reviews"),
)
# What a run calls the scores of Tables 6 to 8; of summaries T5's ROUGE-L, by sentences: rouge_l is of whole texts.
_RUNS_NAMES = {
    **{
        task: f"{task}/accuracy" for task in ("anli", "cosmosqa", "hellaswag", "physicaliqa", "socialiqa", "winogrande")
    },
    **{task: f"{task}/rouge_lsum" for task in ("xsum", "cnn_dailymail", "multi_news")},
    **{task: f"{task}/accuracy" for task in ("civil_comments", "wiki_toxicity")},
    "imdb_reviews": "imdb/accuracy",
}
_COLUMNS = (*_PRINTED, *_FIGURES, *_TRAITS, *_SCORES)


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """One row of a table as a paper prints it; a figure that is not printed there is None or absent.

    `parameters` are a count, `flops` the multiply-adds of one forward pass in the `paper` convention (of ViT: for one
    image), `steps_per_s` training steps a second on `chips` TPU-v3 chips, `upstream` the negative log-perplexity on C4
    validation. `results` are scores from 0 to 100, `average` is the printed mean of GLUE, SuperGLUE and SQuAD, `traits`
    are fields of the shape and slopes. `printed` has the texts of parameters and FLOPs, which tell the rounding.
    """

    name: str
    source: str
    table: str
    architecture: str
    parameters: int | None
    flops: float | None
    steps_per_s: float | None
    chips: int | None
    upstream: float | None
    average: float | None
    instead_of: str | None
    results: dict[str, float]
    traits: dict[str, int | float]
    printed: dict[str, str]

    @property
    def path(self) -> str:
        """Where it is printed: `scale-efficiently/table-4/small`."""
        return f"{self.source}/{self.table}/{self.name}"

    @property
    def downstream(self) -> float | None:
        """The printed average, else the mean of the three scores, which the printed ones are to within 0.03."""
        if self.average is not None or not set(DOWNSTREAM) <= set(self.results):
            return self.average
        return sum(self.results[key] for key in DOWNSTREAM) / len(DOWNSTREAM)


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """One table of a paper: the cells of each row in the order of `columns`.

    `architecture` and `chips` hold for rows that do not state their own.
    """

    title: str
    columns: list[str]
    rows: dict[str, list[Cell]]
    architecture: str = "transformer"
    chips: int | None = None

    def __post_init__(self) -> None:
        for column in self.columns:
            if column not in _COLUMNS:
                raise ConfigurationError(f"columns: unknown column {column!r}{nearest(column, _COLUMNS)}")
        for name, cells in self.rows.items():
            if len(cells) != len(self.columns):
                raise ConfigurationError(f"rows.{name}: {len(cells)} cells for {len(self.columns)} columns")

    @property
    def holds_models(self) -> bool:
        """Whether the rows are trained models, with a size and scores: those that a name alone finds."""
        return "parameters" in self.columns and any(column in _SCORES for column in self.columns)


@dataclass(frozen=True, kw_only=True)
class PublishedPretraining:
    """How the papers' models were pretrained; `chips` is a number of TPU-v3 chips."""

    corpus: str
    objective: str
    steps: int
    batch: int
    inputs: int
    targets: int
    optimizer: str
    schedule: str
    chips: int


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What all models of the papers have in common; `model_parallelism` is of the sizes named, 1 for all others."""

    pretraining: PublishedPretraining
    finetuning: dict[str, Cell]
    model_parallelism: dict[str, int]
    vocabulary: dict[str, Cell]


@dataclass(frozen=True, kw_only=True)
class PublishedPaper:
    """All that one paper prints. `operators`: Scale Efficiently's Table 2, what the letters in a name change."""

    source: str
    tables: dict[str, PublishedTable]
    operators: dict[str, str] | None = None
    setup: Setup | None = None


@functools.cache
def published_papers() -> dict[str, PublishedPaper]:
    """Both papers by their short names.

    Raises:
        ConfigurationError: a file is not as it should be; names the file and the key.
    """
    directory = shapes_directory() / "published"
    paths = {name: directory / file for name, file in PAPERS.items()}
    return {
        name: strict.from_mapping(PublishedPaper, strict.load_yaml(path), str(path)) for name, path in paths.items()
    }


@functools.cache
def published_tables() -> dict[str, list[PublishedModel]]:
    """The rows of every table by its name, such as `scale-efficiently/table-4`."""
    return {
        f"{paper.source}/{title}": [_model(paper.source, title, table, name) for name in table.rows]
        for paper in published_papers().values()
        for title, table in paper.tables.items()
    }


@functools.cache
def published_models() -> dict[str, PublishedModel]:
    """All trained models by name: `small-nl24`, `vit-b` (Scale Efficiently), `switch-base` (architectures)."""
    return {
        model.name: model
        for paper in published_papers().values()
        for title, table in paper.tables.items()
        if table.holds_models
        for model in published_tables()[f"{paper.source}/{title}"]
    }


def published_names() -> list[str]:
    """Every name that `find_published` takes, globs left aside: papers, tables in full and in short, models."""
    first = next(iter(PAPERS))
    short = [table.removeprefix(f"{first}/") for table in published_tables() if table.startswith(f"{first}/")]
    return [*PAPERS, *published_tables(), *short, *published_models()]


def as_published(results: Mapping[str, float]) -> dict[str, float]:
    """Those of a run's results that the papers print as well, by the names of the papers' columns."""
    return {column: results[name] for column, name in _RUNS_NAMES.items() if name in results}


def find_published(name: str) -> list[PublishedModel]:
    """The rows that a name stands for: a paper's models, a table's rows, one model, or the models that a glob matches.

    Tables are `architectures/table-1`, `scale-efficiently/table-4` or, of Scale Efficiently, `table-4`.

    Raises:
        MissingError: nothing published has that name; names the nearest.
    """
    name = name.lower()
    models, tables = published_models(), published_tables()
    if name in PAPERS:
        return [model for model in models.values() if model.source == name]
    for table in (name, f"{next(iter(PAPERS))}/{name}"):
        if table in tables:
            return tables[table]
    matches = [models[name]] if name in models else [models[match] for match in fnmatch.filter(models, name)]
    if not matches:
        hint = nearest(name, published_names()) or f"; there are {', '.join([*PAPERS, *tables])} and their models"
        raise MissingError(f"no published paper, table or model {name!r}{hint}")
    return matches


def _model(source: str, title: str, table: PublishedTable, name: str) -> PublishedModel:
    where = f"{source}/{title}/{name}"
    row = {column: cell for column, cell in zip(table.columns, table.rows[name], strict=True) if cell is not None}
    printed = {key: row[key] for key in _PRINTED if key in row}
    counts: dict[str, float | None] = dict.fromkeys(_PRINTED)
    with errors_at(where):
        counts |= {key: parse_quantity(str(text)) for key, text in printed.items()}
    values: dict[str, Any] = {
        **dict.fromkeys(_FIGURES),
        **{"name": name, "source": source, "table": title, "architecture": table.architecture, "chips": table.chips},
        **{key: row[key] for key in _FIGURES if key in row},
        "results": {key: row[key] for key in _SCORES if key in row},
        "traits": {key: row[key] for key in _TRAITS if key in row},
        "printed": printed,
        "parameters": None if counts["parameters"] is None else round(counts["parameters"]),
        "flops": counts["flops"],
    }
    return strict.from_mapping(PublishedModel, values, where)
