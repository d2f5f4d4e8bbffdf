"""The results that the two papers print, as data: `shapes/published/*.yaml`."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from scalecli import shapes_directory, strict
from scalecli.errors import ConfigurationError

# The tables of each file whose rows are trained models with results.
_MODEL_TABLES = ("models", "deep_or_wide")
_MULTIPLES = {"K": 1e3, "M": 1e6, "B": 1e9}


@dataclass(frozen=True)
class PublishedTable:
    """One table of a paper: the names of the columns, and the cells of each row in their order."""

    columns: list[str]
    rows: dict[str, list[bool | int | float | str | None]]


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """One trained model as a paper prints it.

    Parameters are a count, FLOPs the multiply-adds of one forward pass in the `paper` convention, `upstream` the
    negative log-perplexity on C4 validation, scores go from 0 to 100. A figure that is not printed is None.
    """

    name: str
    source: str
    architecture: str = "transformer"
    parameters: int
    flops: float | None
    steps_per_s: float | None
    upstream: float
    glue: float
    superglue: float
    squad: float
    average: float


@functools.cache
def published_models() -> dict[str, PublishedModel]:
    """All published models by lower-case name: `small-nl24` (Scale Efficiently), `switch-base` (architectures)."""
    models = {}
    for path in sorted((shapes_directory() / "published").glob("*.yaml")):
        content = strict.load_yaml(path)
        for title in _MODEL_TABLES:
            if title in content:
                table = strict.from_mapping(PublishedTable, content[title], f"{path}: {title}")
                for name, cells in table.rows.items():
                    row = dict(zip(table.columns, cells, strict=True))
                    models[name] = _model(name, content["source"], row, f"{path}: {title}.{name}")
    return models


def _model(name: str, source: str, row: dict, where: str) -> PublishedModel:
    tflops = row.get("tflops")
    figures = {
        **{"name": name, "source": source, "parameters": parse_count(row["parameters"])},
        **{key: row[key] for key in ("architecture",) if key in row},
        **{key: row.get(key) for key in ("steps_per_s", "upstream", "glue", "superglue", "squad")},
        "flops": None if tflops is None else tflops * 1e12,
        # Where no average is printed: the plain mean of the three, which the printed ones are to within 0.03.
        "average": row.get("average", (row["glue"] + row["superglue"] + row["squad"]) / 3),
    }
    return strict.from_mapping(PublishedModel, figures, where)


def parse_count(text: str) -> int:
    """Reads a count as the papers print it: `61M` is 61,000,000, `2.85B` is 2,850,000,000.

    Raises:
        ConfigurationError: the text is no number followed by K, M or B.
    """
    try:
        return round(float(text[:-1]) * _MULTIPLES[text[-1:]])
    except (ValueError, KeyError):
        raise ConfigurationError(f"expected a count such as 61M or 2.85B, found {text!r}") from None
