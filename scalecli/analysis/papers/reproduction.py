"""The papers' parameters and FLOPs beside computed ones, with the reason where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scalecli.analysis.papers.findings import Finding, findings_of, sequences_of
from scalecli.analysis.papers.published import PublishedModel, published_papers, published_tables
from scalecli.analysis.quantities import rounding_of
from scalecli.architectures import build_spec
from scalecli.costs import batch_of, flops
from scalecli.shape import parse_name, presets

TOLERANCE = 0.02  # relative; the original code's graphs are within 1.5% of the rows that fit

Verdict = Literal["match", "rounding", "contradiction", "convention", "unexplained"]
VERDICTS: tuple[Verdict, ...] = ("match", "rounding", "contradiction", "convention", "unexplained")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One printed figure and the computed one; `text` is the print, `finding` what is the matter with it, if known."""

    key: Literal["parameters", "flops"]
    text: str
    printed: float
    computed: float
    finding: Finding | None = None

    @property
    def error(self) -> float:
        """By what share of the print the computed figure is above it."""
        return self.computed / self.printed - 1

    @property
    def reason(self) -> Finding | None:
        """Why the two differ by more than 2% and the rounding of the print; None where they don't."""
        return None if self._agreement else self.finding

    @property
    def verdict(self) -> Verdict:
        """`match` within 2%, `rounding` within that of the printed digits, else the kind of the finding."""
        return self._agreement or (self.finding.kind if self.finding else "unexplained")

    @property
    def _agreement(self) -> Literal["match", "rounding"] | None:
        if abs(self.error) <= TOLERANCE:
            return "match"
        return "rounding" if abs(self.computed - self.printed) <= rounding_of(self.text) else None


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """One row of a paper's table, with the figures of it that are printed."""

    model: PublishedModel
    figures: tuple[Figure, ...]

    @property
    def verdict(self) -> Verdict:
        """The worse of its figures'."""
        return max((figure.verdict for figure in self.figures), key=VERDICTS.index)

    @property
    def conventions(self) -> list[Finding]:
        """What the row counts, or under which setting, where that is not as usual: so it is computed too."""
        return [finding for finding in findings_of(self.model) if finding.kind == "convention"]


def reproducible_rows() -> list[PublishedModel]:
    """Every row of both papers that prints parameters or FLOPs, in the papers' order."""
    return [model for rows in published_tables().values() for model in rows if model.printed]


def reproduce(model: PublishedModel) -> Reproduction:
    """Computes what a row prints."""
    parameters, multiply_adds = _costs(model)
    findings = findings_of(model)

    def figure(key: Literal["parameters", "flops"], printed: float, computed: float) -> Figure:
        # What FLOPs are of is no difference: they are computed for as many sequences.
        finding = next((finding for finding in findings if key in finding.figures and finding.sequences is None), None)
        return Figure(key=key, text=model.printed[key], printed=printed, computed=computed, finding=finding)

    figures = []
    if model.parameters is not None:
        figures.append(figure("parameters", model.parameters, parameters))
    if model.flops is not None:
        figures.append(figure("flops", model.flops, multiply_adds))
    return Reproduction(model=model, figures=tuple(figures))


def _costs(model: PublishedModel) -> tuple[int, int]:
    """Parameters, and multiply-adds of a forward pass as the papers count them."""
    spec = build_spec(model.architecture, parse_name(model.name, model.architecture))
    batch = batch_of(spec, "paper", sequences=sequences_of(model))
    parameters = spec.parameters()
    if model.architecture == "mos":
        # The rows are GLU's with the mixture's weights there but not in use (findings.yaml).
        mixture = sum(weight.size for weight in spec.logits.weights().values())
        spec = build_spec("glu", presets("glu")[model.name.removeprefix("mos-")])
        parameters = spec.parameters() + mixture
    return parameters, sum(flops(spec, batch, "paper", model_parallel=_model_parallelism(model)).values())


def _model_parallelism(model: PublishedModel) -> int:
    """How many cores share one model, as the papers print it for large and more; all smaller ones fit one core.

    So do Switch's, whose layers are never wider than base's: its experts are spread over cores instead.
    """
    setup = published_papers()["scale-efficiently"].setup
    if setup is None or model.architecture == "switch":
        return 1
    parts = model.name.split("-")
    return next((setup.model_parallelism[part] for part in parts if part in setup.model_parallelism), 1)
