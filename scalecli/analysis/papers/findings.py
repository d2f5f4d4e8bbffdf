"""Where a figure that the papers print is not what it seems: `shapes/published/findings.yaml`."""

from __future__ import annotations

import fnmatch
import functools
from dataclasses import dataclass
from typing import Literal

from scalecli import shapes_directory, strict
from scalecli.analysis.papers.published import PublishedModel

SEQUENCES = 128  # that steps and FLOPs are of, unless a finding says otherwise


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is the matter with some figures of some rows, and what that was found from.

    `rows` are globs of PAPER/TABLE/ROW. `other` is the figure that another place of the paper, or the shape, gives;
    `sequences` what the FLOPs are of. A contradiction is one in the paper; a convention counts something
    else, or under a setting that is not printed.
    """

    rows: list[str]
    figures: list[str]
    kind: Literal["contradiction", "convention"]
    reason: str
    evidence: str
    other: str | None = None
    sequences: int | None = None

    def concerns(self, path: str) -> bool:
        """Whether it is about the row PAPER/TABLE/ROW."""
        return any(fnmatch.fnmatchcase(path, row) for row in self.rows)

    def text(self) -> str:
        """The finding in one line: `parameters, otherwise 5.67B: a model of the printed shape is larger`."""
        return f"{', '.join(self.figures)}{f', otherwise {self.other}' if self.other else ''}: {self.reason}"


@dataclass(frozen=True)
class _File:
    findings: list[Finding]


@functools.cache
def all_findings() -> list[Finding]:
    """Every finding, in the order of the file.

    Raises:
        ConfigurationError: the file is not as it should be; names the key.
    """
    path = shapes_directory() / "published" / "findings.yaml"
    return strict.from_mapping(_File, strict.load_yaml(path), str(path)).findings


def findings_of(model: PublishedModel) -> list[Finding]:
    """The findings about one published row."""
    return list(_findings_about(model.path))


@functools.cache
def _findings_about(path: str) -> tuple[Finding, ...]:
    return tuple(finding for finding in all_findings() if finding.concerns(path))


def sequences_of(model: PublishedModel) -> int:
    """How many sequences (of ViT: images) the row's FLOPs are of."""
    return next((finding.sequences for finding in findings_of(model) if finding.sequences is not None), SEQUENCES)
