"""`scalecli compare`: runs and published models in one table, and what follows from them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import click
from click.core import ParameterSource

from scalecli.analysis.papers.published import PublishedModel, find_published
from scalecli.analysis.rows.comparison import Row, column_keys
from scalecli.analysis.rows.filters import check_column, parse_condition
from scalecli.analysis.rows.names import LONGEST, distinct_names
from scalecli.cli.compare.analyses import Analyses, analysis_options, analysis_tables
from scalecli.cli.compare.arguments import (
    PUBLISHED_PREFIX,
    complete_columns,
    complete_models,
    complete_published,
    resolved,
    rows_of,
)
from scalecli.cli.compare.notes import notes
from scalecli.cli.compare.plots import check_plots, comparison_figure, draw_plots, plot_option
from scalecli.cli.compare.report import report_option, write_comparison, write_tables
from scalecli.cli.compare.runs import list_option, print_runs
from scalecli.cli.compare.selection import check_architectures, filtered, load_architectures, over_seeds, sorted_rows
from scalecli.cli.compare.table import Choice, known_columns, model_table, narrowed
from scalecli.cli.options.groups import Command
from scalecli.cli.output.formats import FOR_PEOPLE, format_option, print_record, print_tables, terminal_width
from scalecli.cli.output.terminal import say_wrapped
from scalecli.costs import Convention
from scalecli.errors import UsageError


@click.command("compare", cls=Command)
@click.argument("models", nargs=-1, shell_complete=complete_models)
@click.option(
    "--published",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_published,
    help="Add a paper (scale-efficiently, architectures), a table (table-4, architectures/table-1), a model or a glob "
    "of models.",
)
@click.option(
    "--arch",
    multiple=True,
    metavar="NAME|FILE",
    callback=load_architectures,
    help="Only rows of this architecture; your own ones by their files or modules.",
)
@click.option("--where", multiple=True, metavar="CONDITION", help="Only rows such as 'parameters<300M' or 'chips=16'.")
@click.option(
    "--columns",
    metavar="A,B,C",
    shell_complete=complete_columns,
    help="Columns to show; each result of a run is one, such as sst2/accuracy.",
)
@click.option("--differing", is_flag=True, help="Show only columns in which the rows differ.")
@click.option(
    "--sort",
    metavar="COLUMN",
    shell_complete=complete_columns,
    help="Sort by a column; -COLUMN puts the highest first.",
)
@click.option("--seeds", type=click.Choice(("mean",)), help="Average runs that differ in their seed alone.")
@click.option("--cost", default="flops", show_default=True, metavar="A,B", help="Costs of the Pareto marks.")
@click.option(
    "--quality",
    default="upstream",
    metavar="A,B",
    help="Qualities of the Pareto marks. [default: upstream; few_shot where only that is known]",
)
@analysis_options
@plot_option
@report_option
@list_option
@click.option(
    "--tables", metavar="DIR", type=click.Path(), help="Also write each table as a CSV file, DIR/models.csv ..."
)
@click.option("--reproduction", is_flag=True, help="Set what the papers print beside what is computed here.")
@format_option
@click.pass_context
def command(
    ctx: click.Context,
    models: tuple[str, ...],
    published: tuple[str, ...],
    arch: tuple[str, ...],
    where: tuple[str, ...],
    columns: str | None,
    differing: bool,
    sort: str | None,
    seeds: str | None,
    cost: str,
    quality: str,
    analyses: Analyses,
    plot: tuple[str, ...],
    report: str | None,
    list_directory: str | None,
    tables: str | None,
    reproduction: bool,
    format: str,
) -> None:
    """Set runs and published models side by side.

    MODELS are run manifests, runs' directories, quoted globs of them, and published names: small, small-nl24,
    switch-base ... A bare name is the published model even where a file has that name (write ./small for the file).
    published:NAME is the same as --published NAME. Without either: all models that are published.

    Tables are scale-efficiently/table-1 and -3 to -8, in short table-1 and so on, and architectures/table-1 to -5.
    --published, --arch and --where may come several times. A condition is COLUMN, one of < <= > >= = !=, and a number,
    which may end in K, M, G, B, T or P, or a text.

    In each column the best is marked with a star; the mark under Pareto means that no other model is cheaper (--cost)
    without being worse (--quality), or names the costs of several for which this holds. Costs are columns such as
    flops, parameters and steps_per_s, where slow is costly; qualities upstream, downstream, few_shot, glue, superglue,
    squad. Only figures that were measured alike are marked against each other: FLOPs of as many sequences, steps on as
    many chips, few-shot accuracy on the same images.

    FLOPs are of one forward pass, of all rows in one convention (see scalecli flops) and over one batch: in paper, over
    128 x 512 inputs x 128 targets, if a published model is in the table, otherwise in forward, over 128 x 512 x 114; of
    vision transformers over one image. Upstream is the negative log-perplexity on held-out text; a finetuned or
    evaluated run has that of the run that it was made from, as long as that is in its place and unchanged. Few-shot is
    the accuracy on images of scalecli eval --few-shot. Where a paper contradicts itself, a note says so.

    --fit, --agreement and --pareto add tables below: lines as in the papers (quality over log10 of the cost) and power
    laws, of each architecture or along each knob (--by), with 95% intervals and the published slopes; how upstream and
    downstream rank the models, and the pairs that they rank differently; which models are dominated, by which, and the
    deeper and narrower ones to take or to train instead. neg_log_ppl is upstream, steps/s steps_per_s. --fit
    parameters,tokens:upstream fits E + A/N^a + B/D^b to models of several sizes that saw several amounts of data, with
    the parameters and tokens that are best for a budget of training FLOPs (--budget).

    --predict and --predict-at say what another model would reach, its upstream figure by its cost and its score by that
    figure, with 95% prediction intervals; --hold-out checks such predictions on models that are measured.

    --plot draws the costs against the qualities, those of --fit where it is given; --report writes a page of it all.

    --reproduction goes with --published, --arch and --format: parameters and FLOPs of the papers' rows as printed and
    as computed, the relative error, and the reason where they differ by more than 2% and the rounding of the print.
    """
    if list_directory:
        _check_alone(ctx, "--list", ("list_directory", "format"), "--format")
        print_runs(list_directory, format)
        return
    if reproduction:
        accepted = ("reproduction", "published", "arch", "format")
        _check_alone(ctx, "--reproduction", accepted, "--published, --arch and --format")
        _reproduction(published, arch, format)
        return
    check_plots(plot, format)
    if format == "csv" and analyses.any:
        raise UsageError("--format csv prints one table, and fits and the like are others: --tables DIR writes all")
    if analyses.by != "architecture" and not (analyses.fits or plot or report):
        raise UsageError("--by goes with --fit, --plot or --report")
    names = (*models, *(f"{PUBLISHED_PREFIX}{name}" for name in published))
    compared = resolved(names or (f"{PUBLISHED_PREFIX}*",))
    convention: Convention = "paper" if any(isinstance(model, PublishedModel) for model in compared) else "forward"
    is_for_people = format in FOR_PEOPLE
    rows = rows_of(compared, convention)
    rows = distinct_names(over_seeds(rows) if seeds else rows, LONGEST if is_for_people else None)
    keys = column_keys(rows)
    if ctx.get_parameter_source("quality") == ParameterSource.DEFAULT and _measured(rows) == ["few_shot"]:
        quality = "few_shot"
    costs, qualities = ([check_column(key.strip(), keys) for key in text.split(",")] for text in (cost, quality))
    given = {name for name in ("cost", "quality") if ctx.get_parameter_source(name) != ParameterSource.DEFAULT}
    asked = [*(costs if "cost" in given else ()), *(qualities if "quality" in given else ())]
    fits = tuple((check_column(cost, keys), check_column(quality, keys)) for cost, quality in analyses.fits)
    laws = tuple(check_column(quality, keys) for quality in analyses.data_laws)
    at = tuple((check_column(column, keys), value) for column, value in analyses.predicted_at)
    analyses = replace(analyses, fits=fits, data_laws=laws, predicted_at=at)
    sorted_by = check_column(sort.removeprefix("-"), keys) if sort else None
    chosen = [check_column(key.strip(), [*keys, "pareto"]) for key in columns.split(",")] if columns else None

    rows = filtered(rows, [parse_condition(text, keys) for text in where], arch)
    if sorted_by and sort:
        rows = sorted_rows(rows, sorted_by, descending=sort.startswith("-"))
    choice = Choice(chosen, differing, costs, qualities, asked)
    is_record = is_for_people and len(rows) == 1 and not analyses.any
    if is_record and not chosen:
        choice = replace(choice, columns=known_columns(rows[0]))
    table = model_table(rows, choice, format)
    lines = notes(rows, table, choice, sorted_by, {*itertools.chain(*fits)}, convention, is_for_people)
    width = terminal_width() if format == "table" and not columns else None
    table, left_out = narrowed(table, width) if width else (table, [])
    if is_record:
        print_record(table.key, table.rows[0], table.columns, format)
    else:
        print_tables([table, *analysis_tables(rows, analyses, costs, qualities, format)], format)
    for line in lines:
        say_wrapped(line)
    if left_out:
        say_wrapped(f"Left out, for a terminal of {width} columns: {', '.join(left_out)}. --columns shows them.")
    if tables:
        every_table = [model_table(rows, choice, "csv"), *analysis_tables(rows, analyses, costs, qualities, "csv")]
        write_tables(tables, every_table)
    if plot:
        draw_plots(plot, comparison_figure(rows, analyses, choice))
    if report:
        if ctx.get_parameter_source("quality") != ParameterSource.COMMANDLINE:
            choice = replace(choice, qualities=_measured(rows) or qualities)
        write_comparison(report, rows, analyses, choice, lines)


def _measured(rows: Sequence[Row]) -> list[str]:
    """Those of the three qualities that any row has."""
    return [key for key in ("upstream", "downstream", "few_shot") if any(row.value(key) is not None for row in rows)]


def _reproduction(published: Sequence[str], architectures: Sequence[str], format: str) -> None:
    """Prints the report of what is published, or of all.

    Raises:
        MissingError: nothing published has such a name.
        UsageError: an architecture that no row has.
    """
    from scalecli.analysis.papers.reproduction import reproducible_rows
    from scalecli.cli.compare.reproduction import print_report

    models = [model for name in published for model in find_published(name)] if published else reproducible_rows()
    check_architectures(architectures, {model.architecture for model in reproducible_rows()})
    print_report([model for model in models if not architectures or model.architecture in architectures], format)


def _check_alone(ctx: click.Context, flag: str, accepted: Sequence[str], names: str) -> None:
    """Checks that no option is given that does not go with `flag`.

    Raises:
        UsageError: one is.
    """
    for parameter in ctx.command.params:
        name = parameter.name or ""
        if name not in accepted and ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            shown = "MODELS" if isinstance(parameter, click.Argument) else parameter.opts[0]
            raise UsageError(f"{flag} goes with {names}, not with {shown}")
