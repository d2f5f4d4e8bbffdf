"""Where the rows of a comparison come from: manifests of runs, and published models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scalecli.analysis.papers.findings import findings_of, sequences_of
from scalecli.analysis.papers.published import PublishedModel, as_published, published_papers
from scalecli.analysis.rows.comparison import Row, RunOfRow, downstream_score
from scalecli.costs import Convention
from scalecli.errors import errors_at
from scalecli.results import FEW_SHOT_ACCURACY

_PAPERS_FEW_SHOT = "imagenet_10shot"
_IMAGES = ("vit",)


def row_of_run(path: str, convention: Convention) -> Row:
    """The row of a run's manifest or directory, with the FLOPs of its architecture and shape in `convention`.

    They are not those in the manifest: those are of the batch that the run happened to train with. A model that can't
    have inputs as long as the convention's has none.

    Raises:
        MissingError: there is no manifest, or it cannot be read.
        ConfigurationError: it is not valid, or this version knows no such architecture or shape; names the file.
    """
    # What only runs need: a table of what is published is there sooner without.
    from scalecli.analysis.rows.run_costs import chip_of, hours_of_devices
    from scalecli.analysis.rows.shape_costs import batch_for, flops_of, parameters_of
    from scalecli.analysis.rows.upstream import final_results, pretrained_of, read_run, throughput_of, upstream_of
    from scalecli.architectures.recorded import shape_of_run
    from scalecli.storage.layout import manifest_path

    file = manifest_path(path)
    manifest, _ = read_run(file)
    architecture = manifest.architecture
    shape = shape_of_run(manifest, file)
    with errors_at(file):
        parameters = parameters_of(architecture, shape)
    results = final_results(manifest)
    upstream = upstream_of(file, manifest)
    throughput = throughput_of(file, manifest)
    pretrained = pretrained_of(file, manifest)
    tokens = upstream.tokens if upstream else None
    return Row(
        name=manifest.name,
        source="run",
        architecture=architecture,
        parameters=parameters,
        flops=flops_of(architecture, shape, convention),
        flops_convention=convention,
        flops_sequences=batch_for(architecture, shape, convention).sequences,
        steps_per_s=throughput.steps_per_s if throughput else None,
        training_flops=pretrained.training_flops(architecture, shape, convention) if pretrained else None,
        tokens=tokens,
        tokens_per_parameter=tokens / parameters if tokens else None,
        device_hours=hours_of_devices(pretrained.manifest, pretrained.step) if pretrained else None,
        upstream=upstream.figure if upstream else None,
        downstream=downstream_score(results),
        few_shot=results.get(FEW_SHOT_ACCURACY),
        results={**results, **as_published(results)},
        run=RunOfRow(
            file=file,
            manifest=manifest,
            shape=shape,
            pretrained=upstream.manifest if upstream else None,
            seen=pretrained.seen if pretrained else None,
            chip=chip_of(manifest),
        ),
    )


def row_of_published(model: PublishedModel) -> Row:
    """A published model's row, FLOPs in the convention `paper`.

    All models of text were pretrained for as long; a step's FLOPs are those that are printed, for the paper's batch.
    """
    return Row(
        name=model.name,
        source=model.source,
        table=model.table,
        architecture=model.architecture,
        parameters=model.parameters,
        flops=model.flops,
        flops_convention="paper",
        flops_sequences=sequences_of(model),
        steps_per_s=model.steps_per_s,
        chips=model.chips,
        **_pretraining_of_published(model),
        upstream=model.upstream,
        downstream=model.downstream,
        few_shot=model.results.get(_PAPERS_FEW_SHOT),
        results=model.results,
        traits=model.traits,
        findings=findings_of(model),
    )


def with_assumed_data(rows: Sequence[Row]) -> list[Row]:
    """The rows, the paper's few-shot models as having seen what the runs beside them did, if these saw as much.

    How many images the paper's models saw is not printed; where runs saw several amounts, nothing is assumed.
    """
    seen = {row.seen for row in rows if row.run and row.few_shot is not None}
    if len(seen) != 1:
        return list(rows)
    (images,) = seen
    return [row if row.run or row.few_shot is None else replace(row, assumed_seen=images) for row in rows]


def _pretraining_of_published(model: PublishedModel) -> dict[str, Any]:
    """The columns of what a published model of text was pretrained on, and what that took."""
    setup = published_papers()["scale-efficiently"].setup
    if setup is None or model.architecture in _IMAGES:
        return {}
    recipe = setup.pretraining
    tokens = recipe.steps * recipe.batch * (recipe.inputs + recipe.targets)
    columns: dict[str, Any] = {"tokens": tokens}
    if model.flops:
        columns["training_flops"] = 3 * recipe.steps * model.flops * recipe.batch / sequences_of(model)
    if model.parameters:
        columns["tokens_per_parameter"] = tokens / model.parameters
    if model.steps_per_s and model.chips:
        columns["device_hours"] = recipe.steps / model.steps_per_s * model.chips / 3600
    return columns
